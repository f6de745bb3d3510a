"""Power modes of the board (nvpmodel), or caps of its clock where it has none: list, choose, set, restore."""

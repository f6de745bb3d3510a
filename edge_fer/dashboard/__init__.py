"""`edge-fer watch`: any number of nodes, as a subscriber sees them."""

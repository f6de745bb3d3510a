"""What was read of faces, as numbers: recorded, and decided again."""

"""`edge-fer doctor`: what is wrong with this installation, and what cures it."""

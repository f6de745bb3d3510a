"""Whether this node can still see and tell, and what is wrong where it cannot."""

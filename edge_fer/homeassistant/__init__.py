"""Home Assistant: the node announces itself, and takes back what is gone."""

"""Faces over time: where to look for them, and whose they are."""

"""The sample clip, fetched by `python -m converter assets`."""

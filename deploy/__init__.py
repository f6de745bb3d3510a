"""Puts edge-fer on boards; run from a checkout as `python -m deploy`, never installed."""

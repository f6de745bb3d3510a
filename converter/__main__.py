"""`python -m converter`."""

from __future__ import annotations

from converter.cli import main

main()

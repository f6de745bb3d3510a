"""`python -m edge_fer` is `edge-fer`."""

from __future__ import annotations

import sys

from edge_fer.cli import main

if __name__ == "__main__":
    sys.exit(main())

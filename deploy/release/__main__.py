"""`python3 edge-fer-release COMMAND`, and `python -m deploy.release COMMAND`."""

import sys

from deploy.release.commands import main

if __name__ == "__main__":
    sys.exit(main())

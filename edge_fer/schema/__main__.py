"""For developers, from the root of the project.

python -m edge_fer.schema            make docs/schema, and the examples of docs/*.md, anew
python -m edge_fer.schema release    keep what this version promises, as docs/schema/released/VERSION.json
"""

from __future__ import annotations

import sys
from pathlib import Path

from edge_fer import __version__
from edge_fer.schema.contract import contract
from edge_fer.schema.documents import pretty, stale_examples, with_examples, write, write_files

SCHEMA_DOCS = Path("docs/schema")
MANUALS = Path("docs")


def main(argv: list[str]) -> int:
    """Write; what is written is named. Exit code 2 for other arguments, or in another folder."""
    if argv not in ([], ["release"]) or not SCHEMA_DOCS.is_dir():
        sys.stderr.write(__doc__ or "")
        return 2
    if argv:
        written = [write(SCHEMA_DOCS / "released" / f"{__version__}.json", pretty(contract()))]
    else:
        written = write_files(SCHEMA_DOCS)
        written += [
            write(path, with_examples(text))
            for path in sorted(MANUALS.glob("*.md"))
            if stale_examples(text := path.read_text(encoding="utf-8"))
        ]
    sys.stdout.write("".join(f"{path}\n" for path in written))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

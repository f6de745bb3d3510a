"""Packs deploy/release into one file that a board's own Python runs."""

from __future__ import annotations

import zipfile
from pathlib import Path

SOURCE = Path(__file__).with_name("release")
INTERPRETER = b"#!/usr/bin/env python3\n"

_PACKAGE = "deploy/release"
_MAIN = """import sys

from deploy.release.commands import main

sys.exit(main())
"""
_EPOCH = (1980, 1, 1, 0, 0, 0)


def build_agent(out: Path) -> Path:
    """Write the program to `out`, the same bytes for the same sources; `out`."""
    sources = {f"{_PACKAGE}/{path.name}": path.read_bytes() for path in sorted(SOURCE.glob("*.py"))}
    members = {"__main__.py": _MAIN.encode(), "deploy/__init__.py": b"", **sources}
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f".{out.name}.new")
    with beside.open("wb") as file:
        file.write(INTERPRETER)
        # Not compressed: a Python without zlib can run it, and other versions of zlib would give other bytes.
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, content in sorted(members.items()):
                item = zipfile.ZipInfo(name, _EPOCH)
                item.create_system, item.external_attr = 3, 0o100644 << 16  # as on Unix, wherever it is built
                archive.writestr(item, content)
    beside.chmod(0o755)
    return beside.replace(out)

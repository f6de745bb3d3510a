"""A diagnosis as a picture file: `draw`."""

from __future__ import annotations

import importlib.util
import os
from contextlib import suppress
from pathlib import Path

from edge_fer.bench.figures import Diagnosis
from edge_fer.errors import UnavailableError, UsageError

ENDINGS = (".png", ".svg", ".html")


def check_path(path: Path) -> None:
    """Whether `draw` could write there; to be asked before minutes of measuring.

    UsageError names the ending or the folder that is wrong, UnavailableError the missing extra.
    """
    if path.suffix.lower() not in ENDINGS:
        found = f"ends in {path.suffix!r}" if path.suffix else "has no ending"
        raise UsageError(f"--plot {path}: {found}, but pictures end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    try:
        if not path.parent.is_dir():
            raise UsageError(f"--plot {path}: there is no folder {path.parent}; make it first")
        if path.is_dir():
            raise UsageError(f"--plot {path}: that is a folder; name a file")
    except OSError as err:  # a folder of others, a name that is too long
        raise UsageError(f"--plot {path}: cannot be written there ({err.strerror})") from err
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UsageError(f"--plot {path}: the folder {path.parent} cannot be written to")
    if not importlib.util.find_spec("matplotlib"):
        raise UnavailableError("--plot needs matplotlib: pip install 'edge-fer[bench]'")


def draw(diagnosis: Diagnosis, path: Path) -> None:
    """Write a diagnosis as .png, .svg or .html, whole or not at all; errors as of `check_path`."""
    check_path(path)
    ending = path.suffix.lower()[1:]
    if ending == "html":
        from edge_fer.bench.page import page

        content = page(diagnosis).encode()
    else:
        from edge_fer.bench.picture import draw_picture

        content = draw_picture(diagnosis, ending)
    _write(path, content)


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as err:
        raise UnavailableError(f"--plot {path}: cannot be written ({err.strerror})") from err
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)

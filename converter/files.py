"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

from edge_fer.errors import UnavailableError

Writer = Callable[[Path], object]
"""Writes a file at the path that it is given."""


def make_folder(folder: Path) -> None:
    """Make it, unless it is there; UnavailableError where that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise UnavailableError(f"{folder}: cannot be made ({err.strerror})") from err


def write_whole(files: Mapping[Path, bytes | Writer]) -> None:
    """Write all files beside their places, then rename all, in order: what is cut short leaves whole files only.

    Folders are made. UnavailableError names the file that cannot be written, and why.
    """
    waiting = {path: path.with_name(f"next_{path.name}") for path in files}  # Keras goes by the suffix
    at_hand = next(iter(files))
    try:
        for at_hand, content in files.items():
            at_hand.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                waiting[at_hand].write_bytes(content)
            else:
                content(waiting[at_hand])
        for at_hand, beside in waiting.items():
            beside.replace(at_hand)
    except OSError as err:
        raise UnavailableError(f"{at_hand}: cannot be written ({err.strerror or err})") from err
    finally:
        for beside in waiting.values():
            with contextlib.suppress(OSError):  # renamed, or never written
                beside.unlink()

"""Files and links that are there whole or not at all, over a kill and a power cut."""

import os
import shutil
from pathlib import Path
from typing import Callable, Optional

UNFINISHED = ".new"
GONE = ".gone"
"""Ends of names, which begin with a dot, of what is being made, and of what is being removed."""


def write_file(path: Path, data: bytes, mode: int = 0o644, own: Optional[Callable[[Path], None]] = None) -> None:
    """Replace a file; `own` gives it to its owner before it has its name. Nobody can read it before it has its mode."""
    beside = _beside(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _unlink(beside)
    fd = os.open(str(beside), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        if own is not None:
            own(beside)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
    os.replace(str(beside), str(path))
    sync_folder(path.parent)


def replace_link(path: Path, target: str) -> None:
    """Have a link point to `target`, whatever it was before."""
    beside = _beside(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _unlink(beside)
    os.symlink(target, str(beside))
    os.replace(str(beside), str(path))
    sync_folder(path.parent)


def remove_file(path: Path) -> bool:
    """Remove a file or link for good; whether there was one."""
    if not _unlink(path):
        return False
    sync_folder(path.parent)
    return True


def remove_tree(path: Path) -> None:
    """Remove a folder for good: it loses its name first, so that no half of it is ever taken for the whole."""
    if not path.is_dir():
        return
    gone = path.with_name(f".{path.name.lstrip('.')}{GONE}")
    shutil.rmtree(str(gone), ignore_errors=True)
    os.rename(str(path), str(gone))
    sync_folder(path.parent)
    shutil.rmtree(str(gone))


def sweep(folder: Path, about: str = "") -> None:
    """Remove what an earlier run left unfinished in a folder; in one that others use too, only what is `about` us."""
    for name in sorted(os.listdir(str(folder))) if folder.is_dir() else ():
        if name.startswith(".") and name.endswith((UNFINISHED, GONE)) and about in name:
            path = folder / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(str(path))
            else:
                _unlink(path)


def sync_folder(folder: Path) -> None:
    """Make sure that its names are on the disk."""
    fd = os.open(str(folder), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_file(path: Path) -> Optional[bytes]:
    """None where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}{UNFINISHED}")


def _unlink(path: Path) -> bool:
    try:
        os.unlink(str(path))
    except FileNotFoundError:
        return False
    return True

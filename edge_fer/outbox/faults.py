"""A file that is damaged, or a disk that fails: how they are told apart, and what is done about the file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BUSY_S = 1.0
"""For somebody who looks at the file with a tool of sqlite."""


class DamagedError(Exception):
    """The file is not what this version could have written; it is of no use any more."""


class NewerError(DamagedError):
    """The file is of a newer version."""


class DiskError(Exception):
    """The disk cannot be written or read now; it may be later."""


@contextmanager
def told_apart() -> Iterator[None]:
    """What sqlite says, as one of the two errors that make a difference.

    By class and words, since the codes are known from Python 3.11 on only: an OperationalError is about the machine,
    unless it is about tables that are not there.
    """
    try:
        yield
    except sqlite3.OperationalError as err:
        words = str(err)
        if (
            words.startswith(("no such", "malformed", "Could not decode", "unsupported file format"))
            or "has no column" in words
        ):
            raise DamagedError(words) from err
        raise DiskError(words) from err
    except (sqlite3.Error, ValueError, TypeError, IndexError, OverflowError) as err:
        raise DamagedError(str(err)) from err
    except OSError as err:
        raise DiskError(err.strerror or str(err)) from err


def writable_beside(path: Path) -> bool:
    """Whether another database can be made and written in its folder: then the fault is in the file, not the disk."""
    trial = path.with_name(f"{path.name}.trial")
    try:
        with contextlib.closing(sqlite3.connect(trial, timeout=BUSY_S)) as connection:
            connection.execute("CREATE TABLE trial (text TEXT)")
            connection.commit()
    except (sqlite3.Error, OSError):
        return False
    finally:
        for end in ("", "-journal"):
            with contextlib.suppress(OSError):
                trial.with_name(trial.name + end).unlink()
    return os.access(path, os.R_OK | os.W_OK)


def set_aside(path: Path, why: str) -> Path:
    """Rename the file and what belongs to it, so that a fresh one can be made; returns the new name. OSError."""
    aside = path.with_name(f"{path.name}.{why}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    number = 1
    while aside.exists():
        number += 1
        aside = aside.with_name(f"{aside.name.split('_')[0]}_{number}")
    path.replace(aside)
    for end in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + end).replace(aside.with_name(aside.name + end))
    return aside


def disk_cure(words: str) -> str:
    """What to do about a DiskError; for people."""
    if "full" in words:
        return "free some space there"
    if "readonly" in words or "unable to open" in words or "Permission" in words:
        return "check that the daemon's user may write there, and that the disk is not mounted read-only"
    return "check the disk"

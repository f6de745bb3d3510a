"""The state folder: whether it can be made and written, and has room for the events of an outage."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path

from edge_fer.doctor.finding import Finding, failed, ok, warning
from edge_fer.doctor.patient import Patient, this_user

LEAST_FREE_MB = 50.0
"""Below it a database cannot even be kept in order."""

OUTBOX_MB = 256.0
"""Of a configuration that says nothing else."""

FILE_SHARE = 1.4
"""The outbox's file is about a third larger than what is in it."""

LEAST_FREE_FILES = 100


def check_state_folder(patient: Patient) -> list[Finding]:
    """What a restart must not forget is there."""
    folder = patient.state_dir
    above = folder
    while not above.exists() and above != above.parent:
        above = above.parent
    if not above.is_dir():
        return [failed(f"{above} is no folder", "another state_dir, or remove that file")]
    if problem := _trial(above):
        who = f"user {this_user()!r}"
        cure = f"give it to the daemon's user, or set state_dir; looked at as {who}"
        return [failed(f"{above}: cannot be written ({problem})", cure)]
    note = "" if folder == above else "; it will be made"
    return [_room(patient, folder, above, note)]


def _room(patient: Patient, folder: Path, above: Path, note: str) -> Finding:
    free_mb = shutil.disk_usage(above).free / 1e6
    files = os.statvfs(above)
    wanted_mb = FILE_SHARE * (patient.config.outbox.max_mb if patient.config else OUTBOX_MB)
    told = f"{folder}: {_size(free_mb)} free{note}"
    if free_mb < LEAST_FREE_MB:
        return failed(told, "make room: without it events are kept in memory only")
    if files.f_files and files.f_favail < LEAST_FREE_FILES:
        return failed(f"{told}, but no room for further files (inodes)", "remove files; df -i shows where they are")
    if free_mb < wanted_mb:
        return warning(f"{told}, the outbox may need {_size(wanted_mb)}", "make room, or lower outbox.max_mb")
    return ok(told)


def _size(megabytes: float) -> str:
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"  # noqa: PLR2004 - of a unit


def _trial(folder: Path) -> str:
    """Why a file cannot be written there; "" if it can. The file is gone again."""
    path = folder / f"doctor.{os.getpid()}.{secrets.token_hex(4)}.new"
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as err:
        return err.strerror or str(err)
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
    return ""

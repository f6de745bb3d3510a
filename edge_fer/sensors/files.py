"""Files of the kernel: missing is None, broken is a SensorError that names file, reason and cure."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import re
from pathlib import Path

from edge_fer.errors import SensorError

ATTEMPTS = 3
"""A file may answer EAGAIN while its driver is busy."""

_MAX_BYTES = 4095  # the most that sysfs hands out: a page with the 0 at its end
_NUMBER = re.compile(r"[+-]?[0-9]{1,20}")
_MISSING = (errno.ENOENT, errno.ENOTDIR)
_GONE = (errno.ENODEV, errno.ENXIO)
_FORBIDDEN = (errno.EACCES, errno.EPERM)


class BusyError(SensorError):
    """It answers EAGAIN or EINVAL, as drivers do for a part of the chip that is switched off."""


class ForbiddenError(SensorError):
    """Only root, or a group, may read it; the message says how to open it."""


def read_text(path: str | Path) -> str | None:
    """The file without white space around it; None where there is no such file.

    SensorError where it is there and cannot be read, or is empty. Never waits.
    """
    try:
        raw = _read(path)
    except OSError as err:
        if err.errno in _MISSING:
            return None
        raise _named(path, err) from err
    text = raw.decode("utf-8", "replace").strip("\0 \t\r\n")
    if not text:
        raise SensorError(f"{path}: is empty")
    return text


def read_int(path: str | Path) -> int | None:
    """The number in the file; None where there is no such file. SensorError as of read_text, and for no number."""
    if (text := read_text(path)) is None:
        return None
    if not _NUMBER.fullmatch(text):  # int() takes more, and digits without an end
        raise SensorError(f"{path}: holds {text[:40]!r}, not a number")
    return int(text)


def need_int(path: str | Path) -> int:
    """The number in a file that was there before; SensorError also where it is gone."""
    if (number := read_int(path)) is None:
        raise SensorError(f"{path}: is gone")
    return number


def found(folder: str | Path, pattern: str) -> list[Path]:
    """Files and folders below a folder, in order; none where it is missing or may not be entered."""
    return [Path(path) for path in sorted(glob.glob(f"{glob.escape(str(folder))}/{pattern}"))]  # noqa: PTH207 - never raises


def _read(path: str | Path) -> bytes:
    # Without O_NONBLOCK whatever is no plain file (a pipe, a driver that waits) could hold the thread for ever.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        for _ in range(ATTEMPTS - 1):
            with contextlib.suppress(BlockingIOError):
                return os.read(fd, _MAX_BYTES)
        return os.read(fd, _MAX_BYTES)
    finally:
        os.close(fd)


def _named(path: str | Path, err: OSError) -> SensorError:
    reason = os.strerror(err.errno or 0)
    if err.errno in (errno.EAGAIN, errno.EINVAL):
        return BusyError(f"{path}: cannot be read ({reason})")
    if err.errno in _FORBIDDEN:
        return ForbiddenError(
            f"{path}: cannot be read ({reason}); open it with {_opening(str(path))} in /etc/tmpfiles.d/edge-fer.conf, "
            "then `systemd-tmpfiles --create`"
        )
    if err.errno in _GONE:
        return SensorError(f"{path}: is gone ({reason})")
    return SensorError(f"{path}: cannot be read ({reason})")


def _opening(path: str) -> str:
    """Lines of tmpfiles.d that open a file and those beside it, at each boot and whatever number it has then."""
    if rail := re.match(r"(.+/hwmon)/hwmon\d+/(in|curr)\d", path):
        return f"the lines `z {rail[1]}/hwmon*/in* 0444` and `z {rail[1]}/hwmon*/curr* 0444`"
    if "/intel-rapl:" in path:
        # Not for everyone: from fine readings of energy, secrets of other programs have been guessed (CVE-2020-8694).
        every = re.sub(r"/intel-rapl:[^/]*/", "/intel-rapl:*/", path)
        return f"the line `z {every} 0440 root GROUP` (GROUP: one of the daemon's user)"
    return f"the line `z {path} 0444`"

"""Files that answer as broken drivers do, and eyes that may not see everything."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

NOBODY = 65534


@contextlib.contextmanager
def would_block(path: Path) -> Iterator[None]:
    """A file whose reads fail with EAGAIN: a pipe that somebody could write to, and nobody does."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    try:
        yield
    finally:
        os.close(writer)


def invalid(path: Path) -> None:
    """A file whose reads fail with EINVAL: this one of the kernel wants lengths that are multiples of 8."""
    path.unlink(missing_ok=True)
    path.symlink_to("/proc/self/pagemap")


def no_such_device(path: Path) -> None:
    """A file that is there and cannot be opened (ENXIO), as where a driver is gone: a socket."""
    import socket

    path.unlink(missing_ok=True)
    before = Path.cwd()
    os.chdir(path.parent)  # a socket's address is short
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(path.name)
    finally:
        os.chdir(before)


def as_a_user(root: Path, tell: Callable[[Path], str]) -> str:
    """What a function tells of a folder to somebody who is not root; a child where the tests are."""
    if os.geteuid() != 0:
        return tell(root)
    read_end, write_end = os.pipe()
    if not (pid := os.fork()):
        try:
            os.chdir(root)  # what lies above is root's own
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(write_end, tell(Path()).encode())
        except BaseException as err:  # noqa: BLE001 - told to the parent, whose test fails by it
            os.write(write_end, f"{type(err).__name__}: {err}".encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    return told

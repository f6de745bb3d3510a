"""One change of a board at a time."""

import fcntl
import os
import time
from pathlib import Path

from deploy.release.errors import UnavailableError
from deploy.release.work import Work

WAIT_S = 900.0
_PAUSE_S = 0.5


class Lock:
    """Held until it is closed, or until all processes end that were forked with it; a context manager."""

    def __init__(self, work: Work, command: str, wait_s: float = WAIT_S) -> None:
        """Wait for another command that runs, and say so. UnavailableError where that takes too long."""
        self._work, self._path = work, work.layout.lock_file
        self._fd = self._take(command, wait_s)

    def __enter__(self) -> "Lock":  # noqa: PYI034 - typing of 3.6 has no Self
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def _take(self, command: str, wait_s: float) -> int:
        host = self._work.host
        until_s, waits = host.monotonic_s() + wait_s, False
        while True:
            fd = _open(self._path)
            if _locked(fd, self._path):
                os.ftruncate(fd, 0)
                moment = time.strftime("%H:%M:%SZ", time.gmtime())
                os.pwrite(fd, f"{command} since {moment}".encode(), 0)
                return fd
            other = os.pread(fd, 200, 0).decode("utf-8", "replace") or "another command"
            os.close(fd)
            if host.monotonic_s() >= until_s:
                raise UnavailableError(
                    f"{other} still changes this board after {wait_s:.0f} s: see {self._work.layout.log_file}, and try "
                    "again"
                )
            if not waits:
                self._work.told.step("wait", f"{other} changes this board; this waits for it")
            waits = True
            host.sleep(_PAUSE_S)


def _open(path: Path) -> int:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    return os.open(str(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _locked(fd: int, path: Path) -> bool:
    """Whether it is ours now, and still the file of that name: `undeploy` removes it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(fd), os.stat(str(path)))
    except (BlockingIOError, FileNotFoundError):
        return False

"""Where a node remembers what a restart must not forget: which folder, for one daemon at a time, written whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path

from edge_fer.errors import UnavailableError

LOCK_FILE = "daemon.lock"

SYSTEM_FOLDER = Path("/var/lib/edge-fer")
"""What systemd makes of StateDirectory=edge-fer."""

LARGEST_FILE = 4_000_000
"""In bytes; anything larger was not written by us."""

_LOCK_ATTEMPTS, _LOCK_PAUSE_S = 20, 0.05  # a daemon that is ending, or a command that looks whether one runs
_TRIAL_FILE, _UNFINISHED = "trial", ".new"


def state_folder(configured: Path | None, node: str, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of a node: the configured one, else systemd's, else the user's own. Nothing is looked at or made."""
    if configured is not None:
        return configured
    # systemd gives several, separated by colons, where the unit asks for several.
    if given := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return Path(given)
    home = environ.get("XDG_STATE_HOME", "")
    if not Path(home).is_absolute():  # as its specification wants it
        try:
            home = str(Path(environ.get("HOME") or Path.home()) / ".local" / "state")
        except RuntimeError:  # a system user without a home
            return SYSTEM_FOLDER / node
    return Path(home) / "edge-fer" / node


class StateFolder:
    """The folder of a running daemon, which no other may use at the same time; give it back with `close`.

    A folder that cannot be made, locked or written is no error: the daemon goes on without memory, and `problem` says
    why. What is in it can perhaps still be read.
    """

    def __init__(self, path: Path) -> None:
        """Make the folder (0700), lock it, and try to write. UnavailableError where another daemon has it."""
        self.path = path
        self.problem = ""
        self._lock_fd = -1
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as err:
            self.problem = _no_memory(path, err)
            return
        if not self._lock():
            other = _holder(self._lock_fd)
            self.close()
            raise UnavailableError(
                f"state folder {path}: a daemon of this node runs already (process {other}); stop it, or give this one "
                f"a node name or a state_dir of its own"
            )
        try:
            for left in path.glob(f"*{_UNFINISHED}"):
                left.unlink()
            replace_file(path / _TRIAL_FILE, b"x" * 100, durable=False)
            (path / _TRIAL_FILE).unlink()
        except OSError as err:
            self.problem = _no_memory(path, err)

    def close(self) -> None:
        """Let another daemon have it."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _lock(self) -> bool:
        """Returns whether no other daemon has it; a folder that cannot be locked is a problem, and ours."""
        path = self.path / LOCK_FILE
        try:
            # A disk that has become read-only can still be locked.
            self._lock_fd = _open_first(path, (os.O_RDWR | os.O_CREAT, os.O_RDONLY))
            if not _locked(self._lock_fd):
                return False
        except OSError as err:
            self.problem = _no_memory(self.path, err)
            return True
        with contextlib.suppress(OSError):  # only for a message; a full disk is found by writing
            os.ftruncate(self._lock_fd, 0)
            os.pwrite(self._lock_fd, f"{os.getpid()}\n".encode(), 0)
        return True


def daemon_runs(folder: Path) -> bool:
    """Whether a daemon has this folder now. UnavailableError where that cannot be known."""
    try:
        fd = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as err:
        raise UnavailableError(f"{folder / LOCK_FILE}: cannot be read ({err.strerror}); try as root") from err
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as err:
        raise UnavailableError(f"{folder / LOCK_FILE}: cannot be locked ({err.strerror})") from err
    else:
        return False
    finally:
        os.close(fd)


def replace_file(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write a file whole or not at all: beside it, then renamed over it. OSError leaves the old one as it was.

    `durable` waits for the disk, so that it is there after a power cut. Readable to all who may enter the folder.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}{_UNFINISHED}")
    try:
        _write(beside, content, durable=durable)
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):  # the first error is the one to tell
            beside.unlink()
        raise
    if durable:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read_file(path: Path) -> bytes:
    """The content; OSError where it cannot be read, ValueError where it is too large or no plain file."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a named pipe would block
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_FILE:
            raise ValueError(f"no plain file, or larger than {LARGEST_FILE} bytes")
        return os.read(fd, LARGEST_FILE)
    finally:
        os.close(fd)


def _write(path: Path, content: bytes, *, durable: bool) -> None:
    """Into a file that did not exist: never through a link that somebody else has laid."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), "wb") as file:
        os.fchmod(file.fileno(), 0o644)  # what root asks for by a command, the daemon's user must be able to read
        file.write(content)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def _open_first(path: Path, ways: tuple[int, ...]) -> int:
    for way in ways[:-1]:
        with contextlib.suppress(OSError):
            return os.open(path, way | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    return os.open(path, ways[-1] | os.O_NOFOLLOW | os.O_CLOEXEC)


def _locked(fd: int) -> bool:
    for _ in range(_LOCK_ATTEMPTS):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_LOCK_PAUSE_S)
    return False


def _holder(lock_fd: int) -> str:
    """Number of the process that has the lock, as it wrote it."""
    with contextlib.suppress(OSError):
        return os.pread(lock_fd, 20, 0).decode(errors="replace").strip() or "unknown"
    return "unknown"


def _no_memory(path: Path, err: OSError) -> str:
    why = err.strerror or err
    return f"state folder {path}: {why}; events that wait, open tracks and a pause are forgotten at a restart"

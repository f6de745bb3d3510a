"""A program that delivers pictures on a pipe: started, read, killed and reaped.

It runs in a session and process group of its own and is killed as that group, so nothing that it has started stays.
It dies with the thread that started it (setpriv --pdeathsig, util-linux), so a daemon that is killed leaves no program
behind; where setpriv cannot do that, the program ends at its next write, or with the service's control group.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import logging
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence

from edge_fer.errors import CameraError

log = logging.getLogger(__name__)

PIPE_BYTES = 1 << 20
"""A frame of VGA size at one go; the usual 64 kB cost a wake-up for each eighth of it."""

POLL_MS = 500
"""How late, at most, an abort is noticed where the pipe is held open by what has left the process group."""

LAST_WORDS, MAX_LINE_BYTES = 20, 500
REAP_S = 2.0
FRAMES_FD = "{frames_fd}"
"""Stands in a command for the number of the descriptor that takes the frames."""

_F_SETPIPE_SZ = getattr(fcntl, "F_SETPIPE_SZ", 1031)
_PRIVATE = ("EDGE_FER_", "NOTIFY_SOCKET", "WATCHDOG_", "CREDENTIALS_DIRECTORY")


class Child:
    """A running program. Opened, read and closed by one thread; `abort` may come from any.

    The frames come on its standard output, or, where FRAMES_FD stands in the command, on a descriptor of their own; its
    standard output then counts as messages. Messages are read along with the frames; only the last are kept.
    """

    def __init__(self, command: Sequence[str], *, install: str, send: bytes = b"") -> None:
        """Start it, with `send` (below 4 kB) as its standard input; CameraError where it is not `install`ed."""
        program = shutil.which(command[0])
        if program is None:
            raise CameraError(f"{command[0]}: no such program; install {install}")
        self.program = os.path.basename(command[0])  # noqa: PTH119 - a string, no path
        self._lock, self._closed = threading.Lock(), False
        self._aborted = threading.Event()
        self._words: deque[bytes] = deque(maxlen=LAST_WORDS)
        self._half_line = b""
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            self._frames_fd, frames_in = _pipe(ours, theirs)
            self._words_fd, words_in = _pipe(ours, theirs)
            with contextlib.suppress(OSError):  # beyond what a user may have
                fcntl.fcntl(self._frames_fd, _F_SETPIPE_SZ, PIPE_BYTES)
            own = any(FRAMES_FD in word for word in command)
            words = [program, *(word.replace(FRAMES_FD, str(frames_in)) for word in command[1:])]
            try:
                self._process = subprocess.Popen(
                    [*_leash(shutil.which("setpriv")), *words],
                    stdin=_stdin(theirs, send),
                    stdout=words_in if own else frames_in,
                    stderr=words_in,
                    pass_fds=(frames_in,) if own else (),
                    start_new_session=True,
                    env=_environment(),
                )
            except OSError as err:
                raise CameraError(f"{program}: cannot be started ({err.strerror})") from err
            self._ours = ours.pop_all()
        self._poll = select.poll()
        for fd in (self._frames_fd, self._words_fd):
            os.set_blocking(fd, False)
            self._poll.register(fd, select.POLLIN)

    @property
    def pid(self) -> int:
        """Process id, which is also that of its group."""
        return self._process.pid

    @property
    def aborted(self) -> bool:
        """Whether `abort` was called."""
        return self._aborted.is_set()

    def read_into(self, view: memoryview) -> bool:
        """Fill the view with the next bytes of the frames; False where the program has ended or was aborted."""
        filled = 0
        while filled < len(view):
            if self._aborted.is_set():
                return False
            try:
                count = os.readv(self._frames_fd, [view[filled:]])
            except BlockingIOError:
                if not self._wait():
                    return False
                continue
            if count == 0:
                return False
            filled += count
        return True

    def forget_words(self) -> None:
        """Drop messages so far: what was told before the newest picture is not why there is no next one."""
        self._words.clear()

    def last_words(self) -> list[str]:
        """The last messages, oldest first, and how the program has ended, as far as it has within a second."""
        until_s = time.monotonic() + 1.0
        while not self._aborted.is_set() and time.monotonic() < until_s and self._ending() is None:
            self._poll.unregister(self._frames_fd)  # at its end, or not of interest: it would be ready for ever
            self._wait(50)
            self._poll.register(self._frames_fd, select.POLLIN)
        self._listen()
        lines = [line.decode(errors="replace").strip() for line in (*self._words, self._half_line)]
        return [line for line in lines if line]

    def exit_code(self) -> int | None:
        """As of subprocess: None while it runs, minus the number of the signal that ended it."""
        found = self._ending()
        if found is None:
            return None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def ending(self) -> str:
        """How the program has ended, in words."""
        code = self.exit_code()
        if code is None:
            return f"{self.program} delivers no more"
        if code >= 0:
            return f"{self.program} has ended with exit code {code}"
        return f"{self.program} was ended by signal {-code}"

    def abort(self) -> None:
        """Kill the program and all that it has started; a thread that waits in `read_into` goes on with False."""
        self._aborted.set()
        with self._lock:
            if not self._closed:
                self._kill()

    def close(self) -> None:
        """Kill it, reap it and close the pipes."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._kill()
        self._ours.close()
        try:
            self._process.wait(REAP_S)
        except subprocess.TimeoutExpired:  # held by its driver; Python reaps it when it starts the next program
            log.warning("%s (process %d) does not end although it was killed", self.program, self.pid)

    def _kill(self) -> None:
        # Its leader is not reaped before `close`, so the number is still that of this group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def _ending(self) -> os.waitid_result | None:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)

    def _wait(self, timeout_ms: int = POLL_MS) -> bool:
        """Wait for more on the pipes, and take in messages; False where no frame will come any more."""
        ready = dict(self._poll.poll(timeout_ms))
        if self._words_fd in ready and not self._listen():
            self._poll.unregister(self._words_fd)
        return bool(ready) or self._ending() is None

    def _listen(self) -> bool:
        """Take in the messages that wait; False at their end."""
        try:
            text = os.read(self._words_fd, 65536)
        except BlockingIOError:
            return True
        *lines, rest = (self._half_line + text).replace(b"\r", b"\n").split(b"\n")
        self._words.extend(line[:MAX_LINE_BYTES] for line in lines if line.strip())
        self._half_line = rest[:MAX_LINE_BYTES]
        return bool(text)


def _pipe(ours: contextlib.ExitStack, theirs: contextlib.ExitStack) -> tuple[int, int]:
    read_fd, write_fd = os.pipe()
    ours.callback(os.close, read_fd)
    theirs.callback(os.close, write_fd)
    return read_fd, write_fd


def _stdin(theirs: contextlib.ExitStack, send: bytes) -> int:
    """A descriptor with what is sent; it fits into the pipe, so that nobody has to wait."""
    if not send:
        return subprocess.DEVNULL
    read_fd, write_fd = os.pipe()
    theirs.callback(os.close, read_fd)
    os.write(write_fd, send)
    os.close(write_fd)
    return read_fd


def _environment() -> dict[str, str]:
    """Messages in English, and nothing of the daemon's own: no password, no watchdog."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_PRIVATE)}
    return {**kept, "LC_ALL": "C", "GST_DEBUG_NO_COLOR": "1", "LIBCAMERA_LOG_LEVELS": "*:WARN"}


@functools.lru_cache(maxsize=4)
def _leash(setpriv: str | None) -> tuple[str, ...]:
    """The words before a command that let it die with the thread that has started it."""
    if setpriv is None:
        return ()
    leash = (setpriv, "--pdeathsig", "KILL", "--")
    tried = subprocess.run([*leash, "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return leash if tried.returncode == 0 else ()

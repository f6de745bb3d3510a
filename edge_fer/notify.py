"""What the daemon tells systemd: that it is ready, how it is, that it still works, that it ends. See sd_notify(3).

The watchdog is fed only where a turn of the main loop has finished, never by a thread or a timer of its own: a daemon
whose main loop hangs must be seen, however well its other threads are.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, MutableMapping
from typing import Literal

log = logging.getLogger(__name__)

SOCKET_VARIABLE = "NOTIFY_SOCKET"
WATCHDOG_VARIABLES = ("WATCHDOG_USEC", "WATCHDOG_PID")

STATUS_S = 1.0
"""Between two looks at what the status is: it is for people."""

FEED_S = 1.0
"""Between two signs of life, where the watchdog leaves that much time."""

FEEDS = 4
"""Signs of life in the time that the watchdog waits for one, where it is impatient: some may be late."""

LONGEST_STATUS = 500

READY, STOPPING = "READY=1", "STOPPING=1"


class Notifier:
    """Sends to the socket of a service manager; without one it is silent. Main thread only.

    Never waits and never raises: what the manager cannot take now is said again after the next turn, and what keeps it
    from hearing is logged once.
    """

    def __init__(
        self, address: str = "", watchdog_s: float = 0.0, *, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        """`address` as in $NOTIFY_SOCKET: a path, or a name of the abstract space after an @; `watchdog_s` 0: none."""
        self._address, self._clock_s = _native(address), clock_s
        if address and self._address is None:
            log.warning("%s=%s: systemd is not told anything; right is a path, or @NAME", SOCKET_VARIABLE, address)
        self._feed_s = min(FEED_S, watchdog_s / FEEDS)
        self._socket: socket.socket | None = None
        self._has_complained = self._was_ready = False
        self._owed = ""  # READY, RELOADING or STOPPING, whichever is the newest, until it was taken
        self._status = ""  # as told
        self._next_feed_s = self._next_status_s = clock_s()

    @property
    def is_watched(self) -> bool:
        """Whether somebody waits for signs of life."""
        return self._feed_s > 0

    def starting(self, what: str) -> None:
        """Tell what is being done before the first turn."""
        self._say(f"STATUS={_line(f'starting: {what}')}")

    def turn_finished(self, status: Callable[[], str]) -> None:
        """A turn of the main loop has finished; the first one makes the daemon ready.

        `status` is asked once a second, and told where it has changed.
        """
        if self._address is None:
            return
        now_s = self._clock_s()
        if not self._was_ready:
            self._was_ready, self._owed = True, READY
        lines = [self._owed] if self._owed else []
        if feeds := self.is_watched and now_s >= self._next_feed_s:
            lines.append("WATCHDOG=1")
        told = self._status
        if now_s >= self._next_status_s:
            self._next_status_s, told = now_s + STATUS_S, _line(status())
            if told != self._status:
                lines.append(f"STATUS={told}")
        if not lines:
            return
        if not self._say(*lines):
            self._next_status_s = now_s
            return
        self._owed, self._status = "", told
        if feeds:
            self._next_feed_s = now_s + self._feed_s

    def reload(self, phase: Literal["start", "end"]) -> None:
        """The configuration is being read again, or is not any more."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._owe(f"RELOADING=1\nMONOTONIC_USEC={now_us}" if phase == "start" else READY)

    def stopping(self) -> None:
        """The daemon ends."""
        self._owe(f"{STOPPING}\nSTATUS=stopping")

    def _owe(self, lines: str) -> None:
        self._owed = "" if self._say(lines) else lines

    def _say(self, *lines: str) -> bool:
        """Whether it was taken, or there is nobody to take it."""
        if self._address is None:
            return True
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.settimeout(0)
            # Addressed each time: a manager that was started anew listens on another socket of the same name.
            self._socket.sendto("\n".join(lines).encode(errors="replace"), self._address)
        except BlockingIOError:  # it has not read what was sent before
            return False
        except OSError as err:
            if not self._has_complained:
                self._has_complained = True
                name = self._address.replace("\0", "@")
                log.warning("%s: systemd cannot be told how the daemon is (%s)", name, err.strerror or err)
            return False
        return True


def take_notifier(environ: MutableMapping[str, str] = os.environ, pid: int | None = None) -> Notifier:
    """The notifier that systemd asks for in the environment, out of which it is taken.

    So no program that the daemon starts can say anything in its place, or feed its watchdog. `pid` is of this process.
    """
    address = environ.pop(SOCKET_VARIABLE, "")
    wait_us, whose = (environ.pop(name, "") for name in WATCHDOG_VARIABLES)
    is_ours = not whose or whose == str(os.getpid() if pid is None else pid)
    return Notifier(address, int(wait_us) / 1e6 if wait_us.isdecimal() and is_ours else 0.0)


def _native(address: str) -> str | None:
    """As the kernel takes it; None where it is of another kind."""
    if address.startswith("@") and len(address) > 1:
        return "\0" + address[1:]
    return address if address.startswith("/") else None


def _line(text: str) -> str:
    """On one line: what a camera says of itself must not become a message of its own."""
    shown = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(shown.split())[:LONGEST_STATUS]

"""How other threads talk to the thread of the connection."""

from __future__ import annotations

import random
import socket
import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """How long the publisher waits for what."""

    retry_min_s: float = 1.0
    retry_max_s: float = 30.0
    answer_s: float = 5.0
    """For a connection, and then for the broker's answer to CONNECT."""

    claim_s: float = 1.5
    """For another instance of this node to object, before the first `online`."""

    hold_min_s: float = 5.0
    """Before a message that the broker refused is tried again; doubles up to hold_max_s."""

    hold_max_s: float = 60.0
    heal_s: float = 1.0
    """Between two publications of `online` that answer an `offline`."""

    told_s: float = 5.0
    """With a connection, before what had prevented it is cured: only now can health tell subscribers of it."""

    unreachable_s: float = 60.0
    """Without a connection; beyond, it is a problem."""

    def pause_s(self, failures: int) -> float:
        """Before the next attempt: doubles with each failure, with jitter, so that a fleet does not return at once."""
        longest_s = min(self.retry_max_s, self.retry_min_s * 2.0 ** min(failures, 16))
        return max(self.retry_min_s, random.uniform(longest_s / 2, longest_s))  # noqa: S311


class Control:
    """Wakes the thread of the connection out of its select(), and tells it to stop. Any thread."""

    def __init__(self) -> None:
        self.socket, self._wake_end = socket.socketpair()  # the first: what the thread waits for
        self.socket.settimeout(0)
        self._wake_end.settimeout(0)
        self._lock = threading.Lock()
        self.stopping = threading.Event()
        self._stop_at_s = float("inf")  # of time.monotonic()

    @property
    def left_s(self) -> float:
        """Time until everything must have ended."""
        return self._stop_at_s - time.monotonic()

    def stop(self, in_s: float) -> None:
        """Ask the thread to finish its work, and to end after this time in any case."""
        self._stop_at_s = time.monotonic() + in_s
        self.stopping.set()
        self.wake()

    def wake(self) -> None:
        """There is something to do."""
        with self._lock:
            if self._wake_end.fileno() >= 0:
                try:
                    self._wake_end.send(b"\0")
                except BlockingIOError:
                    return  # full of wake-ups already

    def close(self) -> None:
        """Nobody listens any more."""
        with self._lock:
            self._wake_end.close()
            self.socket.close()

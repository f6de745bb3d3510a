"""Between the thread that receives and the one that shows."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from edge_fer.mqtt.incoming import Incoming


class Received(NamedTuple):
    """A message and when it came."""

    unix_ns: int
    incoming: Incoming


class Mailbox:
    """Keeps what was received until it is taken; where too much waits, the oldest is dropped and counted."""

    def __init__(
        self,
        *,
        messages_max: int = 20_000,
        bytes_max: int = 32 * 1024 * 1024,
        unix_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._messages_max, self._bytes_max, self._unix_ns = messages_max, bytes_max, unix_ns
        self._waiting: deque[Received] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._woken = False
        self.dropped = 0

    def put(self, incoming: Incoming) -> None:
        """Any thread; never blocks on those who take."""
        with self._changed:
            self._waiting.append(Received(self._unix_ns(), incoming))
            self._bytes += len(incoming.payload)
            while len(self._waiting) > self._messages_max or self._bytes > self._bytes_max:
                self._bytes -= len(self._waiting.popleft().incoming.payload)
                self.dropped += 1
            self._changed.notify()

    def wake(self) -> None:
        """Let take() return: there is other news."""
        with self._changed:
            self._woken = True
            self._changed.notify()

    def take(self, timeout_s: float, at_most: int = 1000) -> list[Received]:
        """What waits, the oldest first; waits for the first of it, but not longer than the timeout."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._woken, timeout_s)
            self._woken = False
            taken = [self._waiting.popleft() for _ in range(min(at_most, len(self._waiting)))]
            self._bytes -= sum(len(received.incoming.payload) for received in taken)
            return taken

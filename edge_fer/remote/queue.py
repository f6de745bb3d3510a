"""Where commands wait between the thread of the connection and the main thread; bounded on both ways."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from edge_fer.channels import COMMAND, topic
from edge_fer.mqtt.incoming import Handler, Incoming
from edge_fer.remote.requests import Refusal, Request, read_request
from edge_fer.remote.settings import CommandSettings

MAX_REQUESTS = 16
MAX_REFUSALS = 16
"""That wait for their reply; more are only counted."""


class CommandQueue:
    """Commands as they arrive. `take` is the handler of the topics; the rest is for the main thread."""

    def __init__(
        self,
        settings: CommandSettings,
        node: str,
        *,
        reserved: Sequence[str] = (),
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`reserved`: beginnings of topics that no answer may go to, such as the discovery prefix of Home Assistant."""
        self._allow, self._node, self._reserved = tuple(settings.allow), node, tuple(reserved)
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._requests: deque[Request] = deque()
        self._refusals: deque[Refusal] = deque()
        self.dropped = 0  # without even a reply

    @property
    def subscriptions(self) -> dict[str, Handler]:
        """Topic filter -> handler; none where no command is allowed."""
        return {topic(COMMAND, self._node, "+"): self.take} if self._allow else {}

    def take(self, incoming: Incoming) -> None:
        """Take a message; neither blocks nor raises."""
        found = read_request(incoming, self._node, self._allow, self._reserved, self._clock_ns())
        with self._lock:
            if isinstance(found, Request):
                if len(self._requests) < MAX_REQUESTS:
                    self._requests.append(found)
                    return
                found = Refusal(found.asker, f"busy: {MAX_REQUESTS} commands wait already; try again")
            if len(self._refusals) < MAX_REFUSALS:
                self._refusals.append(found)
            else:
                self.dropped += 1

    def next_request(self) -> Request | None:
        """The oldest that waits."""
        with self._lock:
            return self._requests.popleft() if self._requests else None

    def refusals(self) -> list[Refusal]:
        """All that wait for a reply; they wait no longer."""
        with self._lock:
            waiting = list(self._refusals)
            self._refusals.clear()
            return waiting

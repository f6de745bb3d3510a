"""When Home Assistant has started, it is told everything again, a little later."""

from __future__ import annotations

import random
from collections.abc import Callable

from edge_fer.mqtt.incoming import Incoming

BORN = b"online"


def birth_topic(prefix: str) -> str:
    """Where Home Assistant says that it has started, by its default settings."""
    return f"{prefix}/status"


class Birth:
    """Calls `born` once, a random time after each start of Home Assistant. No clock of its own."""

    def __init__(self, born: Callable[[int], None], jitter_s: float, draw: Callable[[], float] = random.random) -> None:
        """`born` gets the time of its turn; `draw` gives a share of the jitter, 0..1."""
        self._born, self._jitter_s, self._draw = born, jitter_s, draw
        self._heard = False
        self._due_ns: int | None = None

    def handle(self, incoming: Incoming) -> None:
        """Take note; from the thread of the connection.

        A retained one says that Home Assistant started before this connection, which began with all states anyway.
        """
        if incoming.payload == BORN and not incoming.retained:
            self._heard = True

    def turn(self, now_ns: int) -> None:
        """Do what is due; from the main thread."""
        if self._heard:
            self._heard = False
            if self._due_ns is None:
                self._due_ns = now_ns + round(self._jitter_s * self._draw() * 1e9)
        if self._due_ns is not None and now_ns >= self._due_ns:
            self._due_ns = None
            self._born(now_ns)

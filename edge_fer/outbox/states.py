"""States, of which only the newest counts, and samples, of which only the present ones do: neither is on disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection

from edge_fer.messages import Message


class States:
    """The newest message of each topic, for ever. Not thread safe: the outbox calls it under its lock."""

    def __init__(self) -> None:
        self._newest: dict[str, Message] = {}
        self._due: dict[str, None] = {}  # topics, in order

    @property
    def due(self) -> Collection[str]:
        """Topics whose state is to be sent, in order."""
        return self._due.keys()

    def put(self, message: Message) -> None:
        """It replaces the one before, and is due."""
        self._newest[message.topic] = message
        self._due.pop(message.topic, None)
        self._due[message.topic] = None

    def all_due(self) -> None:
        """What was sent has been forgotten: all are to be sent again."""
        self._due = dict.fromkeys(self._newest)

    def next(self, may_go: Callable[[str], bool]) -> Message | None:
        """Take the first that is due and may go."""
        topic = next(filter(may_go, self._due), None)
        if topic is None:
            return None
        del self._due[topic]
        return self._newest[topic]

    def is_free(self, topic: str) -> bool:
        """Whether this run says nothing on it."""
        state = self._newest.get(topic)
        return state is None or state.clears

    def settled(self, topic: str) -> None:
        """The broker has all that was on its way: one that took back what was retained is over, unless one is due."""
        state = self._newest.get(topic)
        if state and state.clears and topic not in self._due:
            del self._newest[topic]

    def returned(self, topic: str) -> None:
        """It is due again."""
        if topic in self._newest:
            self._due[topic] = None


class Samples:
    """Telemetry on its way to a connection that lasts; the oldest makes room, and is counted."""

    def __init__(self, limit: int) -> None:
        self._waiting: deque[Message] = deque(maxlen=limit)
        self.lost = 0

    def put(self, message: Message, *, connected: bool) -> None:
        """Without a connection it is lost."""
        self.lost += not connected or len(self._waiting) == self._waiting.maxlen
        if connected:
            self._waiting.append(message)

    def next(self, *, has_room: bool) -> Message | None:
        """The oldest; None without any, or without room for one that wants to be acknowledged."""
        return self._waiting.popleft() if self._waiting and (has_room or not self._waiting[0].qos) else None

    def clear(self) -> None:
        """The connection ended."""
        self.lost += len(self._waiting)
        self._waiting.clear()

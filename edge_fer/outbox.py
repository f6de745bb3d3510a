"""What waits for the broker, or for its acknowledgement."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from edge_fer.events import Message, rfc3339

WINDOW = 20
"""Messages on their way at once, as paho and mosquitto have it by default."""


@dataclass(slots=True)
class WaitingEvent:
    """An event that the broker has not acknowledged."""

    message: Message
    late: bool  # it met a time without connection, so it is history when it arrives


class Sent(NamedTuple):
    """A message on its way."""

    topic: str
    event: WaitingEvent | None  # None for a state


class Outbox:
    """What waits for the broker or for its acknowledgement; thread safe, never blocks on a network.

    It owns every message until the broker has acknowledged it; a paho client lives for one connection and its own
    memory of unacknowledged messages is forgotten with it. So there is one queue with one order: when a connection
    ends, what was on its way goes back in front of what was not sent yet, and the next connection starts with the
    oldest unacknowledged event. An event can arrive twice (its id tells), but none is lost and none overtakes.
    """

    def __init__(self, capacity: int) -> None:
        self._lock = threading.Lock()
        self._capacity = capacity
        self._events: deque[WaitingEvent] = deque()  # not sent yet, oldest first
        self._on_the_way: dict[int, Sent] = {}  # by message id, in the order of sending
        self._states: dict[str, Message] = {}  # the newest of each topic, for ever
        self._due: dict[str, None] = {}  # topics of states to send, in order
        self._samples: deque[Message] = deque(maxlen=WINDOW)
        self.open = False
        self.dropped = 0
        self.acknowledged_events = 0

    @property
    def pending(self) -> int:
        """Events that the broker has not acknowledged."""
        with self._lock:
            return len(self._events) + sum(sent.event is not None for sent in self._on_the_way.values())

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is on its way."""
        with self._lock:
            return not (self._events or self._on_the_way or self._due)

    def put(self, message: Message) -> None:
        """Take over a message: a state replaces the one before, a sample is lost without connection.

        Where too many events wait, the oldest is dropped and counted.
        """
        with self._lock:
            if message.retain:
                self._states[message.topic] = message
                self._due[message.topic] = None
            elif message.is_event:
                self._events.append(WaitingEvent(message, late=not self.open))
                self._drop_oldest()
            elif self.open:
                self._samples.append(message)

    def opened(self) -> None:
        """The broker may have lost its memory: every state is due again."""
        with self._lock:
            self.open = True
            self._due = dict.fromkeys(self._states)

    def closed(self) -> None:
        """The connection ended: what was on its way goes back in front."""
        with self._lock:
            self.open = False
            self._events.extendleft(sent.event for sent in reversed(self._on_the_way.values()) if sent.event)
            self._on_the_way.clear()
            self._samples.clear()
            for event in self._events:
                event.late = True
            self._drop_oldest()

    def next(self, window: int) -> tuple[Message, WaitingEvent | None] | None:
        """What to send now: states before events, for they are what is true now; an event stays until sent()."""
        with self._lock:
            if len(self._on_the_way) < window:
                if self._due:
                    due = next(iter(self._due))
                    del self._due[due]
                    return self._states[due], None
                if self._events:
                    event = self._events[0]
                    return event.message.sent(rfc3339(time.time_ns()), replayed=event.late), event
            return (self._samples.popleft(), None) if self._samples else None

    def sent(self, message_id: int, sent: Sent) -> None:
        """It is on its way now."""
        with self._lock:
            self._on_the_way[message_id] = sent
            if self._events and self._events[0] is sent.event:
                self._events.popleft()

    def acknowledged(self, message_id: int) -> Sent | None:
        """The broker has it: forget it; None where it was of an earlier connection."""
        with self._lock:
            sent = self._on_the_way.pop(message_id, None)
            self.acknowledged_events += sent is not None and sent.event is not None
            return sent

    def _drop_oldest(self) -> None:
        while len(self._events) > self._capacity:
            self._events.popleft()
            self.dropped += 1

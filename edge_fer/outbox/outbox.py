"""What waits for the broker, or for its acknowledgement."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from edge_fer.channels import WINDOW
from edge_fer.events import rfc3339
from edge_fer.messages import Message
from edge_fer.outbox.backlog import Backlog
from edge_fer.outbox.lane import Drain
from edge_fer.outbox.open_tracks import track_change
from edge_fer.outbox.rows import Loaded, WaitingEvent
from edge_fer.outbox.settings import OutboxSettings
from edge_fer.outbox.states import Samples, States
from edge_fer.outbox.store import Store


class Sent(NamedTuple):
    """A message on its way."""

    topic: str
    event: WaitingEvent | None  # None for a state


class Outbox:
    """What waits for the broker or for its acknowledgement; thread safe, never blocks on a network or a disk.

    It owns every message until the broker has acknowledged it; a paho client lives for one connection and its own
    memory of unacknowledged messages is forgotten with it. When a connection ends, what was on its way goes back in
    front of what was not sent yet, and the next connection starts with the oldest unacknowledged event. An event can
    arrive twice (its id tells), but none is lost and none overtakes another of its topic.

    With a store an event is sent only once it is safe on disk, and is kept there until acknowledged; of a long backlog
    the next few are in memory. Where the disk fails it works in memory, as it does without a store.
    """

    def __init__(
        self,
        settings: OutboxSettings | None = None,
        store: Store | None = None,
        *,
        deliver: bool = True,
        unix_ns: Callable[[], int] = time.time_ns,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`deliver` False: there is no broker, and only the open tracks are kept."""
        self._lock = threading.RLock()
        self._store, self._deliver, self._clock_s = store, deliver, clock_s
        # Ages do not change with the wall clock, which a time server may set at any moment.
        self._unix_offset_ns = unix_ns() - round(clock_s() * 1e9)
        settings = settings or OutboxSettings()
        self._backlog = Backlog(settings, store, store.contents.topics if store and deliver else {}, self._now_ns)
        self._drain = Drain(settings.drain_per_s, WINDOW, clock_s)
        self._handed: WaitingEvent | None = None  # by next(), until sent()
        self._on_the_way: dict[int, Sent] = {}  # by message id, in the order of sending
        self._holds: dict[str, float] = {}  # topics that the broker refuses now: until when, of the clock
        self._states, self._samples = States(), Samples(WINDOW)
        self._window = WINDOW
        self._late_to = self._backlog.last_number
        self.on_ready: Callable[[], None] = _nobody
        """Called, from any thread, when there may be something to send."""
        self.open = False
        self.losses = self._backlog.losses
        """Events lost in this run, by reason: too many, too much, too old, damaged, disk failed."""
        self.acknowledged_events = 0

    @property
    def pending(self) -> int:
        """Events that the broker has not acknowledged."""
        return self._backlog.events

    @property
    def bytes(self) -> int:
        """Of their topics and payloads."""
        return self._backlog.bytes

    @property
    def dropped(self) -> int:
        """Events lost in this run."""
        return sum(self.losses.copy().values())

    @property
    def telemetry_lost(self) -> int:
        """Samples that no broker was there for."""
        return self._samples.lost

    @property
    def oldest_s(self) -> float:
        """Age of the oldest of them; 0 without any."""
        with self._lock:
            put = [event.put_ns for event in self._taken_out()]
            if (waiting_ns := self._backlog.oldest_ns) is not None:
                put.append(waiting_ns)
            return max(0.0, (self._now_ns() - min(put)) / 1e9) if put else 0.0

    @property
    def problem(self) -> str:
        """Why events would not outlive a restart, or were lost with a damaged file; "" where all is well."""
        return self._store.problem if self._store else ""

    @property
    def durable(self) -> bool:
        """Whether what was put a moment ago outlives a restart."""
        return self._store is not None and not self._store.failing

    @property
    def alive(self) -> bool:
        """Whether the thread of the store runs, if there is one."""
        return self._store is None or self._store.alive

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way, and nothing waits but what the broker refuses now."""
        with self._lock:
            lanes = self._backlog.lanes.items()
            waiting = [topic for topic, lane in lanes if lane.head or lane.on_disk or lane.fresh]
            return not self._on_the_way and not any(map(self._may_go, (*waiting, *self._states.due)))

    def start(self) -> None:
        """Begin to keep events; once, before the publisher starts."""
        if self._store:
            self._store.start(self)
            with self._lock:
                self._backlog.refill()

    def stop(self, timeout_s: float = 0.5) -> None:
        """Make what was put safe, as far as the time allows."""
        if self._store:
            self._store.stop(timeout_s)

    def publish(self, message: Message) -> None:
        """As a publisher of its own, where there is no broker: the same as put()."""
        self.put(message)

    def put(self, message: Message) -> None:
        """Take over a message: a state replaces the one before, a sample is lost without connection.

        Over a bound the oldest event is dropped and counted.
        """
        with self._lock:
            if message.kept == "newest":
                self._states.put(message)
            elif message.is_event:
                self._put_event(message)
                self._backlog.trim()
            else:
                self._samples.put(message, connected=self.open)

    def take_back(self, message: Message) -> None:
        """As put() with a message that takes a topic back, unless there is a state of it: what this run says stays."""
        with self._lock:
            if self._states.is_free(message.topic):
                self.put(message)

    def opened(self) -> None:
        """The broker may have lost its memory: every state is due again."""
        with self._lock:
            self.open = True
            self._states.all_due()
            self._backlog.trim()

    def refresh(self) -> None:
        """Somebody has lost what was retained: every state is due again."""
        with self._lock:
            self._states.all_due()
        self.on_ready()

    def closed(self) -> None:
        """The connection ended: what was on its way goes back in front."""
        with self._lock:
            self.open = False
            self._take_back()
            for event in self._events_on_the_way():
                self._backlog.put_back(event)
            self._on_the_way.clear()
            self._holds.clear()  # another connection may be allowed more
            self._samples.clear()
            self._late_to = self._backlog.last_number
            self._backlog.trim()

    def next(self, window: int) -> tuple[Message, WaitingEvent | None] | None:
        """What to send now: states before events, for they are what is true now.

        An event is given again by the next call, unless sent() or closed() comes before.
        """
        with self._lock:
            self._take_back()
            self._window = window
            has_room = len(self._on_the_way) < window
            if has_room:
                if state := self._states.next(self._may_go):
                    return state, None
                if event := self._next_event():
                    self._handed = event
                    return event.message.sent(rfc3339(time.time_ns()), replayed=event.late), event
            sample = self._samples.next(has_room=has_room)
            return (sample, None) if sample else None

    def next_in_s(self) -> float:
        """How long the limit on late events, or a refusal, keeps next() waiting; inf where nothing can be sent."""
        with self._lock:
            now_s, waits_s = self._clock_s(), float("inf")
            if len(self._on_the_way) >= self._window:
                return waits_s
            for topic, lane in self._backlog.lanes.items():
                if lane.head:
                    late_s = self._drain.next_in_s if self._is_late(lane.head[0]) else 0.0
                    waits_s = min(waits_s, max(late_s, self._held_s(topic, now_s)))
            return min([waits_s, *(self._held_s(topic, now_s) for topic in self._states.due)])

    def sent(self, message_id: int, sent: Sent) -> None:
        """It is on its way now."""
        with self._lock:
            self._on_the_way[message_id] = sent
            if sent.event:
                if self._handed is sent.event:
                    self._handed = None
                else:
                    self._backlog.discard(sent.event)
                if sent.event.late:
                    self._drain.take()
                self._backlog.served(sent.topic)

    def acknowledged(self, message_id: int) -> Sent | None:
        """The broker has it: forget it; None where it was of an earlier connection."""
        with self._lock:
            sent = self._on_the_way.pop(message_id, None)
            if sent is None:
                return None
            self._holds.pop(sent.topic, None)
            if sent.event:
                self.acknowledged_events += 1
                self._backlog.forget(sent.event)
            elif not self._is_on_the_way(sent.topic):
                self._states.settled(sent.topic)
            return sent

    def returned(self, message_id: int, hold_s: float) -> Sent | None:
        """The broker refuses it now, which can be cured: it goes back to its place, and its topic waits for `hold_s`.

        Then one message of the topic at a time is sent until the broker has taken one, so that none overtakes; other
        topics go on. A state is due again, unless a newer one is. None as of acknowledged().
        """
        with self._lock:
            sent = self._on_the_way.pop(message_id, None)
            if sent is None:
                return None
            self._holds[sent.topic] = self._clock_s() + hold_s
            if sent.event:
                sent.event.kept_back = True
                self._backlog.put_back(sent.event)
            else:
                self._states.returned(sent.topic)
            return sent

    def on_stored(self, events: list[WaitingEvent]) -> None:
        """They are safe: they can be sent."""
        with self._lock:
            self._backlog.stored(events)
        self.on_ready()

    def on_loaded(self, topic: str, loaded: Loaded) -> None:
        """The next events of a backlog."""
        with self._lock:
            self._backlog.loaded(topic, loaded, self._taken_out())
        self.on_ready()

    def on_trouble(self) -> None:
        """The disk fails: what is in memory is sent all the same."""
        with self._lock:
            self._backlog.release()
            self._backlog.trim()
        self.on_ready()

    def on_fresh_file(self) -> None:
        """What was only in the damaged file is lost; what is in memory is written again."""
        with self._lock:
            self._backlog.begin_afresh(self._taken_out())

    def _put_event(self, message: Message) -> None:
        track = track_change(message.body) if self._store and message.tells_expression else None
        if not self._deliver:
            if self._store and track:
                self._store.add(None, track)
            return
        event = self._backlog.add(message, track, late=not self.open)
        if event.late:
            self._late_to = event.number
        if self._store is None:
            self.on_ready()

    def _next_event(self) -> WaitingEvent | None:
        """Each topic in its turn; one whose next event is late waits for the limit, the others do not."""
        self._backlog.release()
        for topic, lane in self._backlog.lanes.items():
            if not lane.head or not self._may_go(topic):
                continue
            event = lane.head[0]
            event.late = self._is_late(event)
            if not event.late or not self._drain.next_in_s:
                return lane.head.popleft()
        return None

    def _is_late(self, event: WaitingEvent) -> bool:
        return event.number <= self._late_to or event.kept_back

    def _may_go(self, topic: str) -> bool:
        return self._held_s(topic, self._clock_s()) <= 0

    def _held_s(self, topic: str, now_s: float) -> float:
        """How long a refusal keeps it waiting; inf until the broker has answered to all that are on their way."""
        until_s = self._holds.get(topic)
        if until_s is None:
            return 0.0
        return float("inf") if self._is_on_the_way(topic) else until_s - now_s

    def _is_on_the_way(self, topic: str) -> bool:
        return any(sent.topic == topic for sent in self._on_the_way.values())

    def _take_back(self) -> None:
        if self._handed:
            self._backlog.put_back(self._handed)
            self._handed = None

    def _events_on_the_way(self) -> Iterator[WaitingEvent]:
        return (sent.event for sent in self._on_the_way.values() if sent.event)

    def _taken_out(self) -> list[WaitingEvent]:
        """Events that the backlog counts, but does not hold."""
        return [*self._events_on_the_way(), *([self._handed] if self._handed else [])]

    def _now_ns(self) -> int:
        return round(self._clock_s() * 1e9) + self._unix_offset_ns


def _nobody() -> None:
    """Nobody sends yet."""

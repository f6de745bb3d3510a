"""The events that the broker has not acknowledged: within bounds, in order of their topic, each loss counted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

from edge_fer.channels import WINDOW
from edge_fer.messages import Message
from edge_fer.outbox.lane import Lane
from edge_fer.outbox.open_tracks import TrackChange
from edge_fer.outbox.rows import Loaded, Rows, WaitingEvent, event_of
from edge_fer.outbox.settings import OutboxSettings
from edge_fer.outbox.store import Store

log = logging.getLogger(__name__)

MEMORY_EVENTS = 10_000
"""Events in memory while the disk fails."""


class Backlog:
    """Counts events from add() until forget(), also while they are on their way; of those it has no list.

    Not thread safe: the outbox calls it under its lock.
    """

    def __init__(
        self, settings: OutboxSettings, store: Store | None, kept: Mapping[str, Rows], now_ns: Callable[[], int]
    ) -> None:
        """`kept` is what the store has of each topic."""
        self._settings, self._store, self._now_ns = settings, store, now_ns
        self.lanes: dict[str, Lane] = {}  # by topic; the one that was served longest ago first
        self.events = self.bytes = 0
        self.last_number = self._found_to = store.last_number if store else 0
        self.losses: dict[str, int] = {}
        for topic, rows in kept.items():
            self.lanes[topic] = Lane(rows.events, rows.oldest_ns)
            self.events += rows.events
            self.bytes += rows.size

    @property
    def oldest_ns(self) -> int | None:
        """When the oldest was put, of those that are not on their way; None without any."""
        waiting = [oldest_ns for lane in self.lanes.values() if (oldest_ns := lane.oldest_ns) is not None]
        return min(waiting, default=None)

    def add(self, message: Message, track: TrackChange | None, *, late: bool) -> WaitingEvent:
        """Keep an event, and what it does to the open tracks."""
        self.last_number += 1
        event = event_of(message, self.last_number, self._now_ns(), late=late)
        self.events += 1
        self.bytes += event.size
        self._lane(message.topic).fresh.append(event)
        if self._store:
            self._store.add(event, track)
        self.release()
        return event

    def put_back(self, event: WaitingEvent) -> None:
        """It was on its way, and is to be sent again in its place."""
        self._lane(event.message.topic).put_back(event)

    def discard(self, event: WaitingEvent) -> bool:
        """It waits no more; returns whether it did."""
        return self._lane(event.message.topic).discard(event)

    def served(self, topic: str) -> None:
        """The other topics are next."""
        self.lanes[topic] = self.lanes.pop(topic)
        self.refill()

    def forget(self, event: WaitingEvent) -> None:
        """It is delivered, or lost."""
        self.events -= 1
        self.bytes -= event.size
        if self._store:
            self._store.remove(event)

    def refill(self) -> None:
        """Ask the store for what is to be sent next."""
        for topic, lane in self.lanes.items():
            if self._store and (wanted := lane.wants):
                lane.loading = True
                self._store.load(topic, lane.loaded_to, wanted)

    def release(self) -> None:
        """Where no disk keeps them, events are sent all the same."""
        if self._store is None or self._store.failing:
            for lane in self.lanes.values():
                lane.release()

    def stored(self, events: Iterable[WaitingEvent]) -> None:
        """They are safe: they can be sent."""
        for event in events:
            if lane := self.lanes.get(event.message.topic):
                lane.stored(event)
        self.trim()

    def loaded(self, topic: str, loaded: Loaded, on_the_way: Iterable[WaitingEvent]) -> None:
        """What refill() asked for."""
        lane = self._lane(topic)
        lane.loading = False
        for event in loaded.events:
            lane.place(event)
        found = len(loaded.events) + len(loaded.damaged)
        lane.on_disk -= found
        for number, size in loaded.damaged:
            lane.loaded_to = max(lane.loaded_to, number)
            self._lose(WaitingEvent(_NOTHING, number, size, 0, late=True, stored=True), "damaged")
        if not found:
            self._lose_rows(lane, on_the_way)
        self.trim()

    def begin_afresh(self, on_the_way: Iterable[WaitingEvent]) -> None:
        """What was only in the damaged file is lost; what is in memory is written again."""
        on_the_way = list(on_the_way)
        for lane in self.lanes.values():
            lane.loading = False
            self._lose_rows(lane, on_the_way)
        for event in sorted(self._in_memory(on_the_way), key=_number):
            if event.stored and self._store:
                event.stored = False
                self._store.add(event, None)
        self.release()

    def trim(self) -> None:
        """Keep the bounds; what is on its way is not touched, and what is only on disk is once it was fetched."""
        while (lane := self._oldest_lane()) and (reason := self._over_bound(lane.head[0])):
            self._lose(lane.head.popleft(), reason)
        if self._store and self._store.failing and (excess := self._store.unwritten - MEMORY_EVENTS) > 0:
            # Some of the oldest may be on their way.
            for event in self._store.oldest_unwritten(excess + WINDOW + 1):
                if excess > 0 and self.discard(event):
                    self._lose(event, "disk failed")
                    excess -= 1
        self.refill()

    def _lane(self, topic: str) -> Lane:
        if topic not in self.lanes:
            self.lanes[topic] = Lane()
            self.lanes[topic].loaded_to = self.last_number
        return self.lanes[topic]

    def _oldest_lane(self) -> Lane | None:
        """The one that begins with the oldest event; None where that has still to be fetched."""
        if any(lane.on_disk and not lane.head for lane in self.lanes.values()):
            return None
        return min((lane for lane in self.lanes.values() if lane.head), key=_first_number, default=None)

    def _over_bound(self, oldest: WaitingEvent) -> str:
        """Why it has to go; "" where it has not."""
        bounds = self._settings
        if self.events > (bounds.max_events if self._store else min(bounds.max_events, MEMORY_EVENTS)):
            return "too many"
        if self.bytes > bounds.max_mb * 1e6:
            return "too much"
        # A board without a clock of its own, and without a time server, does not know when an earlier run was.
        age_is_known = oldest.number > self._found_to or oldest.message.body.get("clock_synced") is not False
        is_old = self._now_ns() - oldest.put_ns > bounds.max_age_h * 3.6e12
        return "too old" if age_is_known and is_old else ""

    def _lose(self, event: WaitingEvent, reason: str) -> None:
        self.forget(event)
        self._count_loss(reason, 1)

    def _lose_rows(self, lane: Lane, on_the_way: Iterable[WaitingEvent]) -> None:
        """They were on a disk that has them no more."""
        if lane.on_disk:
            self.events -= lane.on_disk
            self._count_loss("damaged", lane.on_disk)
            lane.on_disk = 0
            if not any(other.on_disk for other in self.lanes.values()):
                # Of those that are lost it is not known.
                self.bytes = sum(event.size for event in self._in_memory(on_the_way))

    def _in_memory(self, on_the_way: Iterable[WaitingEvent]) -> list[WaitingEvent]:
        return [*(event for lane in self.lanes.values() for event in (*lane.head, *lane.fresh)), *on_the_way]

    def _count_loss(self, reason: str, events: int) -> None:
        if reason in ("damaged", "disk failed") and reason not in self.losses:  # of the others the publisher tells
            log.warning("events kept on disk are lost: %s; how many is told in health", reason)
        self.losses[reason] = self.losses.get(reason, 0) + events
        if self._store:
            self._store.count_loss(reason, events)


_NOTHING = Message("", 0, retain=False, body={})


def _first_number(lane: Lane) -> int:
    return lane.head[0].number


def _number(event: WaitingEvent) -> int:
    return event.number

"""The events of one topic on their way to the broker, and the limit on those that are late."""

from __future__ import annotations

from bisect import bisect
from collections import deque
from collections.abc import Callable

from edge_fer.outbox.rows import WaitingEvent

AHEAD = 128
"""Events of a topic in memory; the rest of a backlog stays on disk until it is its turn."""


class Lane:
    """The events of one topic, in order: those that can be sent, those that are only on disk, those not safe yet."""

    def __init__(self, on_disk: int = 0, oldest_ns: int = 0) -> None:
        self.head: deque[WaitingEvent] = deque()
        self.on_disk = on_disk
        self.fresh: deque[WaitingEvent] = deque()
        self.loaded_to = 0  # number of the last that came into the head
        self.loading = False
        self._reached_ns = oldest_ns  # what is on disk is not older

    @property
    def oldest_ns(self) -> int | None:
        """When the oldest was put; None without any."""
        if self.head:
            return self.head[0].put_ns
        if self.on_disk:
            return self._reached_ns
        return self.fresh[0].put_ns if self.fresh else None

    @property
    def wants(self) -> int:
        """How many should be fetched from the disk."""
        return AHEAD - len(self.head) if self.on_disk and not self.loading and len(self.head) <= AHEAD // 2 else 0

    def place(self, event: WaitingEvent) -> None:
        """It can be sent, after those before it."""
        self.head.append(event)
        self.loaded_to = event.number
        self._reached_ns = event.put_ns

    def put_back(self, event: WaitingEvent) -> None:
        """It was on its way, and is to be sent again in its place."""
        self.head.insert(bisect([other.number for other in self.head], event.number), event)

    def release(self) -> None:
        """What is not safe yet can be sent all the same: the disk fails."""
        while self.fresh and not self.on_disk:
            self.place(self.fresh.popleft())

    def stored(self, event: WaitingEvent) -> None:
        """It is safe: it can be sent, or leaves the memory until it is its turn."""
        if not (self.fresh and self.fresh[0] is event):
            return  # released before, and perhaps delivered
        self.fresh.popleft()
        if self.on_disk or len(self.head) >= AHEAD:
            self.on_disk += 1
        else:
            self.place(event)

    def discard(self, event: WaitingEvent) -> bool:
        """Give it up; returns whether it was here."""
        for queue in (self.head, self.fresh):
            if queue and queue[0] is event:
                queue.popleft()
                return True
            if event in queue:
                queue.remove(event)
                return True
        return False


class Drain:
    """A token bucket: late events leave at a limited rate, so that subscribers can follow."""

    def __init__(self, per_s: int, burst: int, clock_s: Callable[[], float]) -> None:
        self._per_s, self._burst, self._clock_s = per_s, float(max(per_s, burst)), clock_s
        self._tokens, self._at_s = self._burst, clock_s()

    @property
    def next_in_s(self) -> float:
        """Until a late event may leave."""
        self._fill()
        return max(0.0, (1 - self._tokens) / self._per_s)

    def take(self) -> None:
        """One leaves."""
        self._fill()
        self._tokens -= 1

    def _fill(self) -> None:
        now_s = self._clock_s()
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s

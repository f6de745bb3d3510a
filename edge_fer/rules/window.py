"""What is remembered of the past, in bounded memory: a share of a sliding window, and samples evenly over a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from edge_fer.events import AlertSample, rfc3339

SLOTS = 200
"""Parts that a window is divided into; a share is exact to 1/200 of it."""

MAX_STEP_NS = 2_000_000_000
"""The time that one reading stands for at most, so that a few readings are not taken for a whole window."""

MAX_SAMPLES = 20
"""Samples that an alert shows."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sight:
    """One observation that counts; an AlertSample once it is shown."""

    unix_ns: int
    camera: str
    track: int | None = None
    expression: str | None = None
    confidence: float | None = None
    faces: int | None = None
    state: str | None = None

    def shown(self) -> AlertSample:
        """As it is published."""
        return AlertSample(
            occurred_at=rfc3339(self.unix_ns),
            camera=self.camera,
            track=self.track,
            expression=self.expression,
            confidence=self.confidence,
            faces=self.faces,
            state=self.state,
        )


@dataclass(slots=True)
class _Slot:
    start_ns: int
    end_ns: int
    covered_ns: int = 0
    held_ns: int = 0
    readings: int = 0
    sight: Sight | None = None  # the first that counts


class ShareWindow:
    """For how much of the last `window_s` something was read, and held; each reading stands for the time before it."""

    def __init__(self, window_s: float) -> None:
        self._window_ns = round(window_s * 1e9)
        self._slot_ns = self._window_ns // SLOTS
        self._slots: deque[_Slot] = deque()
        self._covered_ns = self._held_ns = self._readings = 0
        self._last_ns: int | None = None

    def add(self, time_ns: int, *, read: bool, sight: Sight | None) -> None:
        """Take what was seen at a time: whether it could be read, and the sight if it counts."""
        step_ns = 0 if self._last_ns is None else min(max(0, time_ns - self._last_ns), MAX_STEP_NS)
        self._last_ns = time_ns
        if read:
            if not self._slots or time_ns - self._slots[-1].start_ns >= self._slot_ns:
                self._slots.append(_Slot(time_ns, time_ns))
            self._fill(self._slots[-1], time_ns, step_ns, sight)
        while self._slots and self._slots[0].end_ns <= time_ns - self._window_ns:
            old = self._slots.popleft()
            self._covered_ns -= old.covered_ns
            self._held_ns -= old.held_ns
            self._readings -= old.readings

    def interrupt(self) -> None:
        """Nobody looks until the next `add`."""
        self._last_ns = None

    @property
    def share(self) -> float:
        """Of the window in which it was held, 0..1."""
        return min(1.0, self._held_ns / self._window_ns)

    @property
    def coverage(self) -> float:
        """Of the window in which it could be read, 0..1."""
        return min(1.0, self._covered_ns / self._window_ns)

    @property
    def readings(self) -> int:
        """How many readings are in the window."""
        return self._readings

    def sights(self) -> list[Sight]:
        """At most MAX_SAMPLES of those that count, evenly chosen."""
        return evenly([slot.sight for slot in self._slots if slot.sight], MAX_SAMPLES)

    def __len__(self) -> int:
        return len(self._slots)

    def _fill(self, slot: _Slot, time_ns: int, step_ns: int, sight: Sight | None) -> None:
        held_ns = step_ns if sight else 0
        slot.end_ns = time_ns
        slot.covered_ns += step_ns
        slot.held_ns += held_ns
        slot.readings += 1
        slot.sight = slot.sight or sight
        self._covered_ns += step_ns
        self._held_ns += held_ns
        self._readings += 1


class EvenSamples(Generic[T]):
    """Samples spread evenly over all that were offered, however many: when full, every other one is forgotten."""

    def __init__(self) -> None:
        self._kept: list[T] = []
        self._every = 1  # so many offered for one kept
        self._offered = 0

    def offer(self, sample: T) -> None:
        """Take it, or leave it."""
        if self._offered % self._every == 0:
            self._kept.append(sample)
            if len(self._kept) > 2 * MAX_SAMPLES:
                self._kept = self._kept[::2]
                self._every *= 2
        self._offered += 1

    def chosen(self) -> list[T]:
        """At most MAX_SAMPLES of them, the first and about the last among them."""
        return evenly(self._kept, MAX_SAMPLES)

    def __len__(self) -> int:
        return len(self._kept)


def evenly(items: Sequence[T], count: int) -> list[T]:
    """At most `count` items, spread evenly from the first to the last."""
    if len(items) <= count:
        return list(items)
    return [items[round(number * (len(items) - 1) / (count - 1))] for number in range(count)]

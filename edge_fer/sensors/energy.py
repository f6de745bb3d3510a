"""Energy out of readings: watts integrated over their timestamps, or the difference of a counter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from edge_fer.sensors.readings import Reading

MAX_GAP_S = 10.0
"""Between two readings with watts: over a longer time nothing is known of what was used."""


class Span(NamedTuple):
    """What was used from one reading with watts to the next."""

    start_ns: int
    end_ns: int
    start_w: float
    end_w: float
    counted_j: float | None  # of a meter that counts energy

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return (self.end_ns - self.start_ns) / 1e9

    @property
    def energy_j(self) -> float:
        """The trapezoid under the two watts, or what the counter says."""
        return (self.start_w + self.end_w) / 2 * self.seconds if self.counted_j is None else self.counted_j

    def within(self, start_ns: int, end_ns: int) -> Span | None:
        """The part between two times; watts run straight from end to end, a counter evenly."""
        first, last = max(self.start_ns, start_ns), min(self.end_ns, end_ns)
        if first >= last:
            return None
        counted_j = self.counted_j
        if counted_j is not None:
            counted_j *= (last - first) / (self.end_ns - self.start_ns)
        return Span(first, last, self._watts(first), self._watts(last), counted_j)

    def _watts(self, time_ns: int) -> float:
        share = (time_ns - self.start_ns) / (self.end_ns - self.start_ns)
        return self.start_w + share * (self.end_w - self.start_w)


@dataclass(frozen=True, slots=True)
class Usage:
    """Energy over some time."""

    energy_j: float
    seconds: float  # that the energy is of
    missing_s: float  # of the time that was asked for, without watts

    @property
    def mean_w(self) -> float | None:
        """Energy over time; None where nothing was measured."""
        return self.energy_j / self.seconds if self.seconds else None


class EnergyMeter:
    """Integrates readings, each as it comes. A time that goes back is passed over."""

    def __init__(self, max_gap_s: float = MAX_GAP_S) -> None:
        self.max_gap_s = max_gap_s
        self.seconds = 0.0
        """That the energy is of."""
        self.gap_s = 0.0
        """Without watts, between readings that have them: not in the energy."""
        self._energy_j: float | None = None
        self._last: Reading | None = None

    @property
    def energy_j(self) -> float | None:
        """Since the first reading with watts; None before it."""
        return self._energy_j

    def add(self, reading: Reading) -> None:
        """Count what was used since the reading before."""
        if not _tells(reading):
            return
        if self._energy_j is None:
            self._energy_j = 0.0
        if self._last is not None:
            if reading.time_ns <= self._last.time_ns:
                return
            span = span_between(self._last, reading, self.max_gap_s)
            if span is None:
                self.gap_s += (reading.time_ns - self._last.time_ns) / 1e9
            else:
                self._energy_j += span.energy_j
                self.seconds += span.seconds
        self._last = reading


def span_between(before: Reading, after: Reading, max_gap_s: float = MAX_GAP_S) -> Span | None:
    """What was used between two readings; None where it is not known."""
    first, last = before.power, after.power
    if last.energy_j is not None and first.energy_j is not None:
        if last.total_w is None:
            return None  # the counter began anew
        return Span(before.time_ns, after.time_ns, last.total_w, last.total_w, last.energy_j - first.energy_j)
    if first.total_w is None or last.total_w is None or after.time_ns - before.time_ns > max_gap_s * 1e9:
        return None
    return Span(before.time_ns, after.time_ns, first.total_w, last.total_w, None)


def usage(readings: Iterable[Reading], start_ns: int, end_ns: int, max_gap_s: float = MAX_GAP_S) -> Usage:
    """Energy between two times, out of readings in their order; best with one before and one after each end."""
    telling = [reading for reading in readings if _tells(reading)]
    energy_j = seconds = 0.0
    for before, after in pairwise(telling):
        span = span_between(before, after, max_gap_s) if after.time_ns > before.time_ns else None
        part = span.within(start_ns, end_ns) if span else None
        if part is not None:
            energy_j += part.energy_j
            seconds += part.seconds
    return Usage(energy_j, seconds, max((end_ns - start_ns) / 1e9 - seconds, 0.0))


def _tells(reading: Reading) -> bool:
    return reading.power.total_w is not None or reading.power.energy_j is not None

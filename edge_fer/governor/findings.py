"""What each limit says of the newest readings: the hottest zone, the watts of the board, and its own throttling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from edge_fer.events import GovernorCause
from edge_fer.governor.levels import THROTTLED_SLOWEST
from edge_fer.sensors.board import Board
from edge_fer.sensors.readings import Reading, Temperature

S = 1_000_000_000

UNKNOWN_THROTTLE_C, UNKNOWN_ARM_C = 95.0, 85.0
"""Where the kernel does not tell: processors of PCs, most of which tell nothing, begin at 95 to 105 degrees; device
trees of ARM boards at 70 to 85, those of Jetsons at more, but they tell."""

MARGIN_C = 5.0
"""Below the throttle point. A chip on a bare board heats by up to 0.5 degrees a second; that leaves 10 s to act."""

COOLER_C = 4.0
"""So far below the limit before it may go faster: more than the noise of a sensor (1) and its steps (1) together."""

SMOOTH_TEMPERATURE_S, SMOOTH_POWER_S = 4.0, 10.0
"""Time constants: against noise, yet short beside a chip's 20 s. Watts follow the load at once, and jump with it."""

THROTTLED_FOR_S = 10.0
"""Flags flicker with each core that wakes up."""

STUCK_S = 600.0
"""A zone that tells the same, to the last digit, while the work becomes a third less and for so long after that,
measures nothing: a chip follows within 20 to 60 s, and its noise alone is a digit."""

POWER_GONE_S = 600.0
"""Watts that were measured and are not any more limit nothing after this long; unknown heat keeps its level."""

Grade = Literal["calm", "between", "over", "urgent", "unknown"]
"""Well below the limit; not so far below; above; near throttling; measured once, and not any more."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one limit says."""

    cause: GovernorCause
    grade: Grade
    text: str


def assumed_throttle_c(board: Board) -> float:
    """Where a board that does not tell is thought to throttle."""
    return UNKNOWN_THROTTLE_C if board.key in ("generic-amd64", "unknown") else UNKNOWN_ARM_C


class Smooth:
    """An exponential mean over uneven times."""

    def __init__(self, tau_s: float) -> None:
        self._tau_s = tau_s
        self.value: float | None = None
        self.first_ns = self.last_ns = 0

    def add(self, value: float, time_ns: int) -> None:
        """Take the next value."""
        if self.value is None:
            self.value, self.first_ns = value, time_ns
        else:
            share = 1 - math.exp(-max(0, time_ns - self.last_ns) / S / self._tau_s)
            self.value += share * (value - self.value)
        self.last_ns = time_ns


class _Zone(NamedTuple):
    celsius: float
    since_ns: int  # it has told just this


class Heat:
    """The hottest zone that measures something, and its limit."""

    def __init__(self) -> None:
        self.limit_c = UNKNOWN_THROTTLE_C - MARGIN_C
        self._smooth = Smooth(SMOOTH_TEMPERATURE_S)
        self._hottest: Temperature | None = None
        self._seen_ns, self._missing = 0, False
        self._zones: dict[str, _Zone] = {}
        self._stuck: set[str] = set()

    @property
    def smooth_c(self) -> float | None:
        """Without the noise; None before the first."""
        return self._smooth.value

    @property
    def stuck(self) -> str:
        """Zones that are not believed, for people; "" where there are none."""
        told = (f"{name} at {self._zones[name].celsius:.1f} °C" for name in sorted(self._stuck))
        return ", ".join(told)

    def take(self, reading: Reading) -> None:
        """Take the next reading."""
        for name, celsius in reading.temperatures:
            if name not in self._zones or self._zones[name].celsius != celsius:
                self._zones[name] = _Zone(celsius, reading.time_ns)
                self._stuck.discard(name)
        believed = [zone for zone in reading.temperatures if zone.zone not in self._stuck]
        self._missing = not believed
        if hottest := max(believed, key=lambda zone: zone.celsius, default=None):
            self._hottest, self._seen_ns = hottest, reading.time_ns
            self._smooth.add(hottest.celsius, reading.time_ns)

    def disbelieve(self, felt_ns: int) -> None:
        """Believe no zone above the limit that tells the same since before this time, until it tells something else."""
        stuck = {
            name
            for name, zone in self._zones.items()
            if zone.celsius >= self.limit_c and zone.since_ns < felt_ns and name not in self._stuck
        }
        if stuck:
            self._stuck |= stuck
            self._smooth, self._hottest = Smooth(SMOOTH_TEMPERATURE_S), None

    def found(self, now_ns: int, stale_ns: int) -> Found:
        """At this time; a temperature as old as `stale_ns` is unknown, and while it is missing nothing follows."""
        smooth_c, hottest = self._smooth.value, self._hottest
        if smooth_c is None or hottest is None:
            return Found("temperature", "calm", "no temperature")  # a board that never told one
        if now_ns - self._seen_ns > stale_ns:
            text = f"temperature unknown (was {hottest.celsius:.1f} °C): the level stays until it is known"
            return Found("temperature", "unknown", text)
        text = f"{hottest.zone} at {smooth_c:.1f} °C, limit {self.limit_c:g} °C"
        return Found("temperature", "between" if self._missing else self._grade(smooth_c), text)

    def _grade(self, smooth_c: float) -> Grade:
        over_c = smooth_c - self.limit_c
        if over_c >= 0:
            return "urgent" if over_c >= MARGIN_C / 2 else "over"
        return "calm" if over_c <= -COOLER_C else "between"


class Watts:
    """Watts of the whole board since the level last changed."""

    CALM = 0.9
    """Of the limit: a mean of 10 s over a meter with 10 % noise is within 7 %, and a level saves more than that."""

    def __init__(self) -> None:
        self.limit_w: float | None = None  # None: no limit
        self._smooth = Smooth(SMOOTH_POWER_S)
        self._seen_ns: int | None = None
        self._estimated = False

    def restart(self) -> None:
        """What was used at another level tells nothing about this one."""
        self._smooth = Smooth(SMOOTH_POWER_S)

    def take(self, reading: Reading) -> None:
        """Take the next reading."""
        if reading.power.total_w is not None:
            self._seen_ns = reading.time_ns
            self._estimated = reading.power.source == "estimated"
            self._smooth.add(reading.power.total_w, reading.time_ns)

    def found(self, now_ns: int, stale_ns: int) -> Found:
        """At this time; watts as old as `stale_ns` are unknown."""
        if self.limit_w is None or self._seen_ns is None:
            return Found("power", "calm", "no limit of watts, or no sensor")
        unseen_ns = now_ns - self._seen_ns
        if unseen_ns > stale_ns:
            gone = unseen_ns > POWER_GONE_S * S
            return Found("power", "calm" if gone else "unknown", "watts unknown: the level stays for now")
        mean_w = self._smooth.value
        if mean_w is None or self._smooth.last_ns - self._smooth.first_ns < SMOOTH_POWER_S * S:
            return Found("power", "between", "not measured for long enough")
        kind = " (estimated)" if self._estimated else ""
        text = f"{mean_w:.1f} W{kind}, limit {self.limit_w:g} W"
        if mean_w > self.limit_w:
            return Found("power", "over", text)
        return Found("power", "calm" if mean_w <= self.CALM * self.limit_w else "between", text)


class Throttled:
    """What firmware or kernel hold the board back for, whatever the temperature."""

    def __init__(self) -> None:
        self._seen_ns: int | None = None
        self._text = ""

    def take(self, reading: Reading) -> None:
        """Take the next reading."""
        if reading.throttling and reading.throttling.now:
            self._seen_ns = reading.time_ns
            self._text = "throttled by the board: " + ", ".join(reading.throttling.now)

    def found(self, now_ns: int, level: int) -> Found:
        """At this time and level."""
        if self._seen_ns is None or now_ns - self._seen_ns > THROTTLED_FOR_S * S:
            return Found("throttled", "calm", "not throttled")
        return Found("throttled", "over" if level < THROTTLED_SLOWEST else "between", self._text)

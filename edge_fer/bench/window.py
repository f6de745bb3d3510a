"""A span of time that something is measured in: watts, heat, throttling, and who else was at work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import psutil

from edge_fer.bench.figures import Energy
from edge_fer.sensors.energy import usage
from edge_fer.sensors.readings import PowerSource, Reading

OTHERS_CORES = 0.2
"""Other programs that use more than so many cores are told: they slow a run down, and their watts are in its watts."""

STOLEN_SHARE = 0.01
"""Of the time, taken by the host of a virtual machine: more is told."""

FEWEST_READINGS = 3
"""Of the power sensor in a window, both ends counted: the two ends alone could be anything."""

KNOWN_SHARE = 0.9
"""Of a window: with watts of less of it, its energy is not told."""

TOO_SHORT = "the run was shorter than the power sensor's readings are apart; use --seconds 10"


class Watch(Protocol):
    """What a measurement needs of `sensors.thread.SensorThread`."""

    def readings(self) -> Sequence[Reading]:
        """Those since the last call, oldest first."""

    def read_now(self) -> Reading | None:
        """A reading that begins after this call; None where none comes."""


class Busy(NamedTuple):
    """CPU time that was used up to now, in seconds."""

    machine_s: float  # all cores, everybody
    own_s: float  # this process and its children
    stolen_s: float  # by the host of a virtual machine, all cores


def read_busy() -> Busy:
    """What the kernel tells."""
    machine, process = psutil.cpu_times(), psutil.Process()
    idle_s = machine.idle + getattr(machine, "iowait", 0.0)
    stolen_s = getattr(machine, "steal", 0.0)
    # Guests are counted in user and nice already.
    guests_s = getattr(machine, "guest", 0.0) + getattr(machine, "guest_nice", 0.0)
    ended = process.cpu_times()
    # The broker that is published to is a child, and part of what is measured.
    living_s = sum(_cpu_s(child) for child in process.children(recursive=True))
    own_s = time.process_time() + ended.children_user + ended.children_system + living_s
    return Busy(sum(machine) - idle_s - stolen_s - guests_s, own_s, stolen_s)


def _cpu_s(process: psutil.Process) -> float:
    try:
        used = process.cpu_times()
    except psutil.Error:  # it has just ended
        return 0.0
    return used.user + used.system


class Clocks(NamedTuple):
    """Where times come from; tests have their own."""

    wall_ns: Callable[[], int] = time.monotonic_ns  # the clock of the readings, too
    cpu_ns: Callable[[], int] = time.process_time_ns
    busy: Callable[[], Busy] = read_busy
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a window was like."""

    seconds: float
    watts: Watts
    temperature_c: float | None
    throttled: tuple[str, ...]
    disturbed: str

    def energy(self, images: int, idle_w: float | None) -> tuple[Energy | None, str]:
        """Of what ran in it; or why there is none."""
        if self.watts.total_w is None:
            return None, self.watts.missing
        if idle_w is None:
            return None, "the idle floor was not measured"
        joules = self.watts.total_w * self.seconds / images
        return Energy(self.watts.source, self.watts.total_w, idle_w, joules, self.watts.reason), ""


class Watts(NamedTuple):
    """Mean power of a window; None with the reason why."""

    total_w: float | None
    source: PowerSource = "unavailable"
    reason: str = ""  # why only estimated
    missing: str = ""  # why None


class Window:
    """From its making to `close`."""

    def __init__(self, watch: Watch | None, clocks: Clocks | None = None) -> None:
        """Start now; what was read before is forgotten, but for what was throttled already."""
        self._clocks = clocks or Clocks()
        self._watch = watch
        self._throttled_before: Sequence[str] | None = None
        if watch:
            watch.readings()
            first = watch.read_now()
            self._throttled_before = first.throttling.since_boot if first and first.throttling else None
        self._busy = self._clocks.busy()
        self.started_ns = self._clocks.wall_ns()

    def close(self) -> Conditions:
        """End now, and tell what it was like."""
        ended_ns, busy = self._clocks.wall_ns(), self._clocks.busy()
        busy_s = (self._clocks.wall_ns() - self.started_ns) / 1e9  # asking takes its time on a busy machine
        readings: Sequence[Reading] = ()
        if self._watch:
            self._watch.read_now()
            readings = self._watch.readings()
        seconds = (ended_ns - self.started_ns) / 1e9
        hottest = [reading.hottest.celsius for reading in readings if reading.hottest]
        throttled = _throttled(readings, self._throttled_before)
        disturbed = "; ".join([*_others(self._busy, busy, busy_s), *_held_back(throttled)])
        watts = mean_watts(readings, self.started_ns, ended_ns)
        return Conditions(seconds, watts, max(hottest, default=None), throttled, disturbed)


def mean_watts(readings: Sequence[Reading], started_ns: int, ended_ns: int) -> Watts:
    """Energy over time, between two times; or why it is not known."""
    powers = [reading.power for reading in readings]
    if lost := [number for number, power in enumerate(powers) if power.source == "unavailable"]:
        reason = powers[lost[0]].reason or "; ".join(readings[lost[0]].problems) or "it tells nothing"
        gone = any(power.source != "unavailable" for power in powers)
        return Watts(None, missing=f"the power sensor was lost while it ran: {reason}" if gone else reason)
    if len(readings) < FEWEST_READINGS:
        return Watts(None, missing=TOO_SHORT)
    used = usage(readings, started_ns, ended_ns)
    if used.mean_w is None or used.seconds < KNOWN_SHARE * (ended_ns - started_ns) / 1e9:
        return Watts(None, missing=f"the power sensor was silent for {used.missing_s:.1f} s while it ran")
    return Watts(used.mean_w, powers[-1].source, powers[-1].reason)


def _throttled(readings: Iterable[Reading], before: Sequence[str] | None) -> tuple[str, ...]:
    """What held the board back, whenever in the window; what happened between two readings too."""
    told = [reading.throttling for reading in readings if reading.throttling]
    flags = [flag for throttling in told for flag in throttling.now]
    flags += [
        flag for throttling in told for flag in throttling.since_boot if before is not None and flag not in before
    ]
    return tuple(dict.fromkeys(flags))


def _held_back(throttled: Sequence[str]) -> list[str]:
    return [f"the board was held back: {', '.join(throttled)}"] if throttled else []


def _others(before: Busy, after: Busy, seconds: float) -> list[str]:
    if seconds <= 0:
        return []
    others = (after.machine_s - before.machine_s - (after.own_s - before.own_s)) / seconds
    stolen = (after.stolen_s - before.stolen_s) / seconds
    told = [f"other programs used {others:.1f} cores"] if others > OTHERS_CORES else []
    return [*told, f"the host took {stolen:.0%} of a core"] if stolen > STOLEN_SHARE else told

"""What held the board back: the Raspberry Pi's firmware, a Jetson's over-current circuit, a PC's thermal monitor."""

from __future__ import annotations

import re
from typing import Protocol

from edge_fer.errors import SensorError
from edge_fer.sensors.board import Board
from edge_fer.sensors.files import found, need_int, read_text
from edge_fer.sensors.machine import Machine
from edge_fer.sensors.readings import ThrottleFlag, Throttling
from edge_fer.sensors.vcgencmd import Vcgencmd

BITS: tuple[ThrottleFlag, ...] = ("under-voltage", "frequency-capped", "throttled", "soft-temperature-limit")
"""0 to 3 of get_throttled: now; 16 to 19: since boot."""

CPU_COOLING = ("cpufreq-", "thermal-cpufreq", "cpu-throttle")
"""Types of cooling devices that slow processors down: "cpufreq-cpu0" since Linux 5.13, "thermal-cpufreq-0" before."""

ASK_EVERY_S = 5.0
"""Of the firmware, as it takes a process; what happens in between stays in the bits since boot."""


class ThrottleMeter(Protocol):
    """Tells what the board was held back for; opened once."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be read the last time, though it exists; a line each."""

    def read(self, time_ns: int) -> Throttling | None:
        """Never raises; None where it cannot be told."""


class FirmwareBits:
    """Of a Raspberry Pi."""

    def __init__(self, vcgencmd: Vcgencmd) -> None:
        self._vcgencmd = vcgencmd
        self._asked_ns: int | None = None
        self._answer: Throttling | None = None
        self._before: Throttling | None = None  # the last answer that was one
        self.problems: tuple[str, ...] = ()

    def read(self, time_ns: int) -> Throttling | None:
        """The newest answer, at most ASK_EVERY_S old."""
        if self._asked_ns is None or time_ns - self._asked_ns >= ASK_EVERY_S * 1e9:
            self._asked_ns = time_ns
            try:
                self._answer, self.problems = parse_bits(self._vcgencmd.ask("get_throttled"), self._before), ()
                self._before = self._answer
            except SensorError as err:
                self._answer, self.problems = None, (str(err),)
        return self._answer


class KernelCounts:
    """Counters of the kernel: held back now is what has counted up since the last reading.

    `oc*_event_cnt` of soctherm_oc (Jetson) and `thermal_throttle/*_count` (x86). Cooling devices that slow processors
    down, and the alarm of a Raspberry Pi's supply, are no counters: above 0 is now.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._counters = _counters(machine)
        self._levels = _levels(machine)
        self._last: dict[str, int] = {}
        self._seen: set[ThrottleFlag] = set()
        self.problems: tuple[str, ...] = ()

    @property
    def tells(self) -> bool:
        """Whether this machine has any of them."""
        return bool(self._counters or self._levels)

    def read(self, time_ns: int) -> Throttling | None:  # noqa: ARG002 - a difference between two readings
        """All of them; those that fail are left out and problems."""
        now: set[ThrottleFlag] = set()
        problems: list[str] = []
        counts: dict[str, int] = {}
        for path, flag in (self._counters | self._levels).items():
            try:
                counts[path] = need_int(path)
            except SensorError as err:
                problems.append(str(err))
                continue
            if counts[path] > (0 if path in self._levels else self._last.get(path, counts[path])):
                now.add(flag)
            if counts[path] > 0:
                self._seen.add(flag)
        if problems:
            self._counters, self._levels = _counters(self._machine), _levels(self._machine)
        self._last |= counts  # one that fails for a while still counts from where it stood
        self.problems = tuple(problems)
        return Throttling(tuple(sorted(now)), tuple(sorted(self._seen))) if counts else None


def open_throttling(machine: Machine, board: Board, vcgencmd: Vcgencmd) -> ThrottleMeter | None:
    """None: this machine does not tell."""
    if board.raspberry_pi and vcgencmd.installed:
        return FirmwareBits(vcgencmd)
    counts = KernelCounts(machine)
    return counts if counts.tells else None


def parse_bits(text: str, before: Throttling | None = None) -> Throttling:
    """`throttled=0x50005` -> flags; SensorError for anything else.

    Bits since boot that are new are taken as "now", too: what came and went between two readings is not missed.
    """
    matched = re.fullmatch(r"throttled=0x([0-9a-fA-F]{1,8})", text)
    if matched is None or (bits := int(matched[1], 16)) >> 20:  # bit 31 is how the firmware says that it failed
        raise SensorError(f"vcgencmd get_throttled: {text[:60]!r} where throttled=0x... would be right")
    since_boot = tuple(flag for number, flag in enumerate(BITS) if bits >> (number + 16) & 1)
    fresh = set(since_boot) - set(before.since_boot) if before else set()
    now = tuple(flag for number, flag in enumerate(BITS) if bits >> number & 1 or flag in fresh)
    return Throttling(now, since_boot)


def _counters(machine: Machine) -> dict[str, ThrottleFlag]:
    cpus = machine.sys / "devices" / "system" / "cpu"
    over_current = found(machine.sys / "class" / "hwmon", "hwmon*/oc*_event_cnt")
    slowed = [
        *found(cpus, "cpu[0-9]*/thermal_throttle/core_throttle_count"),
        *found(cpus, "cpu0/thermal_throttle/package_throttle_count"),
    ]
    counters: dict[str, ThrottleFlag] = {str(path): "over-current" for path in over_current}
    return counters | {str(path): "throttled" for path in slowed}


def _levels(machine: Machine) -> dict[str, ThrottleFlag]:
    alarms = found(machine.sys / "class" / "hwmon", "hwmon*/in0_lcrit_alarm")
    levels: dict[str, ThrottleFlag] = {str(path): "under-voltage" for path in alarms}
    for folder in found(machine.sys / "class" / "thermal", "cooling_device*"):
        try:
            kind = read_text(folder / "type") or ""
        except SensorError:
            continue
        if kind.startswith(CPU_COOLING):
            levels[str(folder / "cur_state")] = "throttled"
    return levels

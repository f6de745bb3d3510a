"""RAPL of PCs: counters of energy, a package each, with the domains in it. They count up and wrap."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_fer.errors import SensorError
from edge_fer.sensors.files import found, need_int, read_text
from edge_fer.sensors.machine import Machine
from edge_fer.sensors.readings import PowerReading, Rail

REASON = "processor packages only: memory, disks, screen and power supply are not in it"

SETTLE_S = 0.01
"""The counters move about once a ms; over less than this the watts of a difference would be noise."""

STANDS_STILL_S = 0.1
"""A package uses energy at all times: a counter that has not moved for so long is none (virtual machines)."""

MAX_PLAUSIBLE_W = 2000.0
"""More in one package was no use of energy, but a counter that began anew (after a suspend)."""


@dataclass(slots=True)
class Counter:
    """One domain, and where its counter stood."""

    name: str
    in_total: bool
    path: str
    span_uj: int
    last_uj: int
    energy_j: float = 0.0

    def advance(self, elapsed_s: float) -> float | None:
        """Joules since the last call; None where the counter began anew. SensorError where it cannot be read."""
        return self.note(need_int(self.path), elapsed_s)

    def note(self, now_uj: int, elapsed_s: float) -> float | None:
        """The same for what was read."""
        used_uj = now_uj - self.last_uj
        self.last_uj = now_uj
        joules = (used_uj if used_uj >= 0 else used_uj + self.span_uj) / 1e6
        if not 0 <= joules <= MAX_PLAUSIBLE_W * elapsed_s:
            return None
        self.energy_j += joules
        return joules


class RaplMeter:
    """Sums the packages; the domains in them, and the platform's, are told but not added a second time."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._counters: tuple[Counter, ...] = ()
        self._since_ns = 0
        self._counted_j = 0.0  # of counters that vanished
        self._last = PowerReading("measured", energy_j=0.0, reason=REASON)
        self.problems: tuple[str, ...] = ()

    def read(self, time_ns: int) -> PowerReading:
        """Mean watts since the last reading. The first has no watts yet, and `energy_j` 0."""
        try:
            return self._read(time_ns)
        except SensorError as err:
            self._counted_j = self._energy_j
            self._counters, self.problems = (), (str(err),)
            return PowerReading("unavailable", reason=str(err))

    @property
    def _energy_j(self) -> float:
        return self._counted_j + sum(counter.energy_j for counter in self._counters if counter.in_total)

    def _read(self, time_ns: int) -> PowerReading:
        if not self._counters:
            self._counters, self._since_ns = tuple(find_counters(self._machine)), time_ns
            self.problems = ()
            self._last = PowerReading("measured", energy_j=self._energy_j, reason=REASON)
            return self._last
        elapsed_s = (time_ns - self._since_ns) / 1e9
        if elapsed_s < SETTLE_S:
            return self._last
        used = self._advance(elapsed_s)
        self._since_ns = time_ns
        packages = [joules for counter, joules in used if counter.in_total]
        if elapsed_s >= STANDS_STILL_S and not any(joules != 0 for joules in packages):
            self.problems = (f"{self._counters[0].path}: the counter stands still",)
            self._last = PowerReading("unavailable", reason=self.problems[0])
            return self._last
        rails = tuple(Rail(counter.name, j / elapsed_s, counter.in_total) for counter, j in used if j is not None)
        total_w = None if None in packages else sum(rail.power_w for rail in rails if rail.in_total)
        self._last = PowerReading("measured", total_w, rails, self._energy_j, REASON)
        return self._last

    def _advance(self, elapsed_s: float) -> list[tuple[Counter, float | None]]:
        used, problems = [], []
        for counter in self._counters:
            try:
                used.append((counter, counter.advance(elapsed_s)))
            except SensorError as err:  # noqa: PERF203 - a counter each
                if counter.in_total:
                    raise
                problems.append(str(err))
        self.problems = tuple(problems)
        return used


def has_rapl(machine: Machine) -> bool:
    """Whether there is a counter of a package."""
    return any(True for _ in _zones(machine))


def find_counters(machine: Machine) -> list[Counter]:
    """Every domain, where it stands now; SensorError where that of a package cannot be read."""
    counters = []
    for zone in _zones(machine):
        name = read_text(zone / "name") or zone.name
        package = name.startswith("package")
        parent = zone.name.rpartition(":")[0]
        path = zone / "energy_uj"
        try:
            span_uj, last_uj = need_int(zone / "max_energy_range_uj"), need_int(path)
        except SensorError:
            if package:
                raise
            continue  # a part of what is measured anyway
        label = name if package or parent == "intel-rapl" else f"{name}-{parent.rpartition(':')[2]}"
        counters.append(Counter(label, package, str(path), span_uj, last_uj))
    if not any(counter.in_total for counter in counters):
        raise SensorError(f"{machine.sys}/class/powercap: no counter of a whole package")
    return counters


def _zones(machine: Machine) -> list[Path]:
    # "intel-rapl-mmio:0" is the same package again. AMD's are named like this, too.
    return found(machine.sys / "class" / "powercap", "intel-rapl:*")

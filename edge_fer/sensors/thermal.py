"""Thermal zones of the kernel, and the temperature at which it begins to slow the processor down."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from edge_fer.errors import SensorError
from edge_fer.sensors.board import Board
from edge_fer.sensors.files import BusyError, found, need_int, read_int, read_text
from edge_fer.sensors.machine import Machine
from edge_fer.sensors.readings import Temperature

COLDEST_C, HOTTEST_C = -60.0, 200.0
"""Beyond them no board of ours lives."""

OFF_C = -100.0
"""Below it (-256 on JetPack 5 and 6) the part of the chip is switched off."""

SWITCHED_OFF = ("cv", "gpu")
"""Parts of a Jetson that are off while nobody uses them; their zones answer EAGAIN or EINVAL then, and are no fault."""

LOWEST_TRIP_C = 50.0
"""Trips below it change voltages, or are not set (-274)."""

RASPBERRY_PI_C = 80.0
"""Its firmware slows the processor down from here on, which the kernel does not know (documentation of config.txt)."""


class _Zone(NamedTuple):
    name: str
    path: str  # of `temp`
    may_be_off: bool


class Thermometer:
    """All zones; found once, and again where one vanishes."""

    def __init__(self, machine: Machine) -> None:
        self._folder = machine.sys / "class" / "thermal"
        self._zones, self._unreadable = self._find()
        self.problems: tuple[str, ...] = ()

    def read(self) -> tuple[Temperature, ...]:
        """Zones that tell a temperature; those that are switched off are left out, those that fail are problems."""
        temperatures: list[Temperature] = []
        problems = list(self._unreadable)
        gone = False
        for zone in self._zones:
            try:
                celsius = _celsius(zone)
            except SensorError as err:
                if not (zone.may_be_off and isinstance(err, BusyError)):
                    problems.append(str(err))
                gone = gone or not os.path.exists(zone.path)  # noqa: PTH110 - a string
                continue
            if celsius is not None:
                temperatures.append(Temperature(zone.name, celsius))
        if gone or self._unreadable:
            self._zones, self._unreadable = self._find()
        self.problems = tuple(problems)
        return tuple(temperatures)

    def _find(self) -> tuple[list[_Zone], list[str]]:
        zones: list[_Zone] = []
        problems: list[str] = []
        names: dict[str, int] = {}
        for folder in _zone_folders(self._folder):
            try:
                name = read_text(folder / "type")
            except SensorError as err:
                problems.append(str(err))
                continue
            if name is None or "pmic" in name.lower():
                continue  # a constant that the kernel makes up
            names[name] = names.get(name, 0) + 1
            unique = name if names[name] == 1 else f"{name}-{names[name]}"
            zones.append(_Zone(unique, str(folder / "temp"), name.lower().startswith(SWITCHED_OFF)))
        return zones, problems


def throttle_point_c(machine: Machine, board: Board) -> float | None:
    """The lowest passive trip of the zones of CPU and GPU; None where the kernel tells none."""
    if board.raspberry_pi:
        return RASPBERRY_PI_C
    trips = list(_passive_trips_c(machine.sys / "class" / "thermal"))
    return min(trips, default=None)


def _passive_trips_c(thermal: Path) -> Iterator[float]:
    for folder in _zone_folders(thermal):
        try:
            name = (read_text(folder / "type") or "").lower()
            if not re.search(r"cpu|gpu|x86_pkg", name):
                continue
            for kind in found(folder, "trip_point_*_type"):
                celsius = (read_int(f"{str(kind).removesuffix('_type')}_temp") or 0) / 1e3
                if read_text(kind) == "passive" and LOWEST_TRIP_C <= celsius <= HOTTEST_C:
                    yield celsius
        except SensorError:
            continue  # the zone's own temperature tells of it


def _zone_folders(thermal: Path) -> list[Path]:
    return sorted(found(thermal, "thermal_zone*"), key=lambda folder: (len(folder.name), folder.name))


def _celsius(zone: _Zone) -> float | None:
    celsius = need_int(zone.path) / 1e3
    if celsius < OFF_C:
        return None
    if not COLDEST_C <= celsius <= HOTTEST_C:
        raise SensorError(f"{zone.path}: {celsius:g} degC is no temperature of a board")
    return celsius

"""INA3221 of the Jetsons: as hwmon (JetPack 5 and 6), as iio (JetPack 4)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from edge_fer.errors import SensorError
from edge_fer.sensors.files import found, need_int, read_int, read_text
from edge_fer.sensors.machine import Machine
from edge_fer.sensors.readings import PowerReading, Rail

WHOLE_BOARD = ("VDD_IN", "POM_5V_IN")
"""Rails that the others are parts of. A board without one has the sum of all as its total."""

TOGETHER = (
    frozenset({"POM_5V_CPU", "POM_5V_GPU", "POM_5V_IN"}),  # Nano
    frozenset({"VDD_CPU_GPU_CV", "VDD_SOC", "VDD_IN"}),  # Xavier NX, Orin Nano, Orin NX
    frozenset({"GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"}),  # AGX Xavier
    frozenset({"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"}),  # AGX Orin
)
"""Rails of known boards: where one is missing, the total of the others would be too low, and nobody would notice."""

NOT_EVERYWHERE = frozenset({"VDDQ_VDD2_1V8AO"})
"""May be missing, as releases differ."""

CHANNELS = 3
"""Of one chip. Beyond them hwmon has shunt voltages and sums (in4 to in7, curr4), which are no rails."""


LEAST_W, MOST_W = -1.0, 300.0
"""Of one rail. A little below 0 is the offset of an idle one; what a bus that fails reads (0x7fff) is 1000 W."""


class Channel(NamedTuple):
    """One rail, and the files that tell its power."""

    name: str
    in_total: bool
    millivolts: str
    milliamps: str
    milliwatts: str | None = None  # iio only

    @property
    def power_w(self) -> float:
        """Now; SensorError where a file cannot be read any more."""
        if self.milliwatts:
            power_w = need_int(self.milliwatts) / 1e3
        else:
            power_w = need_int(self.millivolts) * need_int(self.milliamps) / 1e6
        if not LEAST_W <= power_w <= MOST_W:
            raise SensorError(f"{self.milliwatts or self.milliamps}: {power_w:g} W is no power of the rail {self.name}")
        return power_w


class Ina3221Meter:
    """All chips of the board. Files are found once, and again where they vanish: hwmon numbers move."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._channels: tuple[Channel, ...] = ()
        self._total_of: frozenset[str] = frozenset()
        self.problems: tuple[str, ...] = ()

    def read(self, time_ns: int) -> PowerReading:  # noqa: ARG002 - these chips tell watts, not energy
        """All rails. A rail that cannot be read is left out and a problem; one that the total needs takes it along."""
        try:
            return self._read()
        except SensorError:
            self._channels = ()
        try:
            return self._read()
        except SensorError as err:
            self._channels, self.problems = (), (str(err),)
            return PowerReading("unavailable", reason=str(err))

    def _read(self) -> PowerReading:
        if not self._channels:
            self._channels = self._find()
        rails, problems = [], []
        for channel in self._channels:
            try:
                rails.append(Rail(channel.name, channel.power_w, channel.in_total))
            except SensorError as err:  # noqa: PERF203 - a rail each
                if channel.in_total:
                    raise
                problems.append(str(err))
        if problems:
            self._channels = ()  # the next reading looks for it again
        self.problems = tuple(problems)
        total_w = sum(rail.power_w for rail in rails if rail.in_total)
        if total_w <= 0:  # as a chip that sleeps answers
            raise SensorError(
                f"{self._machine.sys}/bus/i2c/devices: the INA3221 tells {total_w:g} W of a board that runs"
            )
        return PowerReading("measured", total_w, tuple(rails))

    def _find(self) -> tuple[Channel, ...]:
        """All channels; SensorError where one is missing that was there: the total of the rest would be too low."""
        channels = find_channels(self._machine)
        total_of = frozenset(channel.name for channel in channels if channel.in_total)
        if gone := sorted(self._total_of - total_of):
            raise SensorError(f"{self._machine.sys}/bus/i2c/devices: the rail {gone[0]} is gone")
        self._total_of = total_of
        return tuple(channels)


def has_ina3221(machine: Machine) -> bool:
    """Whether the board has such a chip, readable or not."""
    return next(_chips(machine), None) is not None


def find_channels(machine: Machine) -> list[Channel]:
    """Every rail of every chip; SensorError where a chip has none, or its labels cannot be read."""
    channels: list[Channel] = []
    for chip in _chips(machine):
        hwmon, iio = found(chip, "hwmon/hwmon*"), found(chip, "iio:device*")
        if not hwmon and not iio:
            raise SensorError(f"{chip}: no hwmon or iio folder in it; its driver is not loaded")
        channels.extend(channel for folder in hwmon for channel in _of_hwmon(str(folder)))
        channels.extend(channel for folder in iio for channel in _of_iio(str(folder)))
    if not channels:
        raise SensorError(f"{machine.sys}/bus/i2c/devices: an INA3221, but none of its channels has a label")
    names = {channel.name for channel in channels}
    whole = next((name for name in WHOLE_BOARD if name in names), None)
    if whole is None:
        for known in TOGETHER:
            if names & known and (missing := sorted(known - names - NOT_EVERYWHERE)):
                raise SensorError(f"{machine.sys}/bus/i2c/devices: the rail {missing[-1]} is missing beside its like")
        return channels
    return [channel._replace(in_total=channel.name == whole) for channel in channels]


def _chips(machine: Machine) -> Iterator[Path]:
    for device in found(machine.sys / "bus" / "i2c" / "devices", "*-*"):
        try:
            name = read_text(device / "name")
        except SensorError:
            continue  # another device's trouble; that of a power monitor shows up with its rails
        if name and name.startswith("ina3221"):  # "ina3221x" on JetPack 4
            yield device


def _of_hwmon(folder: str) -> Iterator[Channel]:
    for number in range(1, CHANNELS + 1):
        base = os.path.join(folder, f"in{number}")  # noqa: PTH118 - strings are what the reading opens
        name = _label(f"{base}_label")
        if name is None or read_int(f"{base}_enable") == 0:
            continue
        yield Channel(name, in_total=True, millivolts=f"{base}_input", milliamps=f"{folder}/curr{number}_input")


def _of_iio(folder: str) -> Iterator[Channel]:
    for number in range(CHANNELS):
        name = _label(f"{folder}/rail_name_{number}")
        if name is None:
            continue
        power = f"{folder}/in_power{number}_input"
        yield Channel(
            name,
            in_total=True,
            millivolts=f"{folder}/in_voltage{number}_input",
            milliamps=f"{folder}/in_current{number}_input",
            milliwatts=power if os.path.exists(power) else None,  # noqa: PTH110
        )


def _label(path: str) -> str | None:
    """The rail's name; None where the channel has none, or is not connected."""
    label = read_text(path)
    if label is None or label.upper().split()[0] in ("NC", "N/C"):
        return None
    if not re.fullmatch(r"[\w .+/-]{1,40}", label, re.ASCII):
        raise SensorError(f"{path}: holds {label[:40]!r}, not the name of a rail")
    return label

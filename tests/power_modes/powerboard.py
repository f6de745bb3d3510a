"""A Jetson as files, with its nvpmodel, for tests that set modes."""

from __future__ import annotations

from pathlib import Path

from fixture import board_tree

from edge_fer.power_modes.mode import PowerMode
from edge_fer.power_modes.modes import PowerModes, open_power_modes
from edge_fer.power_modes.settle import Settled
from edge_fer.sensors.machine import Machine

STATUS = "var/lib/nvpmodel/status"
BEFORE = "var/lib/edge-fer-power-mode/before.json"


class Board:
    """One board below a temporary folder."""

    def __init__(self, name: str, folder: Path) -> None:
        self.machine: Machine = board_tree(name, folder)
        self.root = self.machine.root

    def modes(self) -> PowerModes:
        return open_power_modes(self.machine)

    def mode(self, name: str) -> PowerMode:
        return next(mode for mode in self.modes().modes if mode.name == name)

    @property
    def current(self) -> str:
        return str(self.modes().current())

    @property
    def online(self) -> str:
        return (self.machine.sys / "devices/system/cpu/online").read_text().strip()

    def cap(self, policy: int = 0) -> str:
        file = self.machine.sys / f"devices/system/cpu/cpufreq/policy{policy}/scaling_max_freq"
        return file.read_text().strip()

    @property
    def left_behind(self) -> bool:
        return (self.root / BEFORE).exists()


def at_once(_machine: Machine, _mode: PowerMode) -> Settled:
    return Settled(0.0)

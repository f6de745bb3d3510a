"""Which board this is: by the device tree of its firmware, or by what kind of processor it has."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from edge_fer.errors import SensorError
from edge_fer.sensors.files import read_text
from edge_fer.sensors.machine import Machine

_MODULES = {
    # In `compatible`, which names the module whatever carrier board it sits on.
    "p3448": "jetson-nano",
    "p2888": "jetson-agx-xavier",
    "p2972": "jetson-agx-xavier",
    "p3668": "jetson-xavier-nx",
    "p3767-0000": "jetson-orin-nx",
    "p3767-0001": "jetson-orin-nx",
    "p3767": "jetson-orin-nano",  # 0003 to 0005
    "p3701": "jetson-agx-orin",
    "bcm2711": "raspberry-pi-4",
    "bcm2712": "raspberry-pi-5",
}
_MODELS = {
    # In `model`, for makers of carrier boards who changed `compatible`.
    "Xavier NX": "jetson-xavier-nx",
    "Jetson-AGX": "jetson-agx-xavier",
    "AGX Xavier": "jetson-agx-xavier",
    "AGX Orin": "jetson-agx-orin",
    "Orin NX": "jetson-orin-nx",
    "Orin Nano": "jetson-orin-nano",
    "Jetson Nano": "jetson-nano",
    "Raspberry Pi 4": "raspberry-pi-4",
    "Raspberry Pi 5": "raspberry-pi-5",
}


@dataclass(frozen=True, slots=True)
class Board:
    """What this machine is."""

    key: str
    """"jetson-nano", "raspberry-pi-5", ..., "generic-arm64", "generic-amd64" or "unknown"."""

    name: str
    """As its firmware calls it."""

    compatible: tuple[str, ...] = ()
    """Of the device tree, most specific first."""

    soc: str | None = None
    """"tegra234", "bcm2712"; None where there is no device tree."""

    @property
    def jetson(self) -> bool:
        """Whether it is one of NVIDIA's."""
        return self.soc is not None and self.soc.startswith("tegra")

    @property
    def raspberry_pi(self) -> bool:
        """Whether it is a Raspberry Pi."""
        return any(entry.startswith("raspberrypi,") for entry in self.compatible)


def read_board(machine: Machine) -> Board:
    """Never raises: what cannot be told is "unknown"."""
    tree = _device_tree(machine)
    compatible = tuple((_text(tree / "compatible") or "").replace("\0", " ").split())
    model = _text(tree / "model")
    if compatible:
        return Board(_key(compatible, model or ""), model or compatible[0], compatible, _soc(compatible))
    key = _generic_key(machine)
    return Board(key, model or _product(machine) or key)


def _device_tree(machine: Machine) -> Path:
    # The kernel has an absolute symlink here, which would lead out of a copy of a board's files.
    tree = machine.proc / "device-tree"
    if os.path.islink(tree):  # noqa: PTH114 - Path's own raises where a folder may not be entered
        return machine.sys / "firmware" / "devicetree" / "base"
    return tree


def _key(compatible: tuple[str, ...], model: str) -> str:
    whole = " ".join(compatible)
    by_module = next((key for part, key in _MODULES.items() if part in whole), None)
    return by_module or next((key for part, key in _MODELS.items() if part in model), "generic-arm64")


def _soc(compatible: tuple[str, ...]) -> str:
    chips = [entry.rpartition(",")[2] for entry in compatible]
    return next((chip for chip in reversed(chips) if re.fullmatch(r"tegra\d+|bcm\d+", chip)), chips[-1])


def _generic_key(machine: Machine) -> str:
    processors = _text(machine.proc / "cpuinfo") or ""
    if "CPU implementer" in processors:
        return "generic-arm64"
    return "generic-amd64" if "vendor_id" in processors else "unknown"


def _product(machine: Machine) -> str | None:
    folder = machine.sys / "class" / "dmi" / "id"
    if product := " ".join(filter(None, (_text(folder / "sys_vendor"), _text(folder / "product_name")))):
        return product
    named = re.search(r"^model name\s*:\s*(.+)$", _text(machine.proc / "cpuinfo") or "", re.MULTILINE)
    return named[1].strip() if named else None


def _text(path: Path) -> str | None:
    try:
        return read_text(path)
    except SensorError:
        return None  # a name is all that is lost, and the sensors tell of what they cannot read

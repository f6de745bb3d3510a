"""A copy of a board's files, with the programs that it has on its PATH."""

from __future__ import annotations

import shutil
from pathlib import Path

from edge_fer.sensors.machine import Machine

BOARDS = Path(__file__).parent

BOARD_KEYS = (
    "jetson-nano",
    "jetson-agx-xavier",
    "jetson-xavier-nx",
    "jetson-orin-nano",
    "jetson-orin-nx",
    "jetson-agx-orin",
    "raspberry-pi-4",
    "raspberry-pi-5",
    "pc-rapl",
    "bare",
)

TOTAL_W = {
    "jetson-nano": 5.6,  # POM_5V_IN alone: 5600 mW
    "jetson-agx-xavier": 11.94,  # 19.104 V * (100+150+125 + 25+50+175) mA
    "jetson-xavier-nx": 4.1,  # VDD_IN alone: 5.000 V * 820 mA
    "jetson-orin-nano": 5.04,  # VDD_IN alone: 5.040 V * 1000 mA
    "jetson-orin-nx": 6.7,  # VDD_IN alone: 5.000 V * 1340 mA
    "jetson-agx-orin": 8.25,  # 19 V * (150+50) mA + 5 V * 700 mA + 19 V * 50 mA of the second chip
    "raspberry-pi-5": 3.4414892,  # 1.1451 * 2.492 W + 0.5879 W; the sum is done rail by rail in README.md
}
"""What the files of a board add up to; the boards that are not here tell no watts (a PC's counter has to move)."""


def board_tree(name: str, folder: Path) -> Machine:
    """Copy a board's files below `folder` (symlinks kept) and its programs to its usr/bin, which is the PATH."""
    root = folder / name
    shutil.copytree(BOARDS / name, root, symlinks=True)
    programs = root / "usr" / "bin"
    programs.mkdir(parents=True)
    for program in (BOARDS / "bin").iterdir():
        if _has_program(name, program.name):
            shutil.copy(program, programs)
    return Machine(root=root, path=str(programs))


def add_energy(machine: Machine, joules: float, zone: str = "intel-rapl:0") -> None:
    """Let the energy counter of a PC run on, over its range and back to 0 as the kernel's does."""
    folder = machine.sys / "class" / "powercap" / zone
    counter = folder / "energy_uj"
    span = int((folder / "max_energy_range_uj").read_text())
    total = (int(counter.read_text()) + round(joules * 1e6)) % span
    beside = counter.with_name("energy_uj.new")
    beside.write_text(f"{total}\n")
    beside.replace(counter)  # whoever reads meanwhile gets the old or the new one


def _has_program(board: str, program: str) -> bool:
    if program == "vcgencmd":
        return board.startswith("raspberry-pi")
    if program == "nvpmodel":
        return board.startswith("jetson")
    return board != "bare"

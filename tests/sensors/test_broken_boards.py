"""Whatever happens to a file of a board: nothing raises, and no watt is made up."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fixture import TOTAL_W, board_tree

from edge_fer.sensors.machine import Machine
from edge_fer.sensors.sensors import Sensors


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


BREAK: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"\xff\x00 1e3 nan\n"),
    "a folder": _folder,
}


def _files(machine: Machine) -> list[Path]:
    return sorted(path for path in machine.root.rglob("*") if path.is_file() and not path.is_symlink())


@pytest.mark.parametrize("how", BREAK)
@pytest.mark.parametrize("key", ["jetson-nano", "jetson-agx-orin", "raspberry-pi-4", "pc-rapl", "bare"])
def test_one_broken_file(key: str, how: str, tmp_path: Path) -> None:
    """Broken before it is opened, and while it is in use."""
    machine = board_tree(key, tmp_path)
    in_use = Sensors(machine)
    in_use.read()
    for path in _files(machine):
        if "usr" in path.parts:
            continue
        kept = path.read_bytes()
        BREAK[how](path)
        for sensors in (Sensors(machine), in_use):
            power = sensors.read().power
            if power.source == "unavailable":
                assert power.total_w is None
                assert power.reason
            elif key in TOTAL_W and power.total_w is not None:
                right = [pytest.approx(TOTAL_W[key])]
                if "1-0041" in path.parts:
                    right.append(pytest.approx(8.25 - 0.95))  # the rail that not every AGX Orin has
                assert power.total_w in right, path
        if path.is_dir():
            path.rmdir()
        path.write_bytes(kept)
    last = in_use.read()
    assert last.power.total_w == pytest.approx(TOTAL_W.get(key)) or key == "pc-rapl"


def test_a_board_that_is_taken_away_piece_by_piece(tmp_path: Path) -> None:
    machine = board_tree("jetson-agx-xavier", tmp_path)
    sensors = Sensors(machine)
    for folder in ("sys/bus", "sys/class/thermal", "sys/class/hwmon", "sys/devices", "proc"):
        shutil.rmtree(machine.root / folder)
        reading = sensors.read()
        assert reading.power.total_w in (None, pytest.approx(11.94))
    assert reading.power.source == "unavailable"
    assert reading.temperatures == ()
    assert reading.problems != ()

"""Thermal zones: switched off, busy, made up, and where the kernel begins to slow down."""

from __future__ import annotations

from pathlib import Path

import pytest
from fixture import BOARDS, board_tree
from odd_files import invalid, would_block

from edge_fer.sensors.board import read_board
from edge_fer.sensors.machine import Machine
from edge_fer.sensors.sensors import Sensors
from edge_fer.sensors.thermal import Thermometer, throttle_point_c


def zone(machine: Machine, name: str) -> Path:
    zones = machine.sys.glob("class/thermal/thermal_zone*")
    return next(folder for folder in zones if (folder / "type").read_text().strip() == name)


def names(thermometer: Thermometer) -> list[str]:
    return [temperature.zone for temperature in thermometer.read()]


def test_parts_that_are_off_and_constants_are_no_temperatures(tmp_path: Path) -> None:
    nano = names(Thermometer(board_tree("jetson-nano", tmp_path)))
    assert nano == ["AO-therm", "CPU-therm", "GPU-therm", "PLL-therm", "thermal-fan-est"]  # no PMIC-Die at 100 degC
    orin = names(Thermometer(board_tree("jetson-orin-nano", tmp_path)))
    assert not [name for name in orin if name.startswith("cv")]  # -256 degC


def test_the_order_is_that_of_the_kernel(tmp_path: Path) -> None:
    """thermal_zone10 is the last, not the third."""
    assert names(Thermometer(board_tree("jetson-agx-orin", tmp_path)))[-2:] == ["Tboard_tegra", "Tdiode_tegra"]


def test_a_part_that_is_switched_off_answers_busy_or_invalid_which_is_no_fault(tmp_path: Path) -> None:
    machine = board_tree("jetson-orin-nx", tmp_path)
    thermometer = Thermometer(machine)
    invalid(zone(machine, "cv0-thermal") / "temp")
    with would_block(zone(machine, "gpu-thermal") / "temp"):
        assert names(thermometer) == ["cpu-thermal", "soc0-thermal", "soc1-thermal", "soc2-thermal", "tj-thermal"]
    assert thermometer.problems == ()


def test_a_processor_that_answers_so_is_a_problem(tmp_path: Path) -> None:
    machine = board_tree("jetson-orin-nx", tmp_path)
    thermometer = Thermometer(machine)
    invalid(zone(machine, "soc0-thermal") / "temp")
    with would_block(zone(machine, "cpu-thermal") / "temp"):
        assert "cpu-thermal" not in names(thermometer)
    assert [problem.partition("/temp: ")[2] for problem in thermometer.problems] == [
        "cannot be read (Resource temporarily unavailable)",
        "cannot be read (Invalid argument)",
    ]


@pytest.mark.parametrize("text", ["nonsense", "", "999999999"])
def test_garbage_is_a_problem_and_no_temperature(text: str, tmp_path: Path) -> None:
    machine = board_tree("raspberry-pi-4", tmp_path)
    (zone(machine, "cpu-thermal") / "temp").write_text(f"{text}\n")
    reading = Sensors(machine).read()
    assert reading.temperatures == ()
    assert reading.hottest is None
    assert len(reading.problems) == 1
    assert "thermal_zone0/temp" in reading.problems[0]


def test_a_zone_that_moves_is_found_again(tmp_path: Path) -> None:
    machine = board_tree("raspberry-pi-4", tmp_path)
    thermometer = Thermometer(machine)
    link = machine.sys / "class" / "thermal" / "thermal_zone0"
    link.rename(link.with_name("thermal_zone3"))
    assert names(thermometer) == []
    assert "is gone" in thermometer.problems[0]
    assert names(thermometer) == ["cpu-thermal"]
    assert thermometer.problems == ()


def test_zones_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    machine = board_tree("jetson-nano", tmp_path)
    (zone(machine, "AO-therm") / "type").write_text("acpitz\n")
    (zone(machine, "PLL-therm") / "type").write_text("acpitz\n")
    assert names(Thermometer(machine)) == ["acpitz", "CPU-therm", "GPU-therm", "acpitz-2", "thermal-fan-est"]


def test_a_copy_in_a_folder_with_any_name_tells_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "of_type_x"
    folder.mkdir()
    machine = board_tree("jetson-nano", folder)
    assert throttle_point_c(machine, read_board(machine)) == 97.0


@pytest.mark.parametrize(
    ("key", "limit_c"),
    [
        ("jetson-nano", 97.0),  # CPU 97, GPU 97.5; trips of the voltage are "active"
        ("jetson-agx-xavier", 86.0),  # not AUX, which throttles nothing of ours
        ("pc-rapl", 95.0),  # -274 is a trip that is not set
        ("raspberry-pi-5", 80.0),  # the firmware's: the kernel has active trips for the fan only
        ("bare", None),
    ],
)
def test_where_the_kernel_begins_to_slow_down(key: str, limit_c: float | None) -> None:
    machine = Machine(root=BOARDS / key)
    assert throttle_point_c(machine, read_board(machine)) == limit_c

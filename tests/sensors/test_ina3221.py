"""The power monitors of the Jetsons, whole and broken."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fixture import board_tree
from odd_files import as_a_user, no_such_device, would_block

from edge_fer.sensors.ina3221 import Ina3221Meter
from edge_fer.sensors.machine import Machine
from edge_fer.sensors.power import open_power_meter
from edge_fer.sensors.readings import Rail
from edge_fer.sensors.sensors import Sensors


def chip(machine: Machine, address: str = "1-0040") -> Path:
    [folder] = (machine.sys / "bus" / "i2c" / "devices" / address).glob("hwmon/hwmon*")
    return folder


def move(machine: Machine, number: int) -> None:
    """Give the chip another number, as another order of drivers does."""
    old = chip(machine)
    new = old.rename(old.with_name(f"hwmon{number}"))
    link = machine.sys / "class" / "hwmon" / old.name
    link.unlink()
    link.with_name(new.name).symlink_to(new)


def test_the_input_rail_is_the_total_and_the_others_are_parts_of_it(tmp_path: Path) -> None:
    power = Ina3221Meter(board_tree("jetson-orin-nano", tmp_path)).read(0)
    assert power.rails == (
        Rail("VDD_IN", pytest.approx(5.04), in_total=True),  # type: ignore[arg-type]
        Rail("VDD_CPU_GPU_CV", pytest.approx(1.008), in_total=False),  # type: ignore[arg-type]
        Rail("VDD_SOC", pytest.approx(1.512), in_total=False),  # type: ignore[arg-type]
    )
    assert power.total_w == pytest.approx(5.04)  # 5040 mV * 1000 mA, not 7.56 W


def test_both_chips_of_agx_orin_count_and_unconnected_channels_do_not(tmp_path: Path) -> None:
    power = Ina3221Meter(board_tree("jetson-agx-orin", tmp_path)).read(0)
    assert [rail.name for rail in power.rails] == ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"]
    assert power.total_w == pytest.approx(19 * 0.2 + 5 * 0.7 + 19 * 0.05)


def test_jetpack_4_tells_power_itself_or_voltage_and_current(tmp_path: Path) -> None:
    machine = board_tree("jetson-nano", tmp_path)
    assert Ina3221Meter(machine).read(0).total_w == pytest.approx(5.6)
    for node in machine.sys.glob("bus/i2c/devices/6-0040/iio:device0/in_power*"):
        node.unlink()
    assert Ina3221Meter(machine).read(0).total_w == pytest.approx(5.0 * 1.12)


def test_hwmon_numbers_that_move_between_two_readings(tmp_path: Path) -> None:
    machine = board_tree("jetson-orin-nx", tmp_path)
    sensors = Sensors(machine)
    before = sensors.read().power
    move(machine, 7)
    after = sensors.read()
    assert after.power == before
    assert after.problems == ()


def test_a_switched_off_channel_is_left_out(tmp_path: Path) -> None:
    machine = board_tree("jetson-orin-nx", tmp_path)
    (chip(machine) / "in3_enable").write_text("0\n")
    assert [rail.name for rail in Ina3221Meter(machine).read(0).rails] == ["VDD_IN", "VDD_CPU_GPU_CV"]


def test_a_broken_part_is_left_out_but_the_total_stays(tmp_path: Path) -> None:
    machine = board_tree("jetson-orin-nx", tmp_path)
    meter = Ina3221Meter(machine)
    no_such_device(chip(machine) / "curr3_input")
    power = meter.read(0)
    assert power.total_w == pytest.approx(6.7)
    assert [rail.name for rail in power.rails] == ["VDD_IN", "VDD_CPU_GPU_CV"]
    assert len(meter.problems) == 1
    assert "curr3_input" in meter.problems[0]


def test_a_broken_rail_takes_the_total_along_that_is_made_of_it(tmp_path: Path) -> None:
    machine = board_tree("jetson-agx-xavier", tmp_path)
    sensors = Sensors(machine)
    (chip(machine, "1-0041") / "curr1_input").write_text("nonsense\n")
    reading = sensors.read()
    assert (reading.power.source, reading.power.total_w) == ("unavailable", None)
    assert "curr1_input: holds 'nonsense', not a number" in reading.power.reason
    assert reading.problems == (reading.power.reason,)
    (chip(machine, "1-0041") / "curr1_input").write_text("25\n")
    assert sensors.read().power.total_w == pytest.approx(11.94)


def test_a_chip_that_disappears_is_not_a_smaller_total(tmp_path: Path) -> None:
    machine = board_tree("jetson-agx-xavier", tmp_path)
    meter = Ina3221Meter(machine)
    assert meter.read(0).total_w == pytest.approx(11.94)
    link = machine.sys / "bus" / "i2c" / "devices" / "1-0041"
    target = link.resolve()
    link.unlink()
    target.rename(target.with_name("away"))
    power = meter.read(0)
    assert power.source == "unavailable"
    assert "the rail VDDRQ is missing" in power.reason


@pytest.mark.parametrize(
    ("key", "address", "told"),
    [
        ("jetson-orin-nx", "1-0040", "the rail VDD_IN is missing"),
        ("jetson-agx-xavier", "1-0041", "the rail CV is missing"),
    ],
)
def test_the_rest_is_no_total(key: str, address: str, told: str, tmp_path: Path) -> None:
    machine = board_tree(key, tmp_path)
    (chip(machine, address) / "in1_label").unlink()
    power = Ina3221Meter(machine).read(0)
    assert (power.source, power.total_w) == ("unavailable", None)
    assert told in power.reason


def test_a_board_that_is_not_known_has_the_sum_of_its_rails(tmp_path: Path) -> None:
    machine = board_tree("jetson-agx-orin", tmp_path)
    for number, name in enumerate(("VDD_GPU", "VDD_CPU_SOC", "VIN_SYS"), 1):
        (chip(machine) / f"in{number}_label").write_text(f"{name}\n")
    (chip(machine, "1-0041") / "in2_label").write_text("VDD_DDR\n")
    assert Ina3221Meter(machine).read(0).total_w == pytest.approx(8.25)


def test_a_chip_that_sleeps_is_not_0_watts(tmp_path: Path) -> None:
    machine = board_tree("jetson-orin-nx", tmp_path)
    (chip(machine) / "in1_input").write_text("0\n")
    power = Ina3221Meter(machine).read(0)
    assert (power.source, power.total_w) == ("unavailable", None)
    assert "tells 0 W of a board that runs" in power.reason


@pytest.mark.parametrize(
    ("millivolts", "milliamps", "watts"),
    [(32_760, 32_760, "1073.22"), (5000, -900, "-4.5"), (10**19, 10**19, "1e\\+32")],
)
def test_what_no_rail_can_have_is_no_watt(millivolts: int, milliamps: int, watts: str, tmp_path: Path) -> None:
    """As a bus that fails reads, and a shunt that is connected the other way round."""
    machine = board_tree("jetson-orin-nx", tmp_path)
    (chip(machine) / "in1_input").write_text(f"{millivolts}\n")
    (chip(machine) / "curr1_input").write_text(f"{milliamps}\n")
    power = Ina3221Meter(machine).read(0)
    assert (power.source, power.total_w) == ("unavailable", None)
    assert re.search(f"curr1_input: {watts} W is no power of the rail VDD_IN", power.reason)


def test_an_idle_rail_may_read_a_little_below_0(tmp_path: Path) -> None:
    machine = board_tree("jetson-agx-xavier", tmp_path)
    (chip(machine, "1-0041") / "curr1_input").write_text("-8\n")  # CV, of 25 mA at 19.104 V
    assert Ina3221Meter(machine).read(0).total_w == pytest.approx(11.94 - 19.104 * 0.033)


def test_a_bus_that_is_busy(tmp_path: Path) -> None:
    machine = board_tree("jetson-orin-nano", tmp_path)
    meter = Ina3221Meter(machine)
    with would_block(chip(machine) / "in1_input"):
        assert "in1_input: cannot be read (Resource temporarily unavailable)" in meter.read(0).reason


def test_a_jetson_whose_driver_is_not_loaded(tmp_path: Path) -> None:
    machine = board_tree("jetson-orin-nano", tmp_path)
    folder = chip(machine)
    folder.rename(folder.parents[1] / "unbound")
    power = open_power_meter(machine).read(0)
    assert power.source == "unavailable"
    assert "its driver is not loaded" in power.reason
    for device in (machine.sys / "bus" / "i2c" / "devices").iterdir():
        device.unlink()
    assert "no INA3221 below" in open_power_meter(machine).read(0).reason


def test_labels_that_only_root_may_read(tmp_path: Path) -> None:
    """As JetPack 5 leaves them at each boot."""
    machine = board_tree("jetson-xavier-nx", tmp_path)
    for node in chip(machine, "7-0040").glob("*_*"):
        node.chmod(0o400 if node.owner() == "root" else 0o000)

    def tell(root: Path) -> str:
        reading = Sensors(Machine(root=root, path="")).read()
        return f"{reading.power.source} {reading.power.total_w} {reading.problems}"

    told = as_a_user(machine.root, tell)
    assert told.startswith("unavailable None ")
    assert "7-0040/hwmon/hwmon4/in1_label: cannot be read (Permission denied); open it with the lines `z " in told
    assert "/7-0040/hwmon/hwmon*/in* 0444` and `z " in told
    assert "/7-0040/hwmon/hwmon*/curr* 0444` in /etc/tmpfiles.d/edge-fer.conf" in told

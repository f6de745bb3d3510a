"""What held a board back, now and since it was started."""

from __future__ import annotations

from pathlib import Path

import pytest
from fixture import board_tree

from edge_fer.errors import SensorError
from edge_fer.sensors.readings import Throttling
from edge_fer.sensors.sensors import Sensors
from edge_fer.sensors.throttling import parse_bits

S = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


@pytest.mark.parametrize(
    ("bits", "now", "since_boot"),
    [
        ("0x0", (), ()),
        ("0x1", ("under-voltage",), ()),
        ("0xe", ("frequency-capped", "throttled", "soft-temperature-limit"), ()),
        ("0x50005", ("under-voltage", "throttled"), ("under-voltage", "throttled")),
        ("0xA0000", (), ("frequency-capped", "soft-temperature-limit")),
    ],
)
def test_the_bits_of_the_firmware(bits: str, now: tuple[str, ...], since_boot: tuple[str, ...]) -> None:
    assert parse_bits(f"throttled={bits}") == (now, since_boot)


def test_what_came_and_went_between_two_readings_is_not_missed() -> None:
    before = parse_bits("throttled=0x10000")
    assert parse_bits("throttled=0x50000", before).now == ("throttled",)
    assert parse_bits("throttled=0x50000", parse_bits("throttled=0x50000")).now == ()


@pytest.mark.parametrize("text", ["", "throttled=", "throttled=0xzz", "0x0", "throttled=0x80000001"])
def test_garbage_is_not_fine(text: str) -> None:
    with pytest.raises(SensorError, match="would be right"):
        parse_bits(text)


def test_a_raspberry_pi_with_a_weak_supply(tmp_path: Path) -> None:
    machine = board_tree("raspberry-pi-4", tmp_path)
    answer, clock = machine.root / "firmware" / "get_throttled", Clock()
    sensors = Sensors(machine, clock)
    assert sensors.read().throttling == Throttling()
    answer.write_text("throttled=0x50001\n")
    clock.now_ns = 2 * S
    assert sensors.read().throttling == Throttling()  # asked every 5 s
    clock.now_ns = 6 * S
    told = sensors.read().throttling
    assert told == Throttling(("under-voltage", "throttled"), ("under-voltage", "throttled"))


def test_a_firmware_that_does_not_answer_is_a_problem_and_not_fine(tmp_path: Path) -> None:
    machine = board_tree("raspberry-pi-4", tmp_path)
    (machine.root / "firmware" / "get_throttled").unlink()
    reading = Sensors(machine).read()
    assert reading.throttling is None
    assert "get_throttled: refused" in reading.problems[0]


def test_a_raspberry_pi_without_the_program_tells_of_its_supply(tmp_path: Path) -> None:
    machine = board_tree("raspberry-pi-4", tmp_path)
    (machine.root / "usr" / "bin" / "vcgencmd").unlink()
    sensors = Sensors(machine)
    assert sensors.read().throttling == Throttling()
    [alarm] = machine.sys.glob("class/hwmon/hwmon*/in0_lcrit_alarm")
    alarm.write_text("1\n")
    assert sensors.read().throttling == Throttling(("under-voltage",), ("under-voltage",))
    alarm.write_text("0\n")
    assert sensors.read().throttling == Throttling((), ("under-voltage",))


def test_the_over_current_circuit_of_a_jetson(tmp_path: Path) -> None:
    machine = board_tree("jetson-orin-nx", tmp_path)
    [count] = machine.sys.glob("class/hwmon/hwmon*/oc2_event_cnt")
    count.write_text("3\n")
    sensors = Sensors(machine)
    assert sensors.read().throttling == Throttling((), ("over-current",))  # before anybody looked
    count.write_text("4\n")
    assert sensors.read().throttling == Throttling(("over-current",), ("over-current",))
    assert sensors.read().throttling == Throttling((), ("over-current",))


def test_the_kernel_slows_the_processors_down(tmp_path: Path) -> None:
    machine = board_tree("jetson-nano", tmp_path)
    cooler = machine.sys / "class" / "thermal" / "cooling_device0"
    cooler.mkdir()
    (cooler / "type").write_text("thermal-cpufreq-0\n")
    (cooler / "cur_state").write_text("0\n")
    sensors = Sensors(machine)
    assert sensors.read().throttling == Throttling()
    (cooler / "cur_state").write_text("2\n")
    assert sensors.read().throttling == Throttling(("throttled",), ("throttled",))


def test_coolers_of_new_kernels_have_another_name(tmp_path: Path) -> None:
    """Since Linux 5.13, so on JetPack 6."""
    machine = board_tree("jetson-orin-nx", tmp_path)
    cooler = machine.sys / "class" / "thermal" / "cooling_device0"
    cooler.mkdir()
    (cooler / "type").write_text("cpufreq-cpu0\n")
    (cooler / "cur_state").write_text("1\n")
    told = Sensors(machine).read().throttling
    assert told is not None
    assert "throttled" in told.now


def test_what_came_while_a_counter_could_not_be_read_is_not_missed(tmp_path: Path) -> None:
    machine = board_tree("jetson-orin-nx", tmp_path)
    [count] = machine.sys.glob("class/hwmon/hwmon*/oc2_event_cnt")
    sensors = Sensors(machine)
    sensors.read()
    count.write_text("nonsense\n")
    sensors.read()
    count.write_text("7\n")
    assert sensors.read().throttling == Throttling(("over-current",), ("over-current",))


def test_what_came_while_the_firmware_did_not_answer_is_not_missed(tmp_path: Path) -> None:
    machine = board_tree("raspberry-pi-4", tmp_path)
    answer, clock = machine.root / "firmware" / "get_throttled", Clock()
    sensors = Sensors(machine, clock)
    for text in ("throttled=0x0", "nonsense", "throttled=0x40000"):
        answer.write_text(f"{text}\n")
        told = sensors.read().throttling
        clock.now_ns += 6 * S
    assert told == Throttling(("throttled",), ("throttled",))


def test_a_hot_pc(tmp_path: Path) -> None:
    machine = board_tree("pc-rapl", tmp_path)
    sensors = Sensors(machine)
    assert sensors.read().throttling == Throttling()
    (machine.sys / "devices/system/cpu/cpu2/thermal_throttle/core_throttle_count").write_text("17\n")
    assert sensors.read().throttling == Throttling(("throttled",), ("throttled",))


def test_a_counter_that_vanishes_is_a_problem_once(tmp_path: Path) -> None:
    machine = board_tree("jetson-orin-nx", tmp_path)
    sensors = Sensors(machine)
    sensors.read()
    [count] = machine.sys.glob("class/hwmon/hwmon*/oc2_event_cnt")
    count.unlink()
    reading = sensors.read()
    assert "oc2_event_cnt: is gone" in reading.problems[0]
    assert reading.throttling == Throttling()
    assert sensors.read().problems == ()

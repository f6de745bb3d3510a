"""The Raspberry Pi's firmware, asked by a program that may do anything."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fixture import board_tree

from edge_fer.errors import SensorError
from edge_fer.sensors.machine import Machine
from edge_fer.sensors.pmic import PmicMeter, parse_rails
from edge_fer.sensors.sensors import Sensors
from edge_fer.sensors.vcgencmd import Vcgencmd


def _ended(stat: Path) -> bool:
    """Whether a process is gone, or a zombie that the init of this machine has yet to look at."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def script(machine: Machine, body: str) -> None:
    program = machine.root / "usr" / "bin" / "vcgencmd"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


def test_rails_are_paired_by_name_as_their_numbers_differ() -> None:
    text = " VDD_CORE_A current(7)=1.5A\n 0V8_AON_A current(16)=0.5A\nVDD_CORE_V volt(15)=0.8V\n0V8_AON_V volt(19)=2V"
    # 1.5 * 0.8 and 0.5 * 2: by number, 16 would not find 19
    assert [(rail.name, rail.power_w) for rail in parse_rails(text)] == [
        ("VDD_CORE", pytest.approx(1.2)),
        ("0V8_AON", pytest.approx(1.0)),
    ]


def test_a_voltage_without_a_current_is_no_rail(tmp_path: Path) -> None:
    rails = PmicMeter(Vcgencmd(board_tree("raspberry-pi-5", tmp_path))).read(0).rails
    assert len(rails) == 12
    assert not {"EXT5V", "BATT"} & {rail.name for rail in rails}


def test_the_whole_is_an_estimate_and_says_so(tmp_path: Path) -> None:
    power = PmicMeter(Vcgencmd(board_tree("raspberry-pi-5", tmp_path))).read(0)
    assert power.source == "estimated"
    assert power.total_w == pytest.approx(1.1451 * 2.492 + 0.5879)
    assert "1.1451" in power.reason


def test_an_answer_that_is_cut_off_is_no_smaller_sum() -> None:
    """vcgencmd has 1024 characters for it, and says nothing where that is too few."""
    text = "VDD_CORE_A current(7)=1.5A\n3V3_A current(1)=0.5A\nVDD_CORE_V volt(15)=0.8V\n3V3_V volt(9)=3."
    with pytest.raises(SensorError, match="no voltage of the rail 3V3, so the sum would be too low"):
        parse_rails(text)


@pytest.mark.parametrize("text", ["", "error", "VDD_CORE_A current(7)=A", "VDD_CORE_A current(7)=1.0A"])
def test_garbage_is_no_watt(text: str) -> None:
    with pytest.raises(SensorError, match="no rail with current and voltage"):
        parse_rails(text)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("echo nonsense", "no rail with current and voltage in 'nonsense'"),
        ("exit 3", "no answer (status 3)"),
        ("true", "no answer (status 0)"),
        ("""echo 'error=1 error_msg="Command not registered"'""", "refused with 'error=1 error_msg="),
        ('echo "Can\'t open device file: /dev/vcio"; exit 255', "add the user to the group video"),
        ("printf 'VDD_CORE_A current(7)=1A\\nVDD_CORE_V volt(15)=1V\\n'; exit 1", "refused with 'VDD_CORE_A"),
        ("exec yes", "no answer (of a few lines)"),
    ],
)
def test_a_program_that_fails(body: str, told: str, tmp_path: Path) -> None:
    machine = board_tree("raspberry-pi-5", tmp_path)
    script(machine, body)
    meter = PmicMeter(Vcgencmd(machine, timeout_s=60))
    power = meter.read(0)
    assert (power.source, power.total_w) == ("unavailable", None)
    assert meter.problems == (power.reason,)
    assert told in power.reason


@pytest.mark.parametrize("body", ["sleep 600", "sleep 600 & wait", "exec </dev/null >/dev/null; sleep 600"])
def test_a_program_that_hangs(body: str, tmp_path: Path) -> None:
    machine = board_tree("raspberry-pi-5", tmp_path)
    script(machine, body)
    power = PmicMeter(Vcgencmd(machine, timeout_s=0.3)).read(0)
    assert power.source == "unavailable"
    assert "no answer (of a few lines) within 0.3 s" in power.reason


def test_what_hangs_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    machine = board_tree("raspberry-pi-5", tmp_path)
    script(machine, f"sleep 600 & echo $! > {tmp_path}/pid\nwait")
    for timeout_s in (0.5, 5.0, 60.0):  # until it was fast enough to get there
        with pytest.raises(SensorError, match="no answer"):
            Vcgencmd(machine, timeout_s).ask("pmic_read_adc")
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            break
    stat = Path("/proc") / (tmp_path / "pid").read_text().strip() / "stat"
    until_s = time.monotonic() + 60
    while not _ended(stat):
        assert time.monotonic() < until_s, "it still runs"
        time.sleep(0.01)


def test_no_program_and_one_that_cannot_run(tmp_path: Path) -> None:
    machine = board_tree("raspberry-pi-5", tmp_path)
    script(machine, "true")
    vcgencmd = Vcgencmd(machine)
    (machine.root / "usr" / "bin" / "vcgencmd").write_bytes(b"\x7fELF of another processor")
    with pytest.raises(SensorError, match="cannot be started"):
        vcgencmd.ask("pmic_read_adc")
    (machine.root / "usr" / "bin" / "vcgencmd").unlink()
    with pytest.raises(SensorError, match=r"cannot be started \(No such file"):
        vcgencmd.ask("pmic_read_adc")
    with pytest.raises(SensorError, match="no such program; install"):
        Vcgencmd(machine).ask("pmic_read_adc")
    assert "no such program" in Sensors(machine).read().power.reason


def test_a_secret_of_the_daemon_is_not_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_FER_MQTT__PASSWORD", "hunter2")
    machine = board_tree("raspberry-pi-5", tmp_path)
    script(machine, "env")
    assert "hunter2" not in Vcgencmd(machine).ask("get_throttled")
    assert "PATH=" in Vcgencmd(machine).ask("get_throttled")


def test_one_process_a_reading(tmp_path: Path) -> None:
    """Watts with each reading; what the board was throttled for every 5 s."""
    machine = board_tree("raspberry-pi-5", tmp_path)
    program = machine.root / "usr" / "bin" / "vcgencmd"
    real = program.rename(program.with_name("vcgencmd.real"))
    script(machine, f'echo "$1" >> {tmp_path}/asked\nexec {real} "$@"')
    sensors = Sensors(machine, iter(range(0, 10**18, 2 * 10**9)).__next__)  # every 2 s
    for _ in range(6):  # 0, 2, 4, 6, 8, 10 s
        sensors.read()
    asked = (tmp_path / "asked").read_text().split()
    assert asked.count("pmic_read_adc") == 6
    assert asked.count("get_throttled") == 2  # at 0 and at 6 s

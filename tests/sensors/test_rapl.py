"""Counters of energy: they wrap, nest, stand still and begin anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from fixture import add_energy, board_tree
from hypothesis import given
from hypothesis import strategies as st
from odd_files import as_a_user

from edge_fer.sensors.energy import EnergyMeter
from edge_fer.sensors.machine import Machine
from edge_fer.sensors.rapl import Counter, RaplMeter
from edge_fer.sensors.readings import Reading

S = 1_000_000_000


def zone(machine: Machine, name: str = "intel-rapl:0") -> Path:
    return machine.sys / "class" / "powercap" / name


def test_watts_are_the_difference_over_the_time(tmp_path: Path) -> None:
    machine = board_tree("pc-rapl", tmp_path)
    meter = RaplMeter(machine)
    first = meter.read(0)
    assert (first.source, first.total_w, first.energy_j) == ("measured", None, 0.0)
    add_energy(machine, 30.0)
    add_energy(machine, 12.0, "intel-rapl:0:0")
    add_energy(machine, 4.0, "intel-rapl:0:2")
    add_energy(machine, 50.0, "intel-rapl:1")
    power = meter.read(2 * S)
    assert power.total_w == pytest.approx(15.0)  # 30 J in 2 s: neither its domains nor the platform a second time
    assert power.energy_j == pytest.approx(30.0)
    watts = {rail.name: (rail.power_w, rail.in_total) for rail in power.rails}
    assert watts == {
        "package-0": (pytest.approx(15.0), True),
        "core-0": (pytest.approx(6.0), False),
        "uncore-0": (0.0, False),
        "dram-0": (pytest.approx(2.0), False),
        "psys": (pytest.approx(25.0), False),
    }


def test_the_same_package_under_another_name_is_not_counted_twice(tmp_path: Path) -> None:
    machine = board_tree("pc-rapl", tmp_path)
    meter = RaplMeter(machine)
    meter.read(0)
    add_energy(machine, 10.0)
    add_energy(machine, 10.0, "intel-rapl-mmio:0")
    assert meter.read(S).total_w == pytest.approx(10.0)


def test_a_counter_that_wraps(tmp_path: Path) -> None:
    machine = board_tree("pc-rapl", tmp_path)
    span_uj = int((zone(machine) / "max_energy_range_uj").read_text())
    (zone(machine) / "energy_uj").write_text(f"{span_uj - 5_000_000}\n")
    meter = RaplMeter(machine)
    meter.read(0)
    add_energy(machine, 20.0)
    assert int((zone(machine) / "energy_uj").read_text()) == 15_000_000
    power = meter.read(S)
    assert (power.total_w, power.energy_j) == (pytest.approx(20.0), pytest.approx(20.0))


@given(st.integers(0, 65_532_610_986), st.lists(st.floats(0.5, 200.0), min_size=1, max_size=20))
def test_wraps_are_undone_wherever_they_fall(start_uj: int, watts: list[float]) -> None:
    span_uj = 65_532_610_987
    counter = Counter("package-0", in_total=True, path="", span_uj=span_uj, last_uj=start_uj)
    now_uj = start_uj
    for power_w in watts:
        now_uj = (now_uj + round(power_w * 1e8)) % span_uj  # 100 s
        counter.note(now_uj, 100.0)
    assert counter.energy_j == pytest.approx(sum(watts) * 100, rel=1e-6)


def test_two_packages(tmp_path: Path) -> None:
    machine = board_tree("pc-rapl", tmp_path)
    (zone(machine, "intel-rapl:1") / "name").write_text("package-1\n")
    meter = RaplMeter(machine)
    meter.read(0)
    add_energy(machine, 40.0)
    add_energy(machine, 60.0, "intel-rapl:1")
    assert meter.read(S).total_w == pytest.approx(100.0)


def test_a_counter_that_stands_still_is_no_sensor(tmp_path: Path) -> None:
    """As virtual machines have it: 0 W would be a lie."""
    machine = board_tree("pc-rapl", tmp_path)
    meter = RaplMeter(machine)
    meter.read(0)
    power = meter.read(S)
    assert (power.source, power.total_w) == ("unavailable", None)
    assert "the counter stands still" in power.reason
    assert meter.problems == (power.reason,)
    add_energy(machine, 10.0)
    assert meter.read(2 * S).total_w == pytest.approx(10.0)


def test_readings_that_follow_too_soon_repeat_the_last(tmp_path: Path) -> None:
    machine = board_tree("pc-rapl", tmp_path)
    meter = RaplMeter(machine)
    meter.read(0)
    add_energy(machine, 10.0)
    before = meter.read(S)
    add_energy(machine, 0.001)
    assert meter.read(S + 1_000_000) == before


def test_a_counter_that_begins_anew_gives_no_watts_for_that_time(tmp_path: Path) -> None:
    machine = board_tree("pc-rapl", tmp_path)
    meter, energy = RaplMeter(machine), EnergyMeter()
    energy.add(Reading(0, meter.read(0)))
    (zone(machine) / "energy_uj").write_text("1000000\n")  # 59 J back: a wrap would be 262 kJ in a second
    anew = meter.read(S)
    assert (anew.source, anew.total_w) == ("measured", None)
    energy.add(Reading(S, anew))
    add_energy(machine, 7.0)
    last = meter.read(2 * S)
    energy.add(Reading(2 * S, last))
    assert last.total_w == pytest.approx(7.0)
    assert (energy.energy_j, energy.seconds, energy.gap_s) == (pytest.approx(7.0), 1.0, 1.0)


def test_a_counter_that_vanishes_and_returns(tmp_path: Path) -> None:
    machine = board_tree("pc-rapl", tmp_path)
    meter = RaplMeter(machine)
    meter.read(0)
    add_energy(machine, 10.0)
    assert meter.read(S).energy_j == pytest.approx(10.0)
    away = (zone(machine) / "energy_uj").rename(tmp_path / "away")
    lost = meter.read(2 * S)
    assert lost.source == "unavailable"
    assert "energy_uj: is gone" in lost.reason
    away.rename(zone(machine).resolve() / "energy_uj")
    assert meter.read(3 * S).total_w is None
    add_energy(machine, 5.0)
    back = meter.read(4 * S)
    assert (back.total_w, back.energy_j) == (pytest.approx(5.0), pytest.approx(15.0))
    assert meter.problems == ()


def test_a_domain_that_fails_does_not_take_the_package_along(tmp_path: Path) -> None:
    machine = board_tree("pc-rapl", tmp_path)
    meter = RaplMeter(machine)
    meter.read(0)
    add_energy(machine, 10.0)
    (zone(machine, "intel-rapl:0:2") / "energy_uj").write_text("")
    power = meter.read(S)
    assert power.total_w == pytest.approx(10.0)
    assert "dram-0" not in [rail.name for rail in power.rails]
    assert "energy_uj: is empty" in meter.problems[0]


def test_counters_that_only_root_may_read(tmp_path: Path) -> None:
    machine = board_tree("pc-rapl", tmp_path)
    for node in machine.sys.glob("devices/virtual/powercap/intel-rapl/**/energy_uj"):
        node.chmod(0o400 if node.owner() == "root" else 0o000)
    told = as_a_user(machine.root, lambda root: RaplMeter(Machine(root=root)).read(0).reason)
    assert "intel-rapl:0/energy_uj: cannot be read (Permission denied); open it with the line `z " in told
    assert "/intel-rapl:*/energy_uj 0440 root GROUP`" in told

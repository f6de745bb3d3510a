"""Cores that come and go, and their clocks."""

from __future__ import annotations

from pathlib import Path

import pytest
from fixture import board_tree
from odd_files import would_block

from edge_fer.sensors.cores import Cores, parse_list
from edge_fer.sensors.machine import Machine


def cpu(machine: Machine, name: str = "") -> Path:
    return machine.sys / "devices" / "system" / "cpu" / name


@pytest.mark.parametrize(
    ("text", "numbers"), [("0-3", [0, 1, 2, 3]), ("0", [0]), ("0-1,4,6-7", [0, 1, 4, 6, 7]), ("", [])]
)
def test_lists_of_the_kernel(text: str, numbers: list[int]) -> None:
    assert list(parse_list(text)) == numbers


def test_a_core_that_goes_offline_and_comes_back(tmp_path: Path) -> None:
    machine = board_tree("jetson-agx-xavier", tmp_path)
    cores = Cores(machine)
    cores.read()
    cpu(machine, "online").write_text("0-2,4\n")
    cpu(machine, "cpu3/cpufreq").unlink()
    cpu(machine, "cpu4/cpufreq").symlink_to("../cpufreq/policy4")
    found = cores.read()
    assert [core.number for core in found if core.online] == [0, 1, 2, 4]
    assert (found[3].mhz, found[4].mhz) == (None, 115.2)
    assert cores.problems == ()


def test_a_new_core_whose_clock_comes_later(tmp_path: Path) -> None:
    machine = board_tree("jetson-agx-xavier", tmp_path)
    cores = Cores(machine)
    cpu(machine, "online").write_text("0-4\n")
    assert cores.read()[4].mhz is None
    cpu(machine, "cpu4/cpufreq").symlink_to("../cpufreq/policy4")
    assert cores.read()[4].mhz == 115.2


def test_clocks_of_clusters(tmp_path: Path) -> None:
    machine = board_tree("jetson-agx-orin", tmp_path)
    found = Cores(machine).read()
    assert [core.mhz for core in found] == [1728.0] * 4 + [729.6] * 4 + [None] * 4


def test_a_clock_that_cannot_be_read(tmp_path: Path) -> None:
    machine = board_tree("raspberry-pi-5", tmp_path)
    cores = Cores(machine)
    with would_block(cpu(machine, "cpufreq/policy0/scaling_cur_freq")):
        found = cores.read()
    assert [(core.mhz, core.max_mhz) for core in found] == [(None, 2400.0)] * 4
    assert len(cores.problems) == 1  # once, not for each of its cores


def test_a_driver_that_says_0_does_not_know(tmp_path: Path) -> None:
    machine = board_tree("raspberry-pi-5", tmp_path)
    cpu(machine, "cpufreq/policy0/scaling_cur_freq").write_text("0\n")
    assert Cores(machine).read()[0].mhz is None


def test_a_kernel_without_lists_has_folders(tmp_path: Path) -> None:
    for name in ("cpu0", "cpu1", "cpu10", "cpufreq", "cpuidle"):
        cpu(Machine(root=tmp_path), name).mkdir(parents=True)
    assert [(core.number, core.online) for core in Cores(Machine(root=tmp_path)).read()] == [
        (0, True),
        (1, True),
        (10, True),
    ]


def test_no_sysfs_at_all(tmp_path: Path) -> None:
    assert Cores(Machine(root=tmp_path)).read() == ()

"""Caps of the clock: clusters with a clock each, cores that go offline, heat, and files that cannot be written."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

import pytest
from powerboard import BEFORE, Board, at_once

from edge_fer.errors import UnavailableError
from edge_fer.power_modes.apply import applied, left_over
from edge_fer.power_modes.mode import NeedsRootError

Boards = Callable[[str], Board]
CPU = "devices/system/cpu/cpufreq"


@pytest.fixture
def clusters(board: Boards) -> Board:
    """big.LITTLE: cores 0 and 1 up to 1800 MHz, 2 and 3 up to 2400 MHz."""
    pi = board("raspberry-pi-4")
    for number, highest, cores in ((0, 1_800_000, "0 1"), (2, 2_400_000, "2 3")):
        folder = pi.machine.sys / CPU / f"policy{number}"
        folder.mkdir(exist_ok=True)
        for name, text in {
            "cpuinfo_min_freq": "600000",
            "scaling_min_freq": "600000",
            "cpuinfo_max_freq": str(highest),
            "scaling_max_freq": str(highest),
            "scaling_available_frequencies": f"600000 1200000 1800000{' 2400000' if number else ''}",
            "affected_cpus": cores,
            "related_cpus": cores,
        }.items():
            (folder / name).write_text(f"{text}\n")
    return pi


def put(board: Board, policy: int, name: str, text: str) -> None:
    (board.machine.sys / CPU / f"policy{policy}" / name).write_text(f"{text}\n")


def switch_off(board: Board, policy: int) -> None:
    """As the kernel leaves it: the folder stays, and no core is in it."""
    put(board, policy, "affected_cpus", "")
    (board.machine.sys / CPU / f"policy{policy}" / "scaling_max_freq").unlink()


def heat(board: Board, state: int, kind: str = "cpufreq-cpu0") -> None:
    cooler = board.machine.sys / "class/thermal/cooling_device9"
    cooler.mkdir(exist_ok=True)
    (cooler / "type").write_text(f"{kind}\n")
    (cooler / "cur_state").write_text(f"{state}\n")


def test_each_cluster_gets_its_own_highest_step(clusters: Board) -> None:
    assert [mode.name for mode in clusters.modes().modes] == ["600MHz", "1200MHz", "1800MHz", "2400MHz"]
    assert clusters.current == "2400MHz"
    with applied(clusters.modes(), clusters.mode("1200MHz"), settle=at_once):
        assert (clusters.cap(0), clusters.cap(2), clusters.current) == ("1200000", "1200000", "1200MHz")
    assert (clusters.cap(0), clusters.cap(2)) == ("1800000", "2400000")


def test_a_cap_that_only_the_fastest_cores_have_is_not_the_mode(clusters: Board) -> None:
    """Otherwise setting it would do nothing, and the other cores be measured at whatever they have."""
    put(clusters, 0, "scaling_max_freq", "600000")
    put(clusters, 2, "scaling_max_freq", "1800000")
    assert clusters.current == "600MHz, 1800MHz"
    with applied(clusters.modes(), clusters.mode("1800MHz"), settle=at_once):
        assert (clusters.cap(0), clusters.cap(2)) == ("1800000", "1800000")
    assert (clusters.cap(0), clusters.cap(2)) == ("600000", "1800000")


def test_cores_that_go_offline_meanwhile_do_not_keep_the_others_capped(
    clusters: Board, caplog: pytest.LogCaptureFixture
) -> None:
    with applied(clusters.modes(), clusters.mode("1200MHz"), settle=at_once) as now:
        switch_off(clusters, 0)
        assert now.changed() == ""
    assert clusters.cap(2) == "2400000"
    (told,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "all cores of policy0 are offline" in told
    assert "echo 1800000 > " in told


def test_what_is_hotter_than_the_cap_allows_is_restored_too(clusters: Board) -> None:
    """The kernel shows its own cap, which happens to be what was set before."""
    put(clusters, 0, "scaling_max_freq", "1200000")
    put(clusters, 2, "scaling_max_freq", "1200000")
    with applied(clusters.modes(), clusters.mode("2400MHz"), settle=at_once):
        writes = []
        for number in (0, 2):
            file = clusters.machine.sys / CPU / f"policy{number}/scaling_max_freq"
            file.write_text("1200000\n")
            writes.append((file, file.stat().st_mtime_ns))
    assert all(file.stat().st_mtime_ns != before_ns for file, before_ns in writes), "the request was left at 2400 MHz"


@pytest.mark.parametrize("kind", ["cpufreq-cpu0", "thermal-cpufreq-0"])
def test_a_cap_of_the_kernel_that_cools_is_not_taken_for_one_to_come_back_to(clusters: Board, kind: str) -> None:
    heat(clusters, 3, kind)
    put(clusters, 2, "scaling_max_freq", "1200000")
    with (
        pytest.raises(UnavailableError, match="the processor is hot, and the kernel slows it down"),
        applied(clusters.modes(), clusters.mode("600MHz"), settle=at_once),
    ):
        pytest.fail("it was set")
    assert not clusters.left_behind


def test_a_second_mode_is_measured_on_a_board_that_the_first_has_made_hot(clusters: Board) -> None:
    modes = clusters.modes()
    for name in ("1800MHz", "1200MHz"):
        mode = next(mode for mode in modes.modes if mode.name == name)
        with applied(modes, mode, settle=at_once) as now:
            assert str(now.before) == "2400MHz"
        heat(clusters, 3)
        put(clusters, 2, "scaling_max_freq", "600000")  # the kernel cools the board
    with applied(modes, mode, settle=at_once):
        pass
    assert (clusters.cap(0), clusters.cap(2)) == ("1800000", "2400000")
    assert not clusters.left_behind


def leave(board: Board, **changed: object) -> None:
    left = {
        "kind": "frequency-cap",
        "before": "policy0=1800000 policy2=2400000",
        "during": "policy0=600000 policy2=600000",
        "survives_boot": False,
        "boot_id": (board.machine.proc / "sys/kernel/random/boot_id").read_text().strip(),
    }
    (board.root / BEFORE).parent.mkdir(parents=True)
    (board.root / BEFORE).write_text(json.dumps({**left, **changed}))


@pytest.fixture
def booted(clusters: Board) -> Board:
    file = clusters.machine.proc / "sys/kernel/random/boot_id"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("this\n")
    return clusters


def test_a_run_that_was_killed_between_two_clusters_is_known(booted: Board) -> None:
    leave(booted)
    put(booted, 0, "scaling_max_freq", "600000")
    assert left_over(booted.modes()).startswith("an earlier run was killed in mode 600MHz; ")
    with applied(booted.modes(), booted.mode("1200MHz"), settle=at_once):
        pass
    assert (booted.cap(0), booted.cap(2)) == ("1800000", "2400000")


def test_a_run_that_was_killed_before_it_had_set_anything_has_left_nothing(booted: Board) -> None:
    leave(booted)
    assert left_over(booted.modes()) == ""


@pytest.mark.parametrize(
    "changed",
    [{"before": 5}, {"during": None}, {"survives_boot": "yes"}, {"boot_id": 3}, {"before": "policy0=x", "during": "="}],
)
def test_a_note_of_another_release_ends_no_run(booted: Board, changed: dict[str, object]) -> None:
    leave(booted, **changed)
    with applied(booted.modes(), booted.mode("1200MHz"), settle=at_once):
        assert booted.cap(2) == "1200000"
    assert booted.cap(2) == "2400000" or "before" in changed


def test_a_cluster_that_refuses_takes_the_others_back(clusters: Board) -> None:
    file = clusters.machine.sys / CPU / "policy2/scaling_max_freq"
    file.unlink()
    file.symlink_to("/proc/sys/kernel/cap_last_cap")  # a number, which nobody may write
    with pytest.raises(NeedsRootError), applied(clusters.modes(), clusters.mode("1200MHz"), settle=at_once):
        pytest.fail("it was set")
    assert clusters.cap(0) == "1800000"
    assert not clusters.left_behind

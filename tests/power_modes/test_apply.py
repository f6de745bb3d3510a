"""A mode for as long as something is measured, and the mode before it on every way out."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from powerboard import BEFORE, STATUS, Board, at_once

from edge_fer.errors import EdgeFerError, UnavailableError
from edge_fer.power_modes.apply import applied, left_over
from edge_fer.power_modes.interruption import SIGNALS, Interrupted, Interruption
from edge_fer.power_modes.mode import NeedsRebootError, NeedsRootError
from edge_fer.power_modes.set import set_power_mode
from edge_fer.power_modes.settle import QUIET_S, TIMEOUT_S, settle_clocks
from edge_fer.sensors.machine import Machine

Boards = Callable[[str], Board]

DESKTOP, ALL_30W = "7 MODE_15W_DESKTOP", "3 MODE_30W_ALL"


def test_a_mode_is_set_and_the_one_before_it_restored(xavier: Board) -> None:
    with applied(xavier.modes(), xavier.mode("MODE_30W_ALL"), settle=at_once) as now:
        assert (xavier.current, xavier.online, xavier.cap(6)) == (ALL_30W, "0-7", "1200000")
        assert (str(now.before), now.changed(), now.note) == (DESKTOP, "", "")
        assert xavier.left_behind
    assert (xavier.current, xavier.online, xavier.cap()) == (DESKTOP, "0-3", "2188800")
    assert not xavier.left_behind
    assert not (xavier.root / "rebooted").exists()


def test_an_error_restores_it_too(xavier: Board) -> None:
    def measure() -> None:
        with applied(xavier.modes(), xavier.mode("MAXN"), settle=at_once):
            assert xavier.current == "0 MAXN"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        measure()
    assert xavier.current == DESKTOP


@pytest.mark.parametrize("signum", SIGNALS)
def test_signals_restore_it_and_more_of_them_change_nothing(xavier: Board, signum: signal.Signals) -> None:
    handlers = [signal.getsignal(one) for one in SIGNALS]
    cleaned = []

    def measure() -> None:
        with applied(xavier.modes(), xavier.mode("MAXN"), settle=at_once):
            try:
                signal.raise_signal(signum)
                pytest.fail("the signal did not end the work")
            finally:
                # People press Ctrl-C again; systemd sends SIGHUP after SIGTERM.
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGHUP)
                cleaned.append(True)

    with pytest.raises(Interrupted) as err:
        measure()
    assert (err.value.signum, cleaned) == (signum, [True])
    assert xavier.current == DESKTOP
    assert [signal.getsignal(one) for one in SIGNALS] == handlers


def test_a_signal_while_the_clocks_settle_restores_it(xavier: Board) -> None:
    def settle(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted), applied(xavier.modes(), xavier.mode("MAXN"), settle=settle):  # type: ignore[arg-type]
        pytest.fail("it went on")
    assert xavier.current == DESKTOP


def test_a_signal_that_comes_while_it_is_held_back_waits_and_only_one_is_obeyed() -> None:
    steps = []

    def work() -> None:
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGTERM)
            steps.append("set")
            try:
                interruption.allow()
                steps.append("measured")
            finally:
                interruption.hold()
                signal.raise_signal(signal.SIGINT)
                steps.append("restored")

    with pytest.raises(Interrupted) as err:
        work()
    assert (steps, err.value.signum) == (["set", "restored"], signal.SIGTERM)


def test_a_signal_while_it_is_restored_is_obeyed_afterwards(xavier: Board) -> None:
    modes = xavier.modes()
    assert modes.backend is not None
    restore = modes.backend.restore
    seen = []

    def slow(snapshot: str) -> None:
        signal.raise_signal(signal.SIGINT)
        seen.append(snapshot)
        restore(snapshot)

    modes.backend.restore = slow  # type: ignore[method-assign]
    with pytest.raises(Interrupted), applied(modes, xavier.mode("MAXN"), settle=at_once):
        pass
    assert (seen, xavier.current) == (["7"], DESKTOP)


CHILD = """
import sys, time
from pathlib import Path
from edge_fer.power_modes.apply import applied, left_over
from edge_fer.power_modes.modes import open_power_modes
from edge_fer.sensors.machine import Machine
modes = open_power_modes(Machine(Path(sys.argv[1]), sys.argv[2]))
mode = next(mode for mode in modes.modes if mode.name == "MAXN")
with applied(modes, mode):
    print("set", flush=True)
    time.sleep(600)
"""


def start_child(board: Board) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", CHILD, str(board.root), str(board.machine.path)]
    # A group of its own, as a shell gives it; what a terminal sends on Ctrl-C goes to all in it.
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "set\n"
    return child


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_process_that_is_ended_by_the_terminal_restores_the_mode(xavier: Board, signum: signal.Signals) -> None:
    child = start_child(xavier)
    assert xavier.current == "0 MAXN"
    os.killpg(child.pid, signum)
    os.killpg(child.pid, signum)
    assert child.wait(120) != 0
    assert xavier.current == DESKTOP
    assert not xavier.left_behind


def test_a_fork_that_ends_restores_nothing(xavier: Board) -> None:
    with applied(xavier.modes(), xavier.mode("MAXN"), settle=at_once) as now:
        if (child := os.fork()) == 0:
            now.guard.restore()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert xavier.current == "0 MAXN"
    assert xavier.current == DESKTOP


@pytest.mark.system
@pytest.mark.parametrize("number", range(30))
def test_a_process_that_is_ended_at_any_moment_leaves_the_mode_as_it_was(xavier: Board, number: int) -> None:
    """Also while it starts, sets, or restores: `number` moves the moment, and one signal follows the other."""
    moments = random.Random(number)  # noqa: S311 - no secret
    arguments = [sys.executable, "-c", CHILD, str(xavier.root), str(xavier.machine.path)]
    child = subprocess.Popen(arguments, start_new_session=True)
    time.sleep(moments.uniform(0.2, 6))
    while child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, moments.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP]))
        time.sleep(moments.uniform(0.001, 1))
    assert xavier.current == DESKTOP
    assert xavier.cap() == "2188800"
    assert not xavier.left_behind


def test_what_a_killed_run_has_left_is_restored_by_the_next(xavier: Board, caplog: pytest.LogCaptureFixture) -> None:
    child = start_child(xavier)
    child.kill()
    child.wait(120)
    assert (xavier.current, xavier.left_behind) == ("0 MAXN", True)
    assert left_over(xavier.modes()).startswith("an earlier run was killed in mode 0 MAXN; ")
    with applied(xavier.modes(), xavier.mode("MODE_15W"), settle=at_once) as now:
        assert xavier.current == "2 MODE_15W"
        assert now.note.startswith(
            "an earlier run was killed in mode 0 MAXN; the mode before it was 7 MODE_15W_DESKTOP"
        )
    assert xavier.current == DESKTOP
    assert not xavier.left_behind
    assert "an earlier run was killed" in caplog.text
    assert left_over(xavier.modes()) == ""


def test_what_a_killed_run_has_left_is_out_of_date_once_somebody_has_set_another_mode(xavier: Board) -> None:
    child = start_child(xavier)
    child.kill()
    child.wait(120)
    set_power_mode(xavier.modes(), "4")
    assert not xavier.left_behind
    with applied(xavier.modes(), xavier.mode("MODE_15W"), settle=at_once) as now:
        assert now.note == ""
    assert xavier.current == "4 MODE_30W_6CORE"


def test_two_runs_do_not_change_the_mode_at_the_same_time(xavier: Board) -> None:
    with applied(xavier.modes(), xavier.mode("MAXN"), settle=at_once):
        with (
            pytest.raises(UnavailableError, match=rf"busy: a measurement \(process {os.getpid()}\)"),
            applied(xavier.modes(), xavier.mode("MODE_15W"), settle=at_once),
        ):
            pytest.fail("two at once")
        with pytest.raises(UnavailableError, match="busy"):
            set_power_mode(xavier.modes(), "2")
        assert xavier.current == "0 MAXN"
    assert xavier.current == DESKTOP


def test_a_mode_that_somebody_else_sets_meanwhile_is_told_and_left(
    xavier: Board, caplog: pytest.LogCaptureFixture
) -> None:
    with applied(xavier.modes(), xavier.mode("MAXN"), settle=at_once) as now:
        subprocess.run([f"{xavier.machine.path}/nvpmodel", "-m", "4"], check=True)
        assert now.changed() == "somebody else has changed the power mode to 4 MODE_30W_6CORE meanwhile"
    assert xavier.current == "4 MODE_30W_6CORE"
    assert "is left so; it was 7 MODE_15W_DESKTOP before" in caplog.text


def test_a_mode_that_needs_a_reboot_is_refused_by_name_and_nothing_is_asked(xavier: Board) -> None:
    with (
        pytest.raises(NeedsRebootError, match="power mode 1 MODE_10W needs a reboot, which is left to you"),
        applied(xavier.modes(), xavier.mode("MODE_10W"), settle=at_once),
    ):
        pytest.fail("it was set")
    assert xavier.current == DESKTOP


def test_the_question_for_a_reboot_is_never_answered(xavier: Board) -> None:
    """A list that does not tell of the reboot: nvpmodel asks, gets no answer, and ends with 0."""
    modes = xavier.modes()
    conf = xavier.machine.etc / "nvpmodel.conf"
    conf.write_text(conf.read_text().replace("TPC_PG_MASK 0", "TPC_PG_MASK 3", 1))
    with pytest.raises(NeedsRebootError), applied(modes, modes.modes[0], settle=at_once):
        pytest.fail("it was set")
    assert xavier.current == DESKTOP
    assert not (xavier.root / "rebooted").exists()
    assert not xavier.left_behind


def test_others_than_root_are_told_what_to_run(xavier: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_FER_FAKE_UID", "1000")
    with (
        pytest.raises(NeedsRootError, match=r"setting power mode 0 MAXN needs root: .*sudo edge-fer"),
        applied(xavier.modes(), xavier.mode("MAXN"), settle=at_once),
    ):
        pytest.fail("it was set")
    assert not xavier.left_behind


def test_a_mode_that_is_set_already_needs_no_root(xavier: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_FER_FAKE_UID", "1000")
    with applied(xavier.modes(), xavier.mode("MODE_15W_DESKTOP"), settle=at_once) as now:
        assert now.before == now.mode
        assert not xavier.left_behind
    assert xavier.current == DESKTOP
    assert not (xavier.root / STATUS).exists()


def test_a_mode_that_nvpmodel_does_not_set_although_it_ends_well_is_an_error(
    xavier: Board, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EDGE_FER_FAKE_FAULT", "silent")
    with (
        pytest.raises(
            UnavailableError, match="nvpmodel did not set power mode 0 MAXN: it ended with 0 and says nothing"
        ),
        applied(xavier.modes(), xavier.mode("MAXN"), settle=at_once),
    ):
        pytest.fail("it was set")
    assert "NOT" not in caplog.text


def test_a_mode_that_cannot_be_restored_is_told_with_the_command_that_does(
    xavier: Board, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with applied(xavier.modes(), xavier.mode("MAXN"), settle=at_once):
        monkeypatch.setenv("EDGE_FER_FAKE_FAULT", "silent")
    (told,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "could NOT be restored" in told.getMessage()
    assert told.getMessage().endswith("it was 7 MODE_15W_DESKTOP before: sudo nvpmodel -m 7")
    assert xavier.left_behind
    monkeypatch.delenv("EDGE_FER_FAKE_FAULT")
    with applied(xavier.modes(), xavier.mode("MAXN"), settle=at_once):
        pass
    assert xavier.current == DESKTOP


def test_caps_of_the_clock_are_restored_cluster_by_cluster(board: Boards) -> None:
    pi = board("raspberry-pi-4")
    file = pi.machine.sys / "devices/system/cpu/cpufreq/policy0/scaling_max_freq"
    file.write_text("1750000\n")  # set by somebody, and no step of the list
    with applied(pi.modes(), pi.mode("1200MHz"), settle=at_once) as now:
        assert (pi.cap(), now.changed()) == ("1200000", "")
        file.write_text("1000000\n")  # the kernel cools the board
        assert now.changed() == ""
    assert pi.cap() == "1750000"


def test_caps_that_a_killed_run_has_left_are_out_of_date_after_a_reboot(board: Boards) -> None:
    pi = board("raspberry-pi-4")
    left = {"kind": "frequency-cap", "before": "policy0=900000", "during": "policy0=1800000", "survives_boot": False}
    (pi.root / BEFORE).parent.mkdir(parents=True)
    (pi.root / BEFORE).write_text(json.dumps({**left, "boot_id": "another"}))
    with applied(pi.modes(), pi.mode("1200MHz"), settle=at_once) as now:
        assert now.note == ""
    assert pi.cap() == "1800000"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"before": 1}', "null", "\udcff"])
def test_a_broken_note_of_what_was_before_is_passed_over(xavier: Board, content: str) -> None:
    (xavier.root / BEFORE).parent.mkdir(parents=True)
    (xavier.root / BEFORE).write_text(content, errors="surrogateescape")
    with applied(xavier.modes(), xavier.mode("MAXN"), settle=at_once) as now:
        assert now.note == ""
    assert xavier.current == DESKTOP


def test_a_machine_without_modes_says_why(board: Boards, xavier: Board) -> None:
    with (
        pytest.raises(UnavailableError, match="cannot be set: this machine has neither"),
        applied(board("bare").modes(), xavier.mode("MAXN")),
    ):
        pytest.fail("it was set")


class Clock:
    """Time that passes only in pauses."""

    def __init__(self, at_pause: Callable[[int], None] = lambda _count: None) -> None:
        self.now, self._count, self._at_pause = 0.0, 0, at_pause

    def pause(self, seconds: float) -> None:
        self.now += seconds
        self._count += 1
        self._at_pause(self._count)


def test_clocks_have_settled_once_nothing_changes_for_a_second(xavier: Board) -> None:
    core = xavier.machine.sys / "devices/system/cpu/cpu4/online"

    def late(count: int) -> None:
        if count == 5:
            core.write_text("1\n")
        if count == 12:
            core.write_text("0\n")

    clock = Clock(late)
    settled = settle_clocks(xavier.machine, xavier.mode("MODE_15W"), clock=lambda: clock.now, pause=clock.pause)
    # The last change is seen after the 12th pause of 0.1 s.
    assert settled.seconds == pytest.approx(1.2 + QUIET_S, abs=0.11)
    assert settled.note == ""


def test_clocks_that_never_settle_and_cores_that_are_missing_are_told(xavier: Board) -> None:
    core = xavier.machine.sys / "devices/system/cpu/cpu4/online"
    clock = Clock(lambda count: core.write_text(f"{count % 2}\n") and None)
    settled = settle_clocks(xavier.machine, xavier.mode("MODE_15W"), clock=lambda: clock.now, pause=clock.pause)
    assert settled.note == f"cores and clocks were still changing after {TIMEOUT_S:g} s"
    core.write_text("0\n")
    calm = Clock()
    settled = settle_clocks(xavier.machine, xavier.mode("MAXN"), clock=lambda: calm.now, pause=calm.pause)
    assert settled.note == "4 cores are online; mode 0 MAXN has 8"


def test_a_machine_without_cpufreq_has_settled(tmp_path: Path, xavier: Board) -> None:
    clock = Clock()
    settled = settle_clocks(Machine(tmp_path), xavier.mode("MAXN"), clock=lambda: clock.now, pause=clock.pause)
    assert settled.note == ""


def test_an_nvpmodel_that_hangs_is_ended(xavier: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_fer.power_modes.nvpmodel.SET_TIMEOUT_S", 1.0)
    modes = xavier.modes()
    monkeypatch.setenv("EDGE_FER_FAKE_FAULT", "hang")
    start = time.monotonic()
    with ExitStack() as stack, pytest.raises(EdgeFerError, match="did not end within 1 s, and was killed"):
        stack.enter_context(applied(modes, modes.modes[0], settle=at_once))
    assert time.monotonic() - start < 600

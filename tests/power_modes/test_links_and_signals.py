"""Lists that are links, runs that meet, and signals that come while a mode is set to stay."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from powerboard import BEFORE, STATUS, Board, at_once

from edge_fer.errors import UnavailableError
from edge_fer.power_modes.apply import applied
from edge_fer.power_modes.helper import set_it
from edge_fer.power_modes.interruption import Interrupted
from edge_fer.power_modes.lease import FOLDER, LOCK_FILE, Lease
from edge_fer.power_modes.modes import PowerModes
from edge_fer.power_modes.programs import run_program
from edge_fer.power_modes.set import set_power_mode

DESKTOP = "7 MODE_15W_DESKTOP"


def test_the_list_of_a_copied_board_is_its_own_though_its_link_is_absolute(xavier: Board) -> None:
    """As JetPack lays it: /etc/nvpmodel.conf -> /etc/nvpmodel/nvpmodel_t194.conf."""
    conf = xavier.machine.etc / "nvpmodel.conf"
    (xavier.machine.etc / "nvpmodel").mkdir()
    conf.rename(xavier.machine.etc / "nvpmodel" / "nvpmodel_t194.conf")
    conf.symlink_to("/etc/nvpmodel/nvpmodel_t194.conf")
    modes = xavier.modes()
    assert (modes.kind, len(modes.modes), modes.why_none) == ("nvpmodel", 8, "")


def test_a_link_that_leads_nowhere_is_broken_and_no_board_without_modes(xavier: Board) -> None:
    conf = xavier.machine.etc / "nvpmodel.conf"
    conf.unlink()
    conf.symlink_to("/etc/nvpmodel/missing.conf")
    modes = xavier.modes()
    assert modes.kind is None
    assert modes.why_none.endswith("etc/nvpmodel/missing.conf cannot be read: No such file or directory")


class Meeting:
    """A backend that another run leaves at the very moment at which we look for the first time."""

    def __init__(self, modes: PowerModes, other: Lease) -> None:
        assert modes.backend is not None
        self._real, self._other, self._first = modes.backend, other, True
        self.kind, self.modes = self._real.kind, self._real.modes

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    def snapshot(self) -> str:
        found = self._real.snapshot()
        if self._first:
            self._first = False
            self._real.restore("7")  # what it had measured in is over
            self._other.release()
        return found


def test_the_mode_of_a_run_that_is_just_ending_is_not_taken_for_the_one_before(xavier: Board) -> None:
    other, modes = Lease(xavier.machine), xavier.modes()
    other.take()
    assert modes.backend is not None
    modes.backend.set(xavier.mode("MAXN"))
    meeting = PowerModes(xavier.machine, Meeting(modes, other), "")  # type: ignore[arg-type]
    try:
        with applied(meeting, xavier.mode("MODE_15W"), settle=at_once):
            assert xavier.current == "2 MODE_15W"
    except UnavailableError as err:
        assert "busy" in str(err)  # noqa: PT017 - either way is right
        modes.backend.restore("7")
    assert xavier.current == DESKTOP


def slow(board: Board, pid_file: Path) -> None:
    """Let nvpmodel get a signal through us while it sets a mode."""
    program = Path(f"{board.machine.path}/nvpmodel")
    real = program.rename(program.with_name("nvpmodel.real"))
    program.write_text(
        f'#!/bin/sh\ncase "$1" in -m) kill -{int(signal.SIGINT)} $(cat {pid_file}); sleep 0.5;; esac\n'
        f'EDGE_FER_FAKE_BOARD={board.root} exec {real} "$@"\n'
    )
    program.chmod(0o755)


def test_a_ctrl_c_does_not_end_nvpmodel_half_way_when_a_mode_is_set_to_stay(xavier: Board, tmp_path: Path) -> None:
    """Half of its cores switched, and a state that tells the mode before."""
    (tmp_path / "pid").write_text(str(os.getpid()))
    slow(xavier, tmp_path / "pid")
    with pytest.raises(Interrupted):
        set_power_mode(xavier.modes(), "MAXN")
    assert xavier.current == "0 MAXN"


def test_a_helper_that_is_ended_says_so_in_a_line(xavier: Board, tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(str(os.getpid()))
    slow(xavier, tmp_path / "pid")
    assert set_it("MAXN", xavier.machine) == (130, "ended by SIGINT")


def test_a_program_that_leaves_somebody_behind_at_its_output_is_ended(tmp_path: Path) -> None:
    script = tmp_path / "program"
    script.write_text("#!/bin/sh\nsetsid sleep 600 &\necho $! > pid\nwait\n")
    script.chmod(0o755)
    with pytest.raises(UnavailableError, match="did not end within 1 s, and was killed"):
        run_program(["/usr/bin/env", "-C", str(tmp_path), str(script)], 1.0)
    if (tmp_path / "pid").exists():
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


@pytest.mark.parametrize("name", [LOCK_FILE, "before.json"])
def test_links_in_the_folder_of_root_are_not_followed(xavier: Board, tmp_path: Path, name: str) -> None:
    """Only root can lay them; but then nothing of somebody else's is to be overwritten."""
    folder, victim = xavier.root / FOLDER, tmp_path / "victim"
    folder.mkdir(parents=True)
    victim.write_text("untouched\n")
    (folder / name).symlink_to(victim)
    try:
        with applied(xavier.modes(), xavier.mode("MAXN"), settle=at_once):
            pass
    except UnavailableError as err:
        assert "Too many levels of symbolic links" in str(err)  # noqa: PT017 - for the lock
    assert victim.read_text() == "untouched\n"
    assert xavier.current == DESKTOP


def test_a_lock_that_cannot_be_had_at_all_is_not_called_busy(xavier: Board) -> None:
    """In place of the lock something that cannot be opened for writing."""
    (xavier.root / FOLDER / LOCK_FILE).mkdir(parents=True)
    with pytest.raises(UnavailableError, match="cannot be written: Is a directory"):
        set_power_mode(xavier.modes(), "MAXN")
    assert not (xavier.root / STATUS).exists()
    assert not (xavier.root / BEFORE).exists()

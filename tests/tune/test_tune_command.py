"""`edge-fer tune`, as a person types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tunings import of_this_machine, tuned

from edge_fer.cli import INTERRUPTED, main
from edge_fer.commands.tune import DAEMON_RAN
from edge_fer.memory.state_folder import StateFolder
from edge_fer.tflite import installed_runtimes
from edge_fer.tune.tuned import TUNED_FILE, read_tuned, write_tuned

RUNTIME = installed_runtimes()[0]
HOLDS = f"{RUNTIME} float32 1", f"{RUNTIME} - 1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """State folder of the node `lab`, in which no daemon has run yet."""
    made = tmp_path / "state" / "edge-fer" / "lab"
    made.mkdir(parents=True)
    return made


def show(*options: str) -> int:
    return main(["tune", "--show", "--node", "lab", *options])


def test_a_board_that_was_never_tuned_is_told_how(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show() == 1
    assert capsys.readouterr().out == f"not tuned on this board (no {folder / TUNED_FILE}): edge-fer tune\n"


def test_what_is_remembered_is_shown_with_its_evidence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tuned(folder, of_this_machine(*HOLDS))
    assert show() == 0
    told = capsys.readouterr().out
    assert f"expressions: nano_b on {RUNTIME} float32, 1 thread" in told
    assert told.endswith("tuned on 2026-03-01 with edge-fer 1.0.0; holds for this board\n")


def test_what_is_stale_is_shown_with_the_reason(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tuned(folder, tuned())
    assert show() == 1
    assert "stale, not used (board: was Raspberry Pi 5 Model B, is " in capsys.readouterr().out
    write_tuned(folder, of_this_machine(*HOLDS))
    assert show("--network", "nano_a") == 1
    assert "stale, not used (made for nano_b, configured is nano_a)" in capsys.readouterr().out


def test_programs_get_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show("--json") == 1
    assert json.loads(capsys.readouterr().out) == {"stale": [], "file": None, "warnings": [], "tuned": None}
    made = of_this_machine(*HOLDS)
    write_tuned(folder, made)
    assert show("--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["stale"], told["file"]) == ([], str(folder / TUNED_FILE))
    assert told["tuned"] == made.model_dump(mode="json")


def test_the_folder_of_the_configuration_is_looked_into(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "edge-fer.toml"
    file.write_text(f'state_dir = "{tmp_path / "mine"}"\ncamera.front.uri = "sample:"\n')
    assert main(["tune", "--show", "--config", str(file)]) == 1
    assert f"(no {tmp_path / 'mine' / TUNED_FILE})" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--for", "joules"], 2, "'joules' is not one of 'speed', 'energy'"),
        (["--seconds", "0"], 2, "0.0 is not in the range 0.5<=x<=600"),
        (["--network", "nano_c"], 2, "'nano_c' is not one of"),
        (["--show", "--for", "speed"], 2, "--show measures nothing; leave --for, --seconds and --dry-run out"),
        (["--show", "--dry-run"], 2, "--show measures nothing"),
        (["--node", "../BAD"], 2, "--node '../BAD': the name of a node is 1 to 63 lower case letters"),
        (["--node", ""], 2, "--node '': the name of a node"),
        (["--config", "missing.toml"], 78, "missing.toml: cannot be read"),
    ],
)
def test_bad_input_is_told_in_a_line(
    options: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", *options]) == code
    assert told in capsys.readouterr().err


def test_a_damaged_file_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / TUNED_FILE).write_text("{")
    assert show() == 69
    assert f"{folder / TUNED_FILE}: damaged" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert main(["tune", "--node", "lab"]) == 69
    assert "cannot be written (Not a directory); run it as the daemon's user" in capsys.readouterr().err


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "edge_fer", "tune", "--node", "lab", "--seconds", "0.5", *options]


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*options), capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.system
def test_a_board_is_tuned_and_its_daemon_uses_it(folder: Path) -> None:
    done = run("--json", "--for", "speed")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    made = read_tuned(folder)
    assert made is not None
    assert told["tuned"] == made.model_dump(mode="json")
    assert told["file"] == str(folder / TUNED_FILE)
    assert made.goal == "speed"
    assert {one.way.threads for one in made.network.measurements} >= {1}
    assert show() == 0
    daemon = [sys.executable, "-m", "edge_fer", "run", "--node", "lab", "--camera", "sample:", "--print"]
    ran = subprocess.run(daemon, capture_output=True, text=True, check=True, timeout=600)
    assert f"tuned on {made.day} for speed: nano_b on {made.network.winner}" in ran.stderr


@pytest.mark.system
def test_a_dry_run_leaves_nothing_behind(folder: Path) -> None:
    done = run("--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("nothing written\n")
    assert "expressions: nano_b on " in done.stdout
    assert list(folder.iterdir()) == []


@pytest.mark.system
def test_a_daemon_that_runs_meanwhile_is_told(folder: Path) -> None:
    daemon = StateFolder(folder)
    done = run()
    daemon.close()
    assert done.returncode == 0, done.stderr
    assert "warning: the daemon of this node runs; stop it first" in done.stderr
    made = read_tuned(folder)
    assert made is not None
    assert DAEMON_RAN in made.doubts  # so the daemon's log and --show tell it, too


@pytest.mark.system
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_that_is_interrupted_keeps_the_tuning_before(folder: Path, number: signal.Signals) -> None:
    write_tuned(folder, tuned())
    with subprocess.Popen([*command(), "--seconds", "600"], stderr=subprocess.PIPE, text=True) as child:
        until_s = time.monotonic() + 120
        # It measures once it has loaded the runtimes.
        while not any(name in _maps(child.pid) for name in ("ai_edge_litert", "tflite_runtime")):
            assert time.monotonic() < until_s
            time.sleep(0.1)
        time.sleep(1)
        os.kill(child.pid, number)
        assert child.wait(60) == INTERRUPTED
        assert child.stderr
        assert "Traceback" not in child.stderr.read()
    assert read_tuned(folder) == tuned()
    assert [one.name for one in folder.iterdir()] == [TUNED_FILE]


def _maps(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()

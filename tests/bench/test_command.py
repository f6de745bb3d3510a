"""`edge-fer bench` and `edge-fer --power-mode 15W`: what may be asked for, and the whole command on every board."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fixture import BOARD_KEYS, TOTAL_W, board_tree
from scripted_board import golden

from edge_fer.cli import main
from edge_fer.power_modes.modes import open_power_modes
from edge_fer.sensors.machine import Machine

POWER_MODE = {"jetson-nano": "5W", "jetson-agx-orin": "30W"}
"""The others: 15W, which the machines without modes do not have; on an AGX Orin it needs a reboot."""


@pytest.fixture
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """An AGX Xavier, or the board that is asked for; its nvpmodel believes that root calls it."""
    # The name of its folder is always as long, so that lines with it break at the same word.
    with tempfile.TemporaryDirectory(prefix="b", dir="/tmp") as folder:
        machine = board_tree(getattr(request, "param", "jetson-agx-xavier"), Path(folder))
        monkeypatch.setenv("EDGE_FER_FAKE_BOARD", str(machine.root))
        monkeypatch.setenv("EDGE_FER_FAKE_UID", "0")
        yield machine


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--power-mode", "15"], 2, "did you mean 15W?"),
        (["--power-mode", "15 w"], 2, "did you mean 15W?"),
        (["--power-mode", "banana"], 2, "3 MODE_30W_ALL"),
        (["--power-mode", ""], 2, "there is no power mode"),
        (["--power-mode", "MODE_10W"], 69, "needs a reboot"),
        (["--all-modes", "--power-mode", "15W"], 2, "give one of them"),
        (["--all-modes", "--baseline", "keras"], 2, "name it with --power-mode"),
        (["--all-modes", "--cameras", "2"], 2, "name it with --power-mode"),
        (["bench", "--baseline", "torch"], 2, "keras"),
        (["bench", "--seconds", "0"], 2, "--seconds"),
        (["bench", "--threads", "999"], 2, "the cores of this machine"),
        (["bench", "--threads", "0"], 2, "the cores of this machine"),
        (["bench", "--threads", "one"], 2, "the cores of this machine"),
        (["bench", "--plot", "/nowhere/plot.png"], 2, "there is no folder /nowhere"),
        (["bench", "--plot", "plot.bmp"], 2, ".png, .svg or .html"),
        (["bench", "--clip", __file__], 69, "not a video"),
    ],
)
def test_a_wrong_command_line_is_explained_before_anything_is_measured(
    options: list[str], code: int, told: str, machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*options, "--root", str(machine.root)]) == code
    out, err = capfd.readouterr()
    assert told in err
    assert "Traceback" not in err
    assert out == ""


def test_setting_a_mode_without_root_says_what_to_run(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGE_FER_FAKE_UID", "1000")
    assert main(["--power-mode", "15W", "--root", str(machine.root)]) == 69
    assert "sudo edge-fer" in capfd.readouterr().err


def test_a_root_that_is_no_folder_is_a_mistake(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--root", "/nowhere"]) == 2
    assert "there is no such folder" in capfd.readouterr().err


def test_the_help_tells_that_a_power_mode_is_enough(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "edge-fer --power-mode 15W" in capfd.readouterr().out
    assert main(["--power-mode", "15W", "--help"]) == 0
    assert "--all-modes" in capfd.readouterr().out


def command(machine: Machine, options: Sequence[str]) -> list[str]:
    few = ["--threads", "1", "--network", "nano_b", "--root", str(machine.root)]
    return [sys.executable, "-m", "edge_fer", *options, *few]


def run(machine: Machine, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(machine, options), capture_output=True, text=True, check=False, timeout=300)


def without_speeds(text: str, root: Path) -> str:
    """Watts stay; what depends on how fast this machine is, and who else uses it, becomes "#"."""
    text = re.sub(r"read below\s+\S+;[^.]+\.", "read below ROOT; ...", text.replace(str(root), "ROOT"))
    lines = []
    for line in text.splitlines():
        cells = line.lstrip("! ").split()
        if line.startswith("  software "):
            line = "  software     VERSIONS"  # noqa: PLW2901
        elif re.match(r"  measured at |edge-fer ", line):
            line = re.sub(r"\d[\w.:-]*", "#", line)  # noqa: PLW2901
        elif cells[:1] == ["nano_b"] and "tflite-runtime" in cells:
            continue  # not every Python has it
        elif cells[:1] == ["nano_b"] and cells[1] != "paper:":
            watts, temperature = cells[9:11], cells[13]
            nominal, joules = ("-" if cell == "-" else "#" for cell in (cells[8], cells[11]))
            line = " ".join([*cells[:4], "# # # #", nominal, *watts, joules, "degC", temperature])  # noqa: PLW2901
        elif cells[:2] == ["sample", "clip"] and len(cells) == 13:
            line = " ".join(["sample clip # # # # # # #", *cells[9:11], "degC", cells[12]])  # noqa: PLW2901
        lines.append(line)
    kept = "\n".join(lines).partition("In short")[0]
    kept = re.sub(r"\n    CPU ms of a frame.*?(?=\n\n)", "", kept, flags=re.DOTALL)
    kept = re.sub(r"  - while the idle floor was measured:(.|\n    )*\n", "", kept)
    return re.sub(r"^  ! (.|\n    )*\n", "", kept, flags=re.MULTILINE)


@pytest.mark.parametrize("machine", ["bare"], indirect=True)
def test_a_clip_goes_through_the_whole_pipeline(
    machine: Machine, make_clip: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    few = ["--threads", "1", "--network", "nano_b", "--seconds", "0.1", "--root", str(machine.root), "--json"]
    assert main(["bench", "--clip", str(make_clip(frames=5)), *few]) == 0
    out, err = capfd.readouterr()
    told = json.loads(out)
    (mode,) = told["modes"]
    assert {row["network"] for row in mode["rows"]} == {"nano_b"}
    assert all(row["speed"]["energy"] is None and row["speed"]["energy_missing"] for row in mode["rows"])
    (clip,) = mode["pipeline"]
    assert (clip["frames"], clip["faces_read"], clip["first_event_s"]) == (5, 0, None)
    stages = clip["stages_cpu_ms"]
    assert stages["all"] > stages["decode"] > 0
    parts = sum(spent for stage, spent in stages.items() if stage not in ("all", "all but decode"))
    assert parts == pytest.approx(stages["all"], abs=0.01)
    assert clip["speed"]["images"] == 5  # each frame is timed
    assert "only 5 images" in clip["speed"]["disturbed"]
    assert "[1/" in err


@pytest.mark.system
@pytest.mark.parametrize("machine", BOARD_KEYS, indirect=True)
def test_the_whole_command_on_every_board(machine: Machine) -> None:
    """Its watts are those that README.md of the boards adds up by hand: files stand still, so idle is the total."""
    key = machine.root.name
    before = open_power_modes(machine).current()
    done = run(machine, "--power-mode", POWER_MODE.get(key, "15W"), "--seconds", "1.2")
    assert done.returncode == 0, done.stderr
    text = without_speeds(done.stdout, machine.root)
    file = golden(f"process/{key}.txt")
    if os.environ.get("EDGE_FER_WRITE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text()
    if key in TOTAL_W:
        assert f" {TOTAL_W[key]:.2f} 0.00 " in text
    assert open_power_modes(machine).current() == before


@pytest.mark.system
def test_the_json_is_alone_on_the_standard_output(machine: Machine) -> None:
    done = run(machine, "--power-mode", "15W", "--seconds", "1.2", "--json")
    told: dict[str, Any] = json.loads(done.stdout)
    assert (told["modes"][0]["mode"], told["modes"][0]["idle_w"]) == ("2 MODE_15W", 11.94)
    assert "idle floor" in done.stderr


@pytest.mark.system
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_with_130_restores_the_mode_and_shows_what_it_has(
    number: signal.Signals, machine: Machine
) -> None:
    words = command(machine, ["--power-mode", "15W", "--seconds", "3"])
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if "float32" in line:
                break
        now = open_power_modes(machine).current()
        child.send_signal(number)
        out, err = child.communicate(timeout=60)
    assert now is not None
    assert now.id == 2
    assert child.returncode == 130
    assert "Interrupted" in out
    assert "nano_b  int8" in out
    assert "Traceback" not in err
    after = open_power_modes(machine).current()
    assert after is not None
    assert after.id == 7


FAILS_IN_MODE_3 = """#!/bin/sh
case "$*" in *"-m 3"*) echo "NVPM ERROR: cannot set it" >&2; exit 1;; esac
exec "{real}" "$@"
"""


@pytest.mark.system
def test_an_error_midway_does_not_cost_what_was_measured_before_it(machine: Machine) -> None:
    program = machine.root / "usr/bin/nvpmodel"
    real = program.with_name("nvpmodel.real")
    program.rename(real)
    program.write_text(FAILS_IN_MODE_3.format(real=real))
    program.chmod(0o755)
    done = run(machine, "--all-modes", "--seconds", "0.1")
    assert done.returncode == 69
    assert "Power mode 2 MODE_15W" in done.stdout
    assert "Ended by an error" in done.stdout
    assert "Power mode 4" not in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.system
def test_a_reader_who_leaves_takes_no_picture_with_him(machine: Machine, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pip install 'edge-fer[bench]'")
    words = command(machine, ["bench", "--seconds", "0.1", "--plot", str(tmp_path / "plot.svg")])
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.close()
        assert child.stderr is not None
        err = child.stderr.read()
        child.wait(timeout=120)
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["plot.svg"]


@pytest.mark.system
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_is_impatient_sees_what_was_measured_too(number: signal.Signals) -> None:
    """Several times, while the whole pipeline runs, and without any power mode."""
    words = [sys.executable, "-m", "edge_fer", "bench", "--seconds", "0.5", "--threads", "1", "--network", "nano_b"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if "whole pipeline" in line:
                break
        while child.poll() is None:
            child.send_signal(number)
            time.sleep(0.2)
        out, err = child.communicate(timeout=60)
    # The last signals may come when all is done, and Python is ending.
    assert child.returncode in (130, -number)
    assert "nano_b  int8" in out
    assert "Traceback" not in err


def test_the_programs_of_a_copy_tell_which_mode_is_set(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power-mode", "--root", str(machine.root)]) == 0
    assert "*   7 MODE_15W_DESKTOP" in capsys.readouterr().out

"""`edge-fer doctor` as it is run: a process, its exit code, its output; and that nothing breaks the whole of it."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_fer.doctor import examine
from edge_fer.doctor.examine import CODES, FIRST, OF_CONFIG, TOGETHER, Check
from edge_fer.doctor.finding import RESULTS, Finding, ok
from edge_fer.doctor.patient import Patient, Place
from edge_fer.errors import UnavailableError
from edge_fer.sensors.machine import Machine

MANUAL = Path(__file__).parents[2] / "docs" / "doctor.md"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def doctor(tmp_path: Path) -> Run:
    """Runs the command with no programs but its own Python, so that this machine's systemd has no part in it."""

    def run(*options: str, **environ: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edge_fer", "doctor", *options]
        own = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "PATH": str(tmp_path), "COLUMNS": "80"}
        return subprocess.run(
            command, capture_output=True, text=True, env={**own, **environ}, check=False, stdin=subprocess.DEVNULL
        )

    return run


def configuration(tmp_path: Path, text: str) -> str:
    path = tmp_path / "node.toml"
    path.write_text(text)
    return str(path)


def test_without_a_configuration_the_machine_alone_is_looked_at(doctor: Run) -> None:
    done = doctor("--json")
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert list(dict.fromkeys(entry["check"] for entry in found)) == list(CODES)
    assert {entry["result"] for entry in found} <= set(RESULTS)
    assert {entry["check"] for entry in found if entry["found"].startswith("no configuration")} == OF_CONFIG
    assert {entry["result"] for entry in found if entry["check"] in ("python", "packages", "inference")} == {"ok"}
    assert done.returncode == (1 if any(entry["result"] == "failed" for entry in found) else 0)


def test_a_good_configuration_ends_with_0_and_a_closing_line(doctor: Run, tmp_path: Path) -> None:
    file = configuration(tmp_path, f'node = "lab"\nstate_dir = "{tmp_path}/state"\n[camera.front]\nuri = "sample:"\n')
    done = doctor("--config", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^ok +camera front +sample clip: 640x360", done.stdout, re.MULTILINE)
    assert re.match(r"(All is well|It works, with \d+ warnings?)[:;] ", done.stdout.splitlines()[-1])
    assert "\x1b[" not in done.stdout


def test_a_wrong_configuration_is_a_failed_check_with_all_its_lines(doctor: Run, tmp_path: Path) -> None:
    file = configuration(tmp_path, 'node = "My Node"\ntelemetry_s = "often"\n[camera.front]\nurl = "sample:"\n')
    done = doctor("--config", file, "--json")
    assert done.returncode == 1
    told = next(entry for entry in json.loads(done.stdout) if entry["check"] == "configuration")
    assert told["result"] == "failed"
    for part in ("node: found 'My Node'", "telemetry_s: found 'often'", "camera.front.uri: missing", "did you mean"):
        assert part in told["found"]
    results = {entry["check"]: entry["result"] for entry in json.loads(done.stdout)}
    assert {results[code] for code in OF_CONFIG} == {"skipped"}
    assert results["python"] == "ok"


def test_a_configuration_that_is_not_there_is_a_failed_check(doctor: Run) -> None:
    done = doctor("--config", "/nowhere/node.toml")
    assert done.returncode == 1
    assert "/nowhere/node.toml: cannot be read (No such file or directory)" in " ".join(done.stdout.split())


@pytest.mark.parametrize("options", [["--colour"], ["now"], ["--config"]])
def test_a_wrong_command_line_is_a_matter_of_usage(doctor: Run, options: list[str]) -> None:
    done = doctor(*options)
    assert (done.returncode, done.stdout) == (2, "")


def test_no_secret_is_shown_anywhere(doctor: Run, tmp_path: Path) -> None:
    file = configuration(
        tmp_path,
        """
        [broker]
        url = "mqtt://me@127.0.0.1:1"
        [camera.hall]
        uri = "http://me:s3cret@127.0.0.1:1/x?token=t0ken"
        [camera.door]
        uri = "exec:false --password pa55word"
        """,
    )
    environ = {"EDGE_FER_MQTT_PASSWORD": "mqtt-s3cret"}
    shown = [doctor("--config", file, *options, **environ) for options in (["-v"], ["--json"])]
    for done in shown:
        assert done.returncode == 1
        for secret in ("s3cret", "t0ken", "pa55word"):
            assert secret not in done.stdout + done.stderr


def test_a_processor_that_a_package_does_not_fit_fails_the_look(doctor: Run, tmp_path: Path) -> None:
    (tmp_path / "lap.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    done = doctor(PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert re.search(r"^failed +packages lap +the process was ended by SIGILL", done.stdout, re.MULTILINE)
    assert "Traceback" not in done.stdout + done.stderr


def place(tmp_path: Path) -> Place:
    return Place(machine=Machine(tmp_path, ""), dev=tmp_path)


def breaks(patient: Patient) -> list[Finding]:
    raise ZeroDivisionError(f"mqtt://me:s3cret@x {patient.config_file}")


def is_not_there(patient: Patient) -> list[Finding]:
    raise UnavailableError(f"no such thing below {patient.place.dev}")


def hangs(patient: Patient) -> list[Finding]:
    time.sleep(3600)
    return [ok(str(patient))]


def works(patient: Patient) -> list[Finding]:
    return [ok(f"at {patient.place.dev}")]


def test_one_broken_check_never_hides_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of checks is replaced by one that holds the worst."""
    checks = tuple(Check(name, f"{name}.look") for name in ("breaks", "is_not_there", "works", "hangs"))
    for name in ("breaks", "is_not_there", "works", "hangs"):
        module = type(sys)(f"edge_fer.doctor.{name}")
        module.look = globals()[name]  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(examine, "FIRST", checks[:1])
    monkeypatch.setattr(examine, "TOGETHER", (*checks[1:3], checks[3]._replace(limit_s=0.2)))
    found = examine.examine(place(tmp_path))
    assert [(one.check, one.result) for one in found] == [
        ("breaks", "failed"),
        ("configuration", "skipped"),
        ("is_not_there", "failed"),
        ("works", "ok"),
        ("hangs", "failed"),
    ]
    assert "this check itself failed (ZeroDivisionError" in found[0].found
    assert "s3cret" not in found[0].found
    assert found[2].found == f"no such thing below {tmp_path}"
    assert "no answer within 0.2 s" in found[4].found


def test_every_check_can_be_found() -> None:
    for check in (*FIRST, *TOGETHER):
        module, _, function = check.where.partition(".")
        assert callable(getattr(importlib.import_module(f"edge_fer.doctor.{module}"), function)), check.code
    assert set(CODES) >= OF_CONFIG
    assert len(set(CODES)) == len(CODES)


def test_the_manual_has_a_section_for_every_check_and_no_other() -> None:
    sections = re.findall(r"^### (.+)$", MANUAL.read_text(encoding="utf-8"), re.MULTILINE)
    assert sections == list(CODES)


def test_the_command_loads_nothing_that_may_end_its_process_before_it_was_tried() -> None:
    unwanted = ("numpy", "cv2", "lap", "tflite_runtime", "ai_edge_litert", "pydantic", "psutil", "paho")
    script = "import sys, edge_fer.commands.doctor, edge_fer.doctor.examine, edge_fer.doctor.show\n"
    script += f"import edge_fer.doctor.software\nprint([name for name in {unwanted!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

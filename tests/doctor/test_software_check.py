"""Packages that end their process, that want another system, that are not there: in real children."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from edge_fer.doctor.children import OPENBLAS, STEP_S, Step, signal_name, steps
from edge_fer.doctor.examine import CONFIG_MODULE, examine
from edge_fer.doctor.finding import Finding
from edge_fer.doctor.patient import Patient, Place
from edge_fer.doctor.software import (
    PACKAGES,
    RUNTIMES,
    check_inference,
    check_packages,
    check_python,
    check_runtime,
    cure,
)
from edge_fer.sensors.machine import Machine
from edge_fer.tflite import installed_runtimes

DIES = "import os, signal\nos.kill(os.getpid(), signal.{name})\n"
REAL_ONE = """\
import importlib, sys
sys.path.remove({folder!r})
del sys.modules[{name!r}]
importlib.import_module({name!r})
"""

Made = Callable[..., Patient]


@pytest.fixture
def shadow(tmp_path: Path) -> Callable[[str, str], dict[str, str]]:
    """Puts a module of ours before a real one; the environment in which it is found."""
    folder = tmp_path / "shadow"

    def make(module: str, source: str) -> dict[str, str]:
        path = folder.joinpath(*module.split("."))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".py").write_text(source)
        return {**os.environ, "PYTHONPATH": str(folder), "XDG_STATE_HOME": str(tmp_path)}

    return make


def told(findings: list[Finding], about: str) -> Finding:
    return next(finding for finding in findings if finding.about == about)


def test_a_sound_installation_has_nothing_to_complain_of(make_patient: Made) -> None:
    patient = make_patient(None)
    findings = [*check_python(patient), *check_packages(patient), *check_runtime(patient)]
    assert {finding.result for finding in findings} == {"ok"}
    assert f"numpy {version('numpy')}" in findings[1].found
    assert patient.broken == set()


@pytest.mark.parametrize(
    ("name", "words", "help_"),
    [
        ("SIGILL", "SIGILL (illegal instruction)", "this processor lacks instructions that lap was built for"),
        ("SIGSEGV", "SIGSEGV (segmentation fault)", "the build of lap does not fit this system"),
        ("SIGKILL", "SIGKILL (killed)", "the kernel needed its memory"),
        ("SIGBUS", "SIGBUS (bus error)", "damaged"),
    ],
)
def test_a_package_that_ends_its_process_is_named_with_the_signal(
    make_patient: Made, shadow: Callable[[str, str], dict[str, str]], name: str, words: str, help_: str
) -> None:
    patient = make_patient(None, environ=shadow("lap", DIES.format(name=name)), processor="x86_64")
    findings = check_packages(patient)
    found = told(findings, "lap")
    assert (found.result, found.found) == ("failed", f"the process was ended by {words}")
    assert help_ in found.cure
    assert "OPENBLAS" not in found.cure  # of no use on a PC
    assert "opencv-python-headless" in findings[0].found  # the others are looked at all the same
    assert "lap" in patient.broken


def test_numpy_that_dies_on_a_jetson_is_tried_with_the_cure_that_helps_there(
    make_patient: Made, shadow: Callable[[str, str], dict[str, str]], tmp_path: Path
) -> None:
    alive = REAL_ONE.format(folder=str(tmp_path / "shadow"), name="numpy")
    unless_cured = "import os, signal\nif os.environ.get('OPENBLAS_CORETYPE') != 'ARMV8':\n"
    unless_cured += "    os.kill(os.getpid(), signal.SIGILL)\n"
    patient = make_patient(None, environ=shadow("numpy", unless_cured + alive), processor="aarch64")
    findings = check_packages(patient)
    found = told(findings, "numpy")
    assert found.result == "failed"
    assert "SIGILL" in found.found
    assert found.cure.startswith("works with OPENBLAS_CORETYPE=ARMV8")
    assert "Environment=OPENBLAS_CORETYPE=ARMV8" in found.cure
    # What needs numpy would only die as well, and is not listed beside it.
    assert [finding.about for finding in findings] == ["", "numpy"]
    assert patient.broken == {"numpy", CONFIG_MODULE}
    assert [finding.result for finding in check_runtime(patient)] == ["skipped"]
    assert [finding.result for finding in check_inference(patient)] == ["skipped"]


def test_numpy_that_dies_whatever_is_tried_says_so(
    make_patient: Made, shadow: Callable[[str, str], dict[str, str]]
) -> None:
    patient = make_patient(None, environ=shadow("numpy", DIES.format(name="SIGILL")), processor="aarch64")
    found = told(check_packages(patient), "numpy")
    assert found.cure.startswith("OPENBLAS_CORETYPE=ARMV8 does not help; this processor lacks instructions")


def test_a_dead_numpy_hides_no_check_that_does_without(
    shadow: Callable[[str, str], dict[str, str]], tmp_path: Path
) -> None:
    environ = shadow("numpy", DIES.format(name="SIGILL"))
    place = Place(machine=Machine(tmp_path, ""), dev=tmp_path, environ=environ, processor="x86_64")
    (tmp_path / "node.toml").write_text('[camera.front]\nuri = "sample:"\n')
    results = {finding.check: finding.result for finding in examine(place, tmp_path / "node.toml")}
    assert results["packages"] == "failed"
    assert results["state-folder"] == results["python"] == "ok"
    assert results["configuration"] == results["camera"] == results["broker"] == results["inference"] == "skipped"


@pytest.mark.parametrize(
    ("error", "help_"),
    [
        ("/lib/libc.so.6: version `GLIBC_2.34' not found (required by x.so)", "it needs glibc 2.34"),
        ("/lib/libc.so.6: version `GLIBC_2.34' not found", "ai-edge-litert==2.1.0"),
        ("libGL.so.1: cannot open shared object file", "opencv-python-headless"),
        ("libstdc++.so.6: cannot open shared object file: No such file or directory", "apt-get install libstdc++6"),
        ("/usr/lib/libgomp.so.1: cannot allocate memory in static TLS block", "LD_PRELOAD=/usr/lib/libgomp.so.1"),
        ("numpy.core.multiarray failed to import", "pip install 'numpy<2'"),
        ("undefined symbol: xnn_go", "pip install --force-reinstall ai-edge-litert"),
    ],
)
def test_what_an_import_complains_of_has_its_cure(
    make_patient: Made, shadow: Callable[[str, str], dict[str, str]], error: str, help_: str
) -> None:
    environ = shadow("ai_edge_litert.interpreter", f"raise ImportError({error!r})")
    shadow("ai_edge_litert.__init__", "")
    findings = check_runtime(make_patient(None, environ=environ))
    found = told(findings, "ai-edge-litert")
    # With tflite-runtime, which has no wheel for newer Pythons, the daemon runs all the same.
    assert found.result == ("warning" if "tflite-runtime" in installed_runtimes() else "failed")
    assert error in found.found
    assert help_ in found.cure


def test_a_package_that_is_missing_is_named_with_what_installs_it(make_patient: Made) -> None:
    step = Step("lap=lap", {}, "ModuleNotFoundError: No module named 'lap'")
    assert cure(make_patient(None), step, PACKAGES[-1]).startswith("pip install lap")


def test_a_runtime_that_ends_its_process_ends_the_daemon_too(
    make_patient: Made, shadow: Callable[[str, str], dict[str, str]]
) -> None:
    environ = shadow("ai_edge_litert.interpreter", DIES.format(name="SIGSEGV"))
    shadow("ai_edge_litert.__init__", "")
    found = told(check_runtime(make_patient(None, environ=environ)), RUNTIMES[0].distribution)
    assert (found.result, found.found) == ("failed", "the process was ended by SIGSEGV (segmentation fault)")


def test_each_network_runs_once_and_tells_its_share_of_xnnpack(make_patient: Made) -> None:
    findings = check_inference(make_patient(""))
    assert {finding.result for finding in findings} == {"ok"}
    assert findings[-1].about.startswith("emotionnet_nano_b")
    assert "ms on " in findings[-1].found
    assert " operators" in findings[-1].found


@pytest.mark.skipif("tflite-runtime" not in installed_runtimes(), reason="tflite-runtime has no wheel for this Python")
def test_a_network_that_would_run_slowly_is_refused_with_the_way_out(make_patient: Made) -> None:
    text = '[model]\nruntime = "tflite-runtime"\nprecision = "int8"\n'
    (finding,) = check_inference(make_patient(text))
    assert finding.result == "failed"
    assert "XNNPACK takes only" in finding.found
    assert '"auto"' in finding.cure


def test_an_inference_that_ends_its_process_is_told(
    make_patient: Made, shadow: Callable[[str, str], dict[str, str]]
) -> None:
    dies = (
        f"class Interpreter:\n    def __init__(self, **_):\n        {DIES.format(name='SIGILL').replace(chr(10), ';')}"
    )
    shadow("tflite_runtime.interpreter", dies)
    environ = shadow("ai_edge_litert.interpreter", dies)
    for package in ("tflite_runtime", "ai_edge_litert"):
        shadow(f"{package}.__init__", "")
    (finding,) = check_inference(make_patient(None, environ=environ, processor="aarch64"))
    assert "SIGILL" in finding.found
    assert "the TFLite runtime was built for" in finding.cure


def test_a_python_that_cannot_be_started_is_told(make_patient: Made) -> None:
    findings = check_packages(make_patient(None, python="/nowhere/python"))
    assert told(findings, "numpy").found == "/nowhere/python: cannot be started (No such file or directory)"


def test_a_python_that_only_talks_is_told(make_patient: Made, make_program: Callable[[str, str], Path]) -> None:
    python = make_program("python", "echo '[1]'; echo hello; echo broken wheel >&2; exit 3")
    findings = check_packages(make_patient(None, python=str(python)))
    assert told(findings, "numpy").found == "Python ended with 3: broken wheel"


def test_each_word_has_a_step_whatever_happens(shadow: Callable[[str, str], dict[str, str]]) -> None:
    shadow("one", DIES.format(name="SIGILL"))
    environ = shadow("three", DIES.format(name="SIGSEGV"))
    done = steps(Place(environ=environ), "import", ["json", "one", "nowhere", "three", "csv"])
    assert [step.name for step in done] == ["json", "one", "nowhere", "three", "csv"]
    assert [step.signal for step in done] == [0, signal.SIGILL, 0, signal.SIGSEGV, 0]
    assert [step.good for step in done] == [True, False, False, False, True]
    assert done[2].error == "ModuleNotFoundError: No module named 'nowhere'"


def test_signals_and_silence_have_words() -> None:
    assert signal_name(signal.SIGILL) == "SIGILL (illegal instruction)"
    assert signal_name(250) == "signal 250"
    assert Step("x", {}, silent_s=STEP_S).problem == f"no answer within {STEP_S:g} s"
    assert OPENBLAS == {"OPENBLAS_CORETYPE": "ARMV8"}
    assert Place().python == sys.executable


def test_a_missing_package_of_one_check_skips_that_check_alone(
    shadow: Callable[[str, str], dict[str, str]], tmp_path: Path
) -> None:
    environ = shadow("paho.mqtt.client", "raise ModuleNotFoundError('no paho')")
    for package in ("paho", "paho.mqtt"):
        shadow(f"{package}.__init__", "")
    place = Place(machine=Machine(tmp_path, ""), dev=tmp_path, environ=environ)
    (tmp_path / "node.toml").write_text('[broker]\nurl = "mqtt://127.0.0.1"\n[camera.front]\nuri = "sample:"\n')
    found = {finding.check: finding for finding in examine(place, tmp_path / "node.toml")}
    assert found["broker"].found == "needs paho.mqtt.client, which does not import"
    assert found["encryption"].result == found["camera"].result == found["configuration"].result == "ok"

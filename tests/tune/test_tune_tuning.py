"""From contenders to a tuning, with scripted figures; and what runs on this machine at all."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tunings import BOARD, speed, way

from edge_fer.bench.figures import Speed
from edge_fer.bench.window import Busy, Clocks
from edge_fer.classify import model_path
from edge_fer.config import ModelSettings
from edge_fer.errors import UnavailableError
from edge_fer.tflite import installed_runtimes
from edge_fer.tracking.search import DetectorSettings
from edge_fer.tune.contenders import Contender, Contenders, load_contenders, thread_counts
from edge_fer.tune.show import report, verdict, warnings
from edge_fer.tune.trial import first_inference
from edge_fer.tune.tuned import Tuned
from edge_fer.tune.tuning import Meter, Progress, tune

NETWORK = {"litert int8 1": (1.0, 0.004), "litert int8 2": (0.6, 0.006), "litert float32 1": (2.0, 0.009)}
SEARCH = {"litert - 1": (10.0, 0.05), "tflite-runtime - 1": (9.0, 0.045)}

Figures = dict[str, tuple[float, float | None]]


def contenders(figures: Figures) -> list[Contender]:
    return [Contender(way(text), lambda result=result: result) for text, result in figures.items()]


def board(network: Figures | None = None, search: Figures | None = None) -> Callable[..., Contenders]:
    found = Contenders(contenders(network or NETWORK), contenders(search or SEARCH), ("tflite-runtime int8: slow",), ())
    return lambda _model, _detector: found


def scripted(once: Callable[[], object], *, seconds: float) -> Speed:
    assert seconds == pytest.approx(0.5)
    ms, joules = once()  # type: ignore[misc]
    return speed(ms, joules=joules)


MEASURED = Meter(scripted, "measured")
BLIND = Meter(
    lambda once, *, seconds: scripted(lambda: (once()[0], None), seconds=seconds),  # type: ignore[index]
    "unavailable",
    "this board has no power sensor",
)


def quiet(others_cores: float = 0.0) -> Clocks:
    """A second between two looks at the kernel; nobody but others uses the cores."""
    now_s = -1

    def told() -> Busy:
        nonlocal now_s
        now_s += 1
        return Busy(others_cores * now_s, 0.0, 0.0)

    return Clocks(wall_ns=lambda: now_s * 1_000_000_000, busy=told)


def run(meter: Meter, *, clocks: Clocks | None = None, **options: Any) -> Tuned:
    return tune(
        ModelSettings(),
        DetectorSettings(),
        meter,
        seconds=3.0,
        load=options.pop("load", board()),
        basis=lambda: BOARD,
        clocks=clocks or quiet(),
        unix_ns=lambda: 1_772_359_200_000_000_000,
        **options,
    )


def test_joules_decide_where_they_are_measured() -> None:
    found = run(MEASURED)
    assert (found.goal, found.goal_note, found.power_source) == ("energy", "", "measured")
    assert found.network.winner == way("litert int8 1")
    assert found.detector.winner == way("litert - 1")  # a second runtime that saves 10 %: not worth its memory
    assert found.measured_at == "2026-03-01T10:00:00.000Z"
    assert found.doubts == ()
    assert found.network.left_out == ("tflite-runtime int8: slow",)
    assert sorted(found.network.models) == ["emotionnet_nano_b_float32.tflite", "emotionnet_nano_b_int8.tflite"]
    assert all(len(sha256) == 64 for sha256 in found.network.models.values())


def test_speed_decides_where_no_watts_are_and_where_it_is_asked_for() -> None:
    blind = run(BLIND)
    assert (blind.goal, blind.network.winner) == ("speed", way("litert int8 2"))
    assert blind.goal_note == "no watts are measured here (this board has no power sensor)"
    asked = run(MEASURED, wanted="speed")
    assert (asked.goal, asked.goal_note, asked.network.winner) == ("speed", "", way("litert int8 2"))


def test_energy_that_nobody_can_measure_is_refused_before_anything_is_loaded() -> None:
    def load(*_: object) -> Contenders:
        raise AssertionError

    with pytest.raises(UnavailableError, match=r"--for energy: no watts are measured here \(this board has no power"):
        run(BLIND, wanted="energy", load=load)


@pytest.mark.parametrize("joules", [None, -0.0001])
def test_a_sensor_that_tells_too_little_leaves_it_to_speed(joules: float | None) -> None:
    load = board(network={**NETWORK, "litert int8 2": (0.6, joules)})
    found = run(MEASURED, load=load)
    assert (found.goal, found.network.winner) == ("speed", way("litert int8 2"))
    assert "measure longer (--seconds)" in found.goal_note
    with pytest.raises(UnavailableError, match="--for energy: the power sensor told too little"):
        run(MEASURED, wanted="energy", load=load)


def test_estimated_watts_decide_and_are_called_so() -> None:
    found = run(Meter(scripted, "estimated", "estimated: the sum of the PMIC's rails, fitted"))
    assert found.goal == "energy"
    assert found.goal_note == "estimated: the sum of the PMIC's rails, fitted"


def test_other_programs_are_a_doubt() -> None:
    found = run(BLIND, clocks=quiet(others_cores=1.5))
    assert found.doubts == ("while it was measured, other programs used 1.5 cores",)


def test_a_doubtful_idle_floor_is_a_doubt() -> None:
    disturbed = "while the idle floor was measured, other programs used 1.5 cores"
    assert run(Meter(scripted, "measured", doubts=(disturbed,))).doubts == (disturbed,)


def test_progress_counts_every_part_once() -> None:
    told: list[Progress] = []
    run(MEASURED, on_progress=told.append)
    assert [one.done for one in told] == list(range(30))  # six rounds of three and two ways
    assert {one.of for one in told} == {30}
    assert told[0].now == "nano_b on litert int8, 1 thread"
    assert told[-1].now == "full+short on litert, 1 thread"  # the sixth round goes backwards


def test_the_table_for_people_shows_the_winner_first_and_all_figures() -> None:
    lines = report(run(MEASURED))
    assert lines[0] == "Raspberry Pi 5 Model B, Cortex-A76, 4 cores"
    assert lines[2] == "expressions: nano_b on litert int8, 1 thread"
    # 1 ms is 1000 images a second; 4 mJ above the floor and, in 1 ms, 2 W * 1 ms = 2 mJ of it.
    assert lines[5].split() == ["*", "litert", "int8", "1", "1.000", "1000", "1.000", "4.000", "6.000"]
    assert lines[6].split() == ["litert", "int8", "2", "0.600", "1667", "0.600", "6.000", "7.200"]
    assert "  left out: tflite-runtime int8: slow" in lines
    assert lines[-2] == "decided by energy"
    assert "mJ" not in "\n".join(report(run(BLIND)))


def test_doubts_are_warned_of() -> None:
    assert warnings(run(BLIND)) == []
    told = warnings(run(BLIND, clocks=quiet(others_cores=1.5)))
    assert told == ["in doubt: while it was measured, other programs used 1.5 cores"]


def test_the_verdict_names_the_file_and_why_it_is_stale() -> None:
    found, path = run(BLIND), Path("/var/lib/edge-fer/tuned.json")
    assert verdict(found, path, []).endswith("holds for this board")
    assert "stale, not used (cores: was 4, is 2): edge-fer tune" in verdict(found, path, ["cores: was 4, is 2"])


@pytest.mark.parametrize("runtime", installed_runtimes())
def test_what_runs_here_is_loaded_and_what_does_not_is_told(runtime: Any) -> None:
    found = load_contenders(
        ModelSettings(), DetectorSettings(), runtimes=[runtime], threads=[1], survives=lambda *_: ""
    )
    precisions = [str(one.way) for one in found.network]
    if runtime == "litert":
        assert precisions == ["litert int8, 1 thread", "litert float32, 1 thread"]
        assert found.network_left_out == ()
    else:
        assert precisions == ["tflite-runtime float32, 1 thread"]
        assert found.network_left_out[0].startswith("tflite-runtime int8: emotionnet_nano_b_int8.tflite: XNNPACK takes")
    for contender in (*found.network, *found.detector):
        contender.once()


def test_a_model_of_ones_own_has_one_precision() -> None:
    runtime = installed_runtimes()[0]
    found = load_contenders(
        ModelSettings(path=model_path("nano_a", "float32")),
        DetectorSettings(),
        runtimes=[runtime],
        threads=[1],
        survives=lambda *_: "",
    )
    assert [one.way for one in found.network] == [way(f"{runtime} - 1")]


def test_threads_go_up_to_the_cores_and_to_what_is_configured() -> None:
    assert thread_counts(ModelSettings())[0] == 1
    assert 3 in thread_counts(ModelSettings(threads=3))
    assert thread_counts(ModelSettings(threads=1)) == thread_counts(ModelSettings())


def test_where_nothing_runs_every_reason_is_told() -> None:
    with pytest.raises(UnavailableError, match="no network runs here: litert: crashes at its first inference"):
        load_contenders(
            ModelSettings(),
            DetectorSettings(),
            runtimes=["litert"],
            survives=lambda *_: "crashes at its first inference",
        )
    with pytest.raises(UnavailableError, match="no network runs here: no TFLite runtime is installed"):
        load_contenders(ModelSettings(), DetectorSettings(), runtimes=[])


CRASHING = """
    import os, signal, sys
    class Interpreter:
        def __init__(self, **_):
            {what}
"""


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("os.kill(os.getpid(), signal.SIGILL)", "crashes at its first inference (SIGILL)"),
        ("raise TypeError('a wheel of another world')", "TypeError: a wheel of another world"),
        ("raise ValueError('not my model')", ""),  # refused, not crashed: its loader tells
        ("import time; time.sleep(600)", "its first inference did not end within 3 s"),
    ],
)
def test_a_runtime_that_crashes_is_found_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, told: str
) -> None:
    package = tmp_path / "ai_edge_litert"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "interpreter.py").write_text(textwrap.dedent(CRASHING).format(what=what))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")
    patience_s = 3 if "sleep" in what else 60
    assert first_inference("litert", [model_path("nano_b", "int8")], patience_s) == told


@pytest.mark.parametrize("runtime", installed_runtimes())
def test_the_runtimes_of_this_machine_survive(runtime: Any) -> None:
    assert first_inference(runtime, [model_path("nano_b", "float32")]) == ""

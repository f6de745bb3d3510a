"""The whole table of every board, on a scripted clock: each figure can be computed by hand, and is, below."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fixture import BOARD_KEYS, board_tree
from scripted_board import ScriptedBoard, Silent, golden, plan_for

from edge_fer.bench.clips import finite
from edge_fer.bench.diagnose import Diagnosing
from edge_fer.bench.figures import BaselineRow, Diagnosis, Load, PipelineRow
from edge_fer.bench.networks import Contender, Loaded
from edge_fer.bench.plan import Plan
from edge_fer.bench.table import render
from edge_fer.bench.told import to_json
from edge_fer.bench.workshop import Place
from edge_fer.capture.uri import CameraUri
from edge_fer.classify import NetworkName
from edge_fer.errors import CameraError, ModelError
from edge_fer.power_modes.modes import open_power_modes

CLIP = finite("sample:")


def diagnose(board: ScriptedBoard, **options: object) -> Diagnosis:
    diagnosing = Diagnosing(plan_for(board.machine, CLIP, **options), Silent(), board.workshop)
    diagnosing.run()
    return diagnosing.found()


def masked(text: str, root: Path) -> str:
    """Without colours, and without what another machine has otherwise."""
    text = re.sub(r"\x1b\[[\d;]*m", "", text).replace(str(root), "ROOT")
    text = re.sub(r"^edge-fer \S+ on", "edge-fer VERSION on", text)
    text = re.sub(r"^(  software     ).*$", r"\1VERSIONS", text, flags=re.MULTILINE)
    # The path of a root may have made its lines break elsewhere.
    return re.sub(r"read below\s+ROOT;[^.]+\.", lambda found: " ".join(found[0].split()), text) + "\n"


@pytest.fixture
def board(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScriptedBoard:
    machine = board_tree(request.param, tmp_path)
    monkeypatch.setenv("EDGE_FER_FAKE_BOARD", str(machine.root))
    monkeypatch.setenv("EDGE_FER_FAKE_UID", "0")
    return ScriptedBoard(request.param, machine)


@pytest.mark.parametrize("board", BOARD_KEYS, indirect=True)
def test_the_table_of_a_board_is_as_written_down(board: ScriptedBoard) -> None:
    text = masked(render(diagnose(board)), board.machine.root)
    file = golden(f"{board.key}.txt")
    if os.environ.get("EDGE_FER_WRITE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text()


# Idle and total watts by hand; each image of nano_b in int8 on one thread takes 2 ms, so a watt is 2 mJ of an image.
BY_HAND = {
    "jetson-nano": (5.6, 8.0),  # POM_5V_IN alone: 5600 and 8000 mW
    "jetson-agx-xavier": (11.94, 16.716),  # 19.104 V * 625 mA, and * 875 mA: 250 mA more
    "jetson-xavier-nx": (4.1, 6.1),  # VDD_IN alone: 5.000 V * 820 mA, and * 1220 mA
    "jetson-orin-nano": (5.04, 7.56),  # VDD_IN alone: 5.040 V * 1000 mA, and * 1500 mA
    "jetson-orin-nx": (6.7, 9.7),  # VDD_IN alone: 5.000 V * 1340 mA, and * 1940 mA
    "jetson-agx-orin": (8.25, 11.25),  # 5 V * 600 mA more
    "raspberry-pi-5": (3.4414892, 5.2736492),  # VDD_CORE 2 A more at 0.8 V: 1.6 W, times 1.1451
    "pc-rapl": (4.0, 19.0),  # the script's own watts, as joules of the package's counter
}


@pytest.mark.parametrize("board", BY_HAND, indirect=True)
def test_watts_and_joules_are_those_computed_by_hand(board: ScriptedBoard) -> None:
    idle_w, total_w = BY_HAND[board.key]
    (mode,) = diagnose(board).modes
    row = mode.rows[0]
    energy = row.speed.energy
    assert (row.network, row.precision, row.threads) == ("nano_b", "int8", 1)
    assert row.speed.fps == pytest.approx(500)  # 1000 images of 2 ms in 2 s
    assert mode.idle_w == pytest.approx(idle_w)
    assert energy is not None
    assert energy.total_w == pytest.approx(total_w)
    assert energy.marginal_w == pytest.approx(total_w - idle_w)
    assert energy.joules_per_image == pytest.approx(total_w * 0.002)
    assert energy.marginal_joules_per_image == pytest.approx((total_w - idle_w) * 0.002)


@pytest.mark.parametrize("board", ["jetson-agx-xavier"], indirect=True)
def test_the_papers_figure_is_over_the_nominal_budget_and_ours_beside_it(board: ScriptedBoard) -> None:
    (mode,) = diagnose(board, power_mode="15W").modes
    assert (mode.mode_id, mode.mode_name, mode.budget_w) == (2, "MODE_15W", 15)
    assert mode.rows[0].nominal_fps_per_w == pytest.approx(500 / 15)
    assert mode.cpu_mhz == 1200
    assert "set for this run" in mode.mode_note


@pytest.mark.system
@pytest.mark.parametrize("board", ["jetson-agx-xavier"], indirect=True)
def test_all_modes_are_measured_but_for_those_that_need_a_reboot(board: ScriptedBoard) -> None:
    found = diagnose(board, all_modes=True, networks=("nano_a",), threads=(1,), seconds=1.0)
    assert [mode.mode_id for mode in found.modes] == [0, 2, 3, 4, 5, 6, 7]
    assert "not measured, as they need a reboot: 1 MODE_10W" in "\n".join(found.warnings)
    assert all(mode.rows for mode in found.modes)
    (after,) = diagnose(board, networks=("nano_a",), threads=(1,), seconds=1.0).modes
    assert after.mode_id == 7  # as it was before


@pytest.mark.parametrize("board", ["jetson-xavier-nx"], indirect=True)
def test_a_sensor_that_disappears_midway_leaves_the_speeds(board: ScriptedBoard) -> None:
    """The second row has nobody who reads its watts, and says so; nothing is 0."""

    def remove(board: ScriptedBoard) -> None:
        if board.now_ns == 5_500_000_000:
            for file in (board.machine.sys / "devices").rglob("in1_input"):
                file.unlink()

    board.on_tick = remove
    (mode,) = diagnose(board).modes
    first, *_, last = mode.rows
    assert first.speed.energy is not None
    assert last.speed.energy is None
    assert last.speed.fps == pytest.approx(500)
    told = [row.speed.energy_missing for row in mode.rows if row.speed.energy is None]
    assert "was lost while it ran" in told[0]
    assert all(told)
    assert mode.pipeline[0].speed.energy is None


@pytest.mark.parametrize("board", ["jetson-nano"], indirect=True)
def test_a_run_shorter_than_the_samples_has_no_watts(board: ScriptedBoard) -> None:
    (mode,) = diagnose(board, seconds=0.2).modes
    assert mode.idle_w is None
    assert mode.power_source == "measured"
    assert {row.speed.energy for row in mode.rows} == {None}
    assert "shorter than" in mode.rows[0].speed.energy_missing


@pytest.mark.parametrize("board", ["jetson-agx-xavier"], indirect=True)
def test_an_interrupted_run_restores_the_mode_and_keeps_what_it_has(board: ScriptedBoard) -> None:
    def load(contender: Contender, threads: int) -> Loaded:
        if contender.precision == "float32":
            raise KeyboardInterrupt
        return board.load(contender, threads)

    workshop = replace(board.workshop, load=load)
    diagnosing = Diagnosing(plan_for(board.machine, CLIP, power_mode="3"), Silent(), workshop)
    with pytest.raises(KeyboardInterrupt):
        diagnosing.run()
    (mode,) = diagnosing.found().modes
    assert [row.threads for row in mode.rows] == [1, 2]
    assert mode.mode_name == "MODE_30W_ALL"
    assert "Whole pipeline" not in render(diagnosing.found())
    now = open_power_modes(board.machine).current()
    assert now is not None
    assert now.id == 7


@pytest.mark.parametrize("board", ["bare"], indirect=True)
def test_a_network_that_does_not_load_is_named_and_the_others_are_measured(board: ScriptedBoard) -> None:
    def load(contender: Contender, threads: int) -> Loaded:
        if contender.precision == "float32":
            raise ModelError("broken.tflite: litert cannot load this model")
        return board.load(contender, threads)

    diagnosing = Diagnosing(plan_for(board.machine, CLIP), Silent(), replace(board.workshop, load=load))
    diagnosing.run()
    assert len(diagnosing.found().modes[0].rows) == 4
    assert "nano_b float32 on litert was not measured: broken.tflite" in "\n".join(diagnosing.found().warnings)


@pytest.mark.parametrize("board", ["bare"], indirect=True)
def test_a_clip_that_has_vanished_costs_no_other_figure(board: ScriptedBoard) -> None:
    def pipeline(_uri: CameraUri, _network: NetworkName, _place: Place) -> PipelineRow:
        raise CameraError("clip.mp4: there is no such file")

    def cameras(_plan: Plan) -> Load:
        raise CameraError("clip.mp4: there is no such file")

    workshop = replace(board.workshop, pipeline=pipeline, cameras=cameras)
    diagnosing = Diagnosing(plan_for(board.machine, CLIP, cameras=2), Silent(), workshop)
    diagnosing.run()
    (mode,) = diagnosing.found().modes
    assert (len(mode.rows), mode.pipeline, diagnosing.found().load) == (6, (), None)
    warned = "\n".join(diagnosing.found().warnings)
    assert "the whole pipeline was not measured on sample clip: clip.mp4: there is no such file" in warned
    assert "several cameras were not measured: clip.mp4: there is no such file" in warned


@pytest.mark.parametrize("board", ["bare"], indirect=True)
def test_a_baseline_that_fails_for_one_network_is_told_although_the_other_was_measured(board: ScriptedBoard) -> None:
    def baseline(network: NetworkName, threads: Sequence[int], _seconds: float) -> tuple[tuple[BaselineRow, ...], str]:
        if network == "nano_b":
            return (), "TensorFlow could not be measured: killed"
        return tuple(BaselineRow(network, "graph", "TensorFlow 2.15", count, 40.0, 44.0, 41.0) for count in threads), ""

    workshop = replace(board.workshop, baseline=baseline)
    diagnosing = Diagnosing(plan_for(board.machine, CLIP, baseline=True), Silent(), workshop)
    diagnosing.run()
    text = render(diagnosing.found())
    assert "not measured: TensorFlow could not be measured: killed" in text
    assert "graph mode" in text


@pytest.mark.parametrize("board", ["bare"], indirect=True)
def test_threads_that_somebody_named_and_no_core_is_there_for_are_told(board: ScriptedBoard) -> None:
    found = diagnose(board, threads=(1, 4), threads_given=True)
    assert {row.threads for row in found.modes[0].rows} == {1}
    assert "4 threads not measured, more than there are cores online" in "\n".join(found.warnings)


@pytest.mark.parametrize("board", ["bare"], indirect=True)
def test_tensorflow_is_measured_last_and_compared_with_the_same_threads(board: ScriptedBoard) -> None:
    """Graph mode takes 40 ms where int8 on one thread takes 2: 20 times."""

    def baseline(network: NetworkName, threads: Sequence[int], _seconds: float) -> tuple[tuple[BaselineRow, ...], str]:
        rows = [BaselineRow(network, "graph", "TensorFlow 2.15", count, 40.0, 44.0, 41.0) for count in threads]
        return tuple(rows), ""

    workshop = replace(board.workshop, baseline=baseline)
    plan = plan_for(board.machine, CLIP, baseline=True, networks=("nano_b",), threads=(1,))
    diagnosing = Diagnosing(plan, Silent(), workshop)
    diagnosing.run()
    (line,) = [line for line in render(diagnosing.found()).splitlines() if "graph mode" in line]
    assert line.split() == [
        "nano_b",
        *["TensorFlow", "2.15", "graph", "mode", "1", "40.000", "44.000", "41.000", "2.000", "20.0x", "int8", "litert"],
    ]


@pytest.mark.parametrize("board", ["jetson-agx-xavier"], indirect=True)
def test_the_json_has_what_follows_from_the_fields_and_null_for_what_was_not_measured(board: ScriptedBoard) -> None:
    told = json.loads(to_json(diagnose(board)))
    first = told["modes"][0]["rows"][0]
    assert first["speed"]["fps"] == 500
    assert first["speed"]["energy"]["marginal_w"] == pytest.approx(16.716 - 11.94)
    assert first["gmacs"] == pytest.approx(44.2e6 * 500 / 1e9)
    assert told["load"] is None
    assert told["schema"] == 1
    assert told["files_below"] == str(board.machine.root)


@pytest.mark.parametrize("board", ["bare"], indirect=True)
def test_the_json_has_null_for_what_is_no_number(board: ScriptedBoard) -> None:
    found = replace(diagnose(board), peak_gmacs_int8=float("nan"), peak_gmacs_float32=float("inf"))
    told = json.loads(to_json(found), parse_constant=pytest.fail)
    assert (told["peak_gmacs_int8"], told["peak_gmacs_float32"]) == (None, None)

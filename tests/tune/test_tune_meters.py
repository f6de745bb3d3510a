"""What a tuning measures with, on boards that are folders."""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path

import pytest
from fixture import add_energy, board_tree
from tunings import BOARD, way

from edge_fer.config import ModelSettings
from edge_fer.tracking.search import DetectorSettings
from edge_fer.tune.choose import can_save
from edge_fer.tune.contenders import Contender, Contenders
from edge_fer.tune.meters import open_meter
from edge_fer.tune.tuned import Tuned
from edge_fer.tune.tuning import Meter, tune


def work() -> float:
    return math.fsum(range(1000))


def tune_with(meter: Meter, seconds: float = 2.0) -> Tuned:
    one = [Contender(way("litert int8 1"), work)]
    return tune(
        ModelSettings(),
        DetectorSettings(),
        meter,
        seconds=seconds,
        rounds=2,
        load=lambda *_: Contenders(one, one, (), ()),
        basis=lambda: BOARD,
    )


@pytest.mark.parametrize(
    ("name", "source", "note"),
    [
        ("jetson-orin-nano", "measured", ""),
        ("raspberry-pi-5", "estimated", "estimated: 1.1451 x the sum"),
        ("raspberry-pi-4", "unavailable", "has no power sensor"),
        ("bare", "unavailable", "no power sensor"),
    ],
)
def test_a_board_tells_what_it_can_measure(tmp_path: Path, name: str, source: str, note: str) -> None:
    with open_meter(board_tree(name, tmp_path), idle_s=0.5) as meter:
        assert meter.power_source == source
        assert note in meter.power_note


def test_a_board_without_a_sensor_is_tuned_for_speed_and_says_why(tmp_path: Path) -> None:
    with open_meter(board_tree("raspberry-pi-4", tmp_path), idle_s=0.5) as meter:
        found = tune_with(meter, seconds=0.2)
    assert found.goal == "speed"
    assert "has no power sensor" in found.goal_note
    assert found.network.measurements[0].joules is None


def test_watts_that_never_rise_above_the_idle_floor_decide_nothing(tmp_path: Path) -> None:
    """The files of a fixture stand still, as a broken sensor does: exactly the floor, and so not a joule above it."""
    with open_meter(board_tree("jetson-orin-nano", tmp_path), idle_s=0.5) as meter:
        found = tune_with(meter)
    measured = found.network.measurements[0]
    assert measured.joules == pytest.approx(0, abs=1e-9)
    assert measured.total_joules is not None
    assert measured.total_joules > 0
    assert not can_save(found.network.measurements)
    assert (found.goal, found.power_source) == ("speed", "measured")
    assert "the power sensor told too little" in found.goal_note


def test_a_sensor_whose_watts_rise_with_the_work_decides(tmp_path: Path) -> None:
    """A PC draws ten times as much once the floor is measured; by the clock, however seldom the thread has its turn."""
    machine = board_tree("pc-rapl", tmp_path)
    over, at_work = threading.Event(), threading.Event()

    def draw() -> None:
        before_s = time.monotonic()
        while not over.wait(0.02):
            now_s = time.monotonic()
            add_energy(machine, (now_s - before_s) * (10.0 if at_work.is_set() else 1.0))
            before_s = now_s

    drawing = threading.Thread(target=draw)
    drawing.start()
    try:
        with open_meter(machine, idle_s=0.5) as meter:
            at_work.set()
            found = tune_with(meter)
    finally:
        over.set()
        drawing.join()
    assert found.goal == "energy"
    assert can_save(found.network.measurements)
    assert "mJ an image above the idle floor" in found.network.why

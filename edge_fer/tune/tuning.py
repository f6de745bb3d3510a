"""Conducts a tuning: contenders -> measurements -> winners, as one value that can be kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2

import edge_fer
from edge_fer.bench.window import Clocks, Window
from edge_fer.card import MODELS
from edge_fer.config import ModelSettings
from edge_fer.errors import UnavailableError
from edge_fer.events import rfc3339
from edge_fer.sensors.readings import PowerSource
from edge_fer.tflite import Runtime
from edge_fer.tracking.search import DetectorSettings, needed_detectors
from edge_fer.tune.basis import Basis, detector_files, model_hashes, network_files, read_basis
from edge_fer.tune.choose import Goal, Measurement, Way, can_save, choose
from edge_fer.tune.contenders import Contenders, load_contenders
from edge_fer.tune.measure import ROUNDS, Measure, Outcome, measure_fairly
from edge_fer.tune.resolve import detector_name, network_name
from edge_fer.tune.tuned import Part, Tuned


@dataclass(frozen=True, slots=True)
class Meter:
    """How to measure on this board."""

    measure: Measure
    power_source: PowerSource = "unavailable"
    power_note: str = ""  # why watts are unavailable, only estimated, or not those of the whole board
    power_mode: str | None = None
    doubts: tuple[str, ...] = ()  # about the idle floor


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a tuning is."""

    done: int
    of: int
    now: str  # what is measured


def tune(
    model: ModelSettings,
    detector: DetectorSettings,
    meter: Meter,
    *,
    wanted: Goal | None = None,
    seconds: float,
    rounds: int = ROUNDS,
    on_progress: Callable[[Progress], None] = lambda _progress: None,
    load: Callable[[ModelSettings, DetectorSettings], Contenders] = load_contenders,
    basis: Callable[[], Basis] = read_basis,
    clocks: Clocks | None = None,
    unix_ns: Callable[[], int] = time.time_ns,
) -> Tuned:
    """Measure each way of each network for so many seconds, and choose. Nothing is written.

    UnavailableError where nothing runs here, or where energy is wanted and no sensor can tell it.
    """
    if wanted == "energy" and meter.power_source == "unavailable":
        raise UnavailableError(f"--for energy: {_no_energy(meter)}; leave it out, or give --for speed")
    cv2.setNumThreads(1)  # as the daemon has it
    found = load(model, detector)
    window = Window(None, clocks)
    slices = _Slices(rounds * (len(found.network) + len(found.detector)), on_progress)
    network = measure_fairly(
        found.network, meter.measure, seconds=seconds, rounds=rounds, on_slice=slices.of(network_name(model))
    )
    searched = measure_fairly(
        found.detector, meter.measure, seconds=seconds, rounds=rounds, on_slice=slices.of(detector_name(detector))
    )
    goal, note = _goal(wanted, meter, (*network.measurements, *searched.measurements))
    network_part = _part(network_name(model), model_hashes(network_files(model)), network, found.network_left_out, goal)
    hashes = model_hashes(detector_files(needed_detectors(detector), MODELS))
    beside = network_part.winner.runtime
    detector_part = _part(detector_name(detector), hashes, searched, found.detector_left_out, goal, beside)
    others = window.close().disturbed
    doubts = [
        *meter.doubts,
        *network.doubts,
        *searched.doubts,
        *([f"while it was measured, {others}"] if others else []),
    ]
    return Tuned(
        version=edge_fer.__version__,
        measured_at=rfc3339(unix_ns()),
        goal=goal,
        goal_note=note,
        power_source=meter.power_source,
        power_mode=meter.power_mode,
        basis=basis(),
        network=network_part,
        detector=detector_part,
        doubts=tuple(dict.fromkeys(doubts)),
    )


class _Slices:
    """Counts the parts of all rounds."""

    def __init__(self, total: int, tell: Callable[[Progress], None]) -> None:
        self._done, self._total, self._tell = 0, total, tell

    def of(self, name: str) -> Callable[[Way], None]:
        """Called before each part of this network."""

        def begin(way: Way) -> None:
            self._tell(Progress(self._done, self._total, f"{name} on {way}"))
            self._done += 1

        return begin


def _goal(wanted: Goal | None, meter: Meter, measurements: Sequence[Measurement]) -> tuple[Goal, str]:
    """What decides, and what is to be known about it. UnavailableError where the wanted cannot."""
    if wanted == "speed":
        return "speed", ""
    if meter.power_source == "unavailable":
        return "speed", _no_energy(meter)
    if can_save(measurements):
        return "energy", meter.power_note
    lost = "the power sensor told too little: not every way drew more than the idle floor; measure longer (--seconds)"
    if wanted == "energy":
        raise UnavailableError(f"--for energy: {lost}")
    return "speed", lost


def _no_energy(meter: Meter) -> str:
    return f"no watts are measured here ({meter.power_note or 'no power sensor'})"


def _part(
    name: str,
    models: dict[str, str],
    outcome: Outcome,
    left_out: Sequence[str],
    goal: Goal,
    beside: Runtime | None = None,
) -> Part:
    winner = choose(outcome.measurements, goal, beside=beside)
    return Part(
        name=name,
        models=models,
        measurements=outcome.measurements,
        left_out=tuple(left_out),
        winner=winner.way,
        why=winner.why,
    )

"""What "auto" in [model] means on this board: what a tuning says, or else what XNNPACK runs fastest, on one thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_fer.card import MODELS
from edge_fer.config import ModelSettings
from edge_fer.errors import UnavailableError
from edge_fer.tflite import PrecisionChoice, Runtime, RuntimeChoice
from edge_fer.tracking.search import DetectorSettings, needed_detectors
from edge_fer.tune.basis import Basis, detector_files, model_hashes, network_files, read_basis
from edge_fer.tune.choose import Measurement, Way, choose
from edge_fer.tune.tuned import CURE, TUNED_FILE, Part, Tuned, read_tuned

DEFAULT_THREADS = 1


@dataclass(frozen=True, slots=True)
class Choice:
    """How a network is loaded; "auto" is left to the loader."""

    runtime: RuntimeChoice
    precision: PrecisionChoice
    threads: int


@dataclass(frozen=True, slots=True)
class Choices:
    """For the whole configuration."""

    network: Choice
    detector: Choice
    told: str  # which choice was made and why, a line; empty where the configuration left none
    level: int = logging.INFO  # how the line is to be logged
    tuned: bool = False  # whether a tuning had a say


def plain_choices(model: ModelSettings, told: str = "", level: int = logging.INFO) -> Choices:
    """Without a tuning."""
    threads = DEFAULT_THREADS if model.threads == "auto" else model.threads
    choice = Choice(model.runtime, model.precision, threads)
    return Choices(choice, choice, told, level)


def resolve(
    model: ModelSettings, detector: DetectorSettings, folder: Path, basis: Callable[[], Basis] = read_basis
) -> Choices:
    """What to load. Never fails: a tuning that is missing, damaged or stale is told, and the defaults hold."""
    if "auto" not in _open_keys(model):
        return plain_choices(model)
    try:
        tuned = read_tuned(folder)
    except UnavailableError as err:
        return plain_choices(model, f"the tuning is ignored: {err}", logging.WARNING)
    if tuned is None:
        return plain_choices(model, f"not tuned on this board (no {folder / TUNED_FILE}): {CURE}")
    if stale := staleness(tuned, model, detector, basis()):
        told = f"the tuning of {tuned.day} is stale ({'; '.join(stale)}): {CURE}"
        return plain_choices(model, told, logging.WARNING)
    return _tuned_choices(model, tuned)


def staleness(tuned: Tuned, model: ModelSettings, detector: DetectorSettings, now: Basis) -> list[str]:
    """Why a tuning does not hold for this configuration on this board; empty where it does."""
    return [
        *tuned.basis.changes(now),
        *_part_changes(tuned.network, network_name(model), network_files(model)),
        *_part_changes(tuned.detector, detector_name(detector), detector_files(needed_detectors(detector), MODELS)),
    ]


def network_name(model: ModelSettings) -> str:
    """What a tuning calls the configured network."""
    return model.path.name if model.path else model.network


def detector_name(detector: DetectorSettings) -> str:
    """What a tuning calls the configured detectors."""
    return "+".join(needed_detectors(detector))


def _part_changes(part: Part, name: str, files: list[Path]) -> list[str]:
    if part.name != name:
        return [f"made for {part.name}, configured is {name}"]
    hashes = model_hashes(files)
    names = sorted(part.models.keys() | hashes.keys())
    return [f"{one} is another file" for one in names if part.models.get(one) != hashes.get(one)]


def _tuned_choices(model: ModelSettings, tuned: Tuned) -> Choices:
    network = _best(tuned, tuned.network, model)
    detector = _best(tuned, tuned.detector, model, beside=network.runtime if network else None)
    plain = plain_choices(model)
    ways = [
        f"{part.name} on {way}" if way else f"{part.name} as configured: not measured that way"
        for part, way in ((tuned.network, network), (tuned.detector, detector))
    ]
    doubts = f" (with a doubt: {'; '.join(tuned.doubts)})" if tuned.doubts else ""
    return Choices(
        _choice(network) if network else plain.network,
        _choice(detector) if detector else plain.detector,
        f"tuned on {tuned.day} for {tuned.goal}: {'; '.join(ways)}{doubts}",
        tuned=bool(network or detector),
    )


def _best(tuned: Tuned, part: Part, model: ModelSettings, beside: Runtime | None = None) -> Way | None:
    """Of the ways that the configuration leaves open."""
    left = [one for one in part.measurements if _allowed(one, model)]
    return choose(left, tuned.goal, beside=beside).way if left else None


def _allowed(one: Measurement, model: ModelSettings) -> bool:
    way = one.way
    return (
        model.runtime in ("auto", way.runtime)
        and model.threads in ("auto", way.threads)
        and (way.precision is None or model.precision in ("auto", way.precision))
    )


def _choice(way: Way) -> Choice:
    return Choice(way.runtime, way.precision or "auto", way.threads)


def _open_keys(model: ModelSettings) -> tuple[object, ...]:
    """A model of your own has one precision."""
    precision = () if model.path else (model.precision,)
    return (model.runtime, model.threads, *precision)

"""Values that several tests of the tuning need."""

from __future__ import annotations

from typing import Any

from edge_fer.bench.figures import Energy, Speed
from edge_fer.card import MODELS
from edge_fer.config import ModelSettings
from edge_fer.tracking.search import DetectorSettings, needed_detectors
from edge_fer.tune.basis import Basis, detector_files, model_hashes, network_files, read_basis
from edge_fer.tune.choose import Measurement, Way
from edge_fer.tune.resolve import detector_name, network_name
from edge_fer.tune.tuned import Part, Tuned

BOARD = Basis(
    board="Raspberry Pi 5 Model B",
    processor="Cortex-A76",
    cores=4,
    python="3.11.7",
    packages={"ai-edge-litert": "2.3.0", "numpy": "1.26.4"},
)


def way(text: str) -> Way:
    """From "litert int8 2", or "litert - 1"."""
    runtime, precision, threads = text.split()
    return Way.model_validate(
        {"runtime": runtime, "precision": None if precision == "-" else precision, "threads": int(threads)}
    )


def measured(text: str, ms: float, joules: float | None = None) -> Measurement:
    return Measurement(way=way(text), ms=ms, cpu_ms=ms, joules=joules, total_joules=joules, rounds=6)


def of_this_machine(network: str, search: str) -> Tuned:
    """One that holds here, with a single way for each."""

    def only(part: Part, text: str) -> Part:
        one = measured(text, 1.0)
        return part.model_copy(update={"measurements": (one,), "winner": one.way})

    made = tuned(basis=read_basis())
    return made.model_copy(update={"network": only(made.network, network), "detector": only(made.detector, search)})


def speed(ms: float, *, joules: float | None = None, throttled: tuple[str, ...] = ()) -> Speed:
    """Of one part of a round; the idle floor is 2 W, and joules are those above it."""
    energy = None
    if joules is not None:
        above_w = joules * 1000 / ms  # joules an image, images a second
        energy = Energy("measured", above_w + 2, 2.0, joules + 2 * ms / 1000)
    return Speed(
        images=1000, seconds=ms, p50_ms=ms, p95_ms=ms, p99_ms=ms, cpu_ms=ms, energy=energy, throttled=throttled
    )


def tuned(
    model: ModelSettings | None = None, detector: DetectorSettings | None = None, basis: Basis = BOARD, **changes: Any
) -> Tuned:
    """One that holds for these settings: litert int8 with 2 threads, the detectors with 1."""
    model, detector = model or ModelSettings(), detector or DetectorSettings()
    network = [
        measured("litert int8 1", 1.0),
        measured("litert int8 2", 0.6),
        measured("tflite-runtime float32 1", 2.0),
    ]
    search = [measured("litert - 1", 10.0), measured("litert - 2", 9.0), measured("tflite-runtime - 1", 9.5)]
    made = Tuned(
        version="1.0.0",
        measured_at="2026-03-01T10:00:00.000Z",
        goal="speed",
        goal_note="",
        power_source="unavailable",
        power_mode=None,
        basis=basis,
        network=Part(
            name=network_name(model),
            models=model_hashes(network_files(model)),
            measurements=tuple(network),
            winner=network[1].way,
            why="fastest",
        ),
        detector=Part(
            name=detector_name(detector),
            models=model_hashes(detector_files(needed_detectors(detector), MODELS)),
            measurements=tuple(search),
            winner=search[0].way,
            why="fastest",
        ),
    )
    return made.model_copy(update=changes)

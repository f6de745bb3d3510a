"""Every way in which the configured networks can run here, loaded."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from edge_fer.align import CROP_PX
from edge_fer.card import MODELS
from edge_fer.classify import ExpressionReader, model_path, require_xnnpack
from edge_fer.config import ModelSettings
from edge_fer.errors import EdgeFerError, UnavailableError
from edge_fer.tflite import Precision, Runtime, installed_runtimes
from edge_fer.tracking.search import DetectorSettings, FaceSearch, needed_detectors
from edge_fer.tune.basis import detector_files, network_files
from edge_fer.tune.choose import Way
from edge_fer.tune.measure import Contender
from edge_fer.tune.trial import first_inference

PICTURE_PX = (360, 640)
"""Height and width of what the detectors look at."""


class Contenders(NamedTuple):
    """Those that run, and why others do not."""

    network: list[Contender]
    detector: list[Contender]
    network_left_out: tuple[str, ...]
    detector_left_out: tuple[str, ...]


def load_contenders(
    model: ModelSettings,
    detector: DetectorSettings,
    *,
    runtimes: Sequence[Runtime] | None = None,
    threads: Sequence[int] | None = None,
    survives: Callable[..., str] = first_inference,
) -> Contenders:
    """Load everything that runs on this board; UnavailableError where nothing does.

    A runtime that crashes at its first inference is found in a child (`survives`), and left out.
    """
    files = [*network_files(model), *detector_files(needed_detectors(detector), MODELS)]
    crashing: list[str] = []
    able: list[Runtime] = []
    for runtime in installed_runtimes() if runtimes is None else runtimes:
        if problem := survives(runtime, files):
            crashing.append(f"{runtime}: {problem}")
        else:
            able.append(runtime)
    counts = threads or thread_counts(model)
    networks, network_out = _load(_network_kinds(model, able), counts)
    detectors, detector_out = _load(_detector_kinds(detector, able), counts)
    found = Contenders(networks, detectors, (*crashing, *network_out), (*crashing, *detector_out))
    if not networks or not detectors:
        reasons = "; ".join(dict.fromkeys((*found.network_left_out, *found.detector_left_out)))
        raise UnavailableError(f"no network runs here: {reasons or 'no TFLite runtime is installed'}")
    return found


def thread_counts(model: ModelSettings) -> list[int]:
    """1, 2, 4, as far as there are cores, and what the configuration names."""
    cores = os.cpu_count() or 1
    wanted = () if model.threads == "auto" else (model.threads,)
    return sorted({*wanted, *(count for count in (1, 2, 4) if count <= cores)})


def _without_folder(err: EdgeFerError) -> str:
    """Its text, with the shipped models by their names alone."""
    return str(err).replace(f"{MODELS}{os.sep}", "")


class _Kind(NamedTuple):
    """A runtime and precision; `load` takes a number of threads."""

    runtime: Runtime
    precision: Precision | None
    load: Callable[[int], Callable[[], object]]


def _load(kinds: Sequence[_Kind], counts: Sequence[int]) -> tuple[list[Contender], list[str]]:
    loaded: list[Contender] = []
    left_out = [refusal for kind in kinds if (refusal := _load_into(loaded, kind, counts))]
    return loaded, left_out


def _load_into(loaded: list[Contender], kind: _Kind, counts: Sequence[int]) -> str:
    """Add it with each number of threads; why that cannot be, or ""."""
    try:
        for threads in counts:
            way = Way(runtime=kind.runtime, precision=kind.precision, threads=threads)
            loaded.append(Contender(way, kind.load(threads)))
    except EdgeFerError as err:
        name = f"{kind.runtime} {kind.precision}" if kind.precision else kind.runtime
        return f"{name}: {_without_folder(err)}"
    return ""


def _network_kinds(model: ModelSettings, runtimes: Sequence[Runtime]) -> list[_Kind]:
    crop = np.random.default_rng(0).integers(0, 256, (CROP_PX, CROP_PX), np.uint8)

    def kind(runtime: Runtime, precision: Precision | None) -> _Kind:
        path = model.path or model_path(model.network, precision or "float32")

        def load(threads: int) -> Callable[[], object]:
            reader = ExpressionReader(path, runtime=runtime, threads=threads, prior=model.prior)
            return lambda: reader.read(crop)

        return _Kind(runtime, precision, load)

    precisions: tuple[Precision | None, ...] = (None,) if model.path else ("int8", "float32")
    return [kind(runtime, precision) for runtime in runtimes for precision in precisions]


def _detector_kinds(settings: DetectorSettings, runtimes: Sequence[Runtime]) -> list[_Kind]:
    """One look of each detector is one image."""
    picture = np.random.default_rng(0).integers(0, 256, (*PICTURE_PX, 3), np.uint8)

    def kind(runtime: Runtime) -> _Kind:
        def load(threads: int) -> Callable[[], object]:
            detectors = list(FaceSearch(settings, runtime=runtime, threads=threads).detectors.values())
            for detector in detectors:
                require_xnnpack(detector.graph)
            return lambda: [detector.detect(picture) for detector in detectors]

        return _Kind(runtime, None, load)

    return [kind(runtime) for runtime in runtimes]

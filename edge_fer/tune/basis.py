"""What a tuning rests on: where any of it changes, it says nothing any more."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path

from edge_fer.bench.processor import read_processor
from edge_fer.classify import model_path
from edge_fer.config import ModelSettings
from edge_fer.detect import BLAZEFACE, DetectorName
from edge_fer.sensors.board import read_board
from edge_fer.sensors.machine import Machine
from edge_fer.tune.choose import Remembered

PACKAGES = ("ai-edge-litert", "tflite-runtime", "numpy", "opencv-python-headless")
"""Those whose code runs while a face is found and read. Not edge-fer itself: the models have hashes of their own, and a
release that changes neither must not cost a fleet its tunings."""


class Basis(Remembered):
    """The board and the software that something was measured with."""

    board: str
    processor: str
    cores: int  # that are online: a power mode may switch some off
    python: str
    packages: dict[str, str]

    def changes(self, now: Basis) -> list[str]:
        """What is different now, in words; empty where nothing is."""
        same = [("board", self.board, now.board), ("processor", self.processor, now.processor)]
        same += [("cores", str(self.cores), str(now.cores)), ("Python", self.python, now.python)]
        names = sorted(self.packages.keys() | now.packages.keys())
        same += [(name, self.packages.get(name, ""), now.packages.get(name, "")) for name in names]
        return [f"{what}: was {old or 'missing'}, is {new or 'missing'}" for what, old, new in same if old != new]


def read_basis(machine: Machine | None = None) -> Basis:
    """Of this machine and this Python; never fails."""
    machine = machine or Machine()
    return Basis(
        board=read_board(machine).name,
        processor=read_processor(machine).name,
        cores=os.cpu_count() or 1,
        python=platform.python_version(),
        packages={name: version for name in PACKAGES if (version := _version(name))},
    )


def model_hashes(paths: Iterable[Path]) -> dict[str, str]:
    """Name of each model file -> its sha256; "" of one that cannot be read, which its loader will tell better."""
    return {path.name: _sha256(path) for path in paths}


def network_files(model: ModelSettings) -> list[Path]:
    """The files among which a tuning chooses, for the configured network."""
    if model.path:
        return [model.path]
    return [model_path(model.network, "float32"), model_path(model.network, "int8")]


def detector_files(names: Iterable[DetectorName], models: Path) -> list[Path]:
    """The files of these detectors."""
    return [models / BLAZEFACE[name].file for name in names]


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""

"""The networks alone: every runtime, precision and number of threads that the daemon may use here."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import numpy as np

from edge_fer.align import CROP_PX
from edge_fer.classify import ExpressionReader, NetworkName, fast_precision, model_path
from edge_fer.tflite import Precision, Runtime, installed_runtimes

FLOAT32: Precision = "float32"

PACKAGES: dict[str, str] = {"litert": "ai-edge-litert", "tflite-runtime": "tflite-runtime", "numpy": "numpy"}
"""What results are told with -> the package whose version it is."""


class Contender(NamedTuple):
    """A network as it may be run here."""

    network: NetworkName
    precision: Precision
    runtime: Runtime


@dataclass(frozen=True, slots=True)
class Loaded:
    """A contender, ready."""

    once: Callable[[], object]  # reads one face
    macs: int  # multiply-accumulates of it
    xnnpack_operators: int
    operators: int


def contenders(networks: Sequence[NetworkName]) -> list[Contender]:
    """All of these networks, on the best runtime first; int8 only where XNNPACK takes it."""
    return [
        Contender(network, precision, runtime)
        for network in networks
        for runtime in installed_runtimes()
        for precision in dict.fromkeys((fast_precision(runtime), FLOAT32))
    ]


def load(contender: Contender, threads: int) -> Loaded:
    """Load it; ModelError or UnavailableError where it does not run here."""
    path = model_path(contender.network, contender.precision)
    with _without_chatter():
        reader = ExpressionReader(path, runtime=contender.runtime, threads=threads)
    crop = np.random.default_rng(0).integers(0, 256, (CROP_PX, CROP_PX), np.uint8)
    share = reader.graph.xnnpack
    return Loaded(lambda: reader.read(crop), reader.graph.size().macs, share.taken, share.total)


def usable_cores() -> int:
    """Cores that are online and that this process may use."""
    return len(os.sched_getaffinity(0))


def package_versions() -> dict[str, str]:
    """Of the runtimes that are installed, and of NumPy."""
    installed = {name: _version(package) for name, package in PACKAGES.items()}
    return {name: found for name, found in installed.items() if found}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@contextmanager
def _without_chatter() -> Iterator[None]:
    """The runtimes greet on the standard error, past Python: what is no greeting is passed on."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            said.seek(0)
            lines = said.read().decode(errors="replace").splitlines(keepends=True)
            sys.stderr.writelines(line for line in lines if not line.startswith("INFO: "))

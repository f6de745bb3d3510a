"""One inference of each model in a process of its own: a runtime that crashes must not take the measuring with it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_fer.errors import EdgeFerError
from edge_fer.tflite import Graph, Runtime

PATIENCE_S = 120.0
"""For a slow card and a cold cache."""


def first_inference(runtime: Runtime, models: Sequence[Path], patience_s: float = PATIENCE_S) -> str:
    """Try it; what went wrong with the process itself, or "". A model that is refused is no crash."""
    command = [sys.executable, "-m", "edge_fer.tune.trial", runtime, *map(str, models)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience_s, check=False)
    except subprocess.TimeoutExpired:
        return f"its first inference did not end within {patience_s:.0f} s"
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return f"crashes at its first inference ({_signal_name(-done.returncode)})"
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


def main(runtime: Runtime, models: Sequence[str]) -> None:
    """In the process: nothing is told but by its end."""
    for path in models:
        try:
            graph = Graph(path, Path(path).read_bytes(), runtime=runtime)
        except (EdgeFerError, OSError):  # told well by who loads it for use
            continue
        graph.run(np.zeros(graph.inputs[0].shape, np.float32))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])  # type: ignore[arg-type] # chosen by the parent

"""The same network in TensorFlow, measured by the converter in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import edge_fer
from edge_fer.bench.figures import BaselineRow

How = Literal["graph", "predict"]

CHECKOUT = Path(edge_fer.__file__).parents[1]
"""Where the converter is, if this is a checkout: it is not part of the package."""

START_SECONDS = 180.0
"""TensorFlow may take a minute to be imported from a slow disk."""


def measure_baseline_rows(
    network: str, threads: Sequence[int], seconds: float, checkout: Path = CHECKOUT
) -> tuple[tuple[BaselineRow, ...], str]:
    """One image at a time as a `tf.function` and in Keras `predict`, each for `seconds` on each number of threads.

    No rows and the reason, for people, where TensorFlow or the converter is missing or fails. Random weights: they do
    not change the time. A process for each number of threads, which TensorFlow can set only before it runs anything.
    """
    if not (checkout / "converter/baseline.py").is_file():
        return (), "the converter is not here: run this in the project's checkout"
    if not importlib.util.find_spec("tensorflow"):
        return (), "TensorFlow is not installed: pip install 'edge-fer[convert]'"
    rows: list[BaselineRow] = []
    for count in threads:
        found, reason = _in_child(network, count, seconds, checkout)
        if reason:
            return (), reason
        rows += [_row(how, found) for how in get_args(How)]
    return tuple(rows), ""


def _in_child(network: str, threads: int, seconds: float, checkout: Path) -> tuple[dict[str, Any], str]:
    command = [sys.executable, "-m", "converter", "baseline", "--network", network, "--json"]
    options = ["--threads", str(threads), "--seconds", str(seconds)]
    limit_s = START_SECONDS + 4 * seconds
    try:
        done = subprocess.run(
            [*command, *options], cwd=checkout, capture_output=True, text=True, check=False, timeout=limit_s
        )
    except subprocess.TimeoutExpired:
        return {}, f"TensorFlow had not answered after {limit_s:.0f} s"
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return {}, f"TensorFlow could not be measured: {last}"
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found, ""


def _row(how: How, found: dict[str, Any]) -> BaselineRow:
    version = f"TensorFlow {found['tensorflow']}" if how == "graph" else f"Keras {found['keras']}"
    median, p95, cpu = (found[f"{how}_{figure}"] for figure in ("ms_median", "ms_p95", "cpu_ms_mean"))
    return BaselineRow(found["network"], how, version, found["threads"], median, p95, cpu)

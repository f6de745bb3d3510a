"""One network alone: every runtime, precision and number of threads, and TensorFlow beside them."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_fer.align import CROP_PX
from edge_fer.classify import ExpressionReader, NetworkName, fast_precision, model_path
from edge_fer.tflite import installed_runtimes

INFERENCE_SECONDS, WARM_UP_RUNS = 1.5, 20


@dataclass(frozen=True, slots=True)
class RuntimeSpeed:
    """One network on one runtime, one image at a time."""

    runtime: str
    precision: str
    threads: int
    cpu_ms_mean: float
    wall_ms_median: float
    times_faster_than_tensorflow: float | None  # its graph mode, same threads, wall time over wall time, same run


def measure_runtimes(network: NetworkName, tensorflow: list[RuntimeSpeed]) -> Iterator[RuntimeSpeed]:
    """Every runtime, precision and number of threads that the daemon may use here."""
    tensorflow_ms: Mapping[int, float] = {speed.threads: speed.wall_ms_median for speed in tensorflow}
    for runtime in installed_runtimes():
        for precision in sorted({"float32", fast_precision(runtime)}):
            for threads in _thread_counts():
                reader = ExpressionReader(model_path(network, precision), runtime=runtime, threads=threads)
                cpu_ms, wall_ms = _time(reader)
                ratio = round(tensorflow_ms[threads] / wall_ms, 1) if threads in tensorflow_ms else None
                yield RuntimeSpeed(runtime, precision, threads, cpu_ms, wall_ms, ratio)


def measure_tensorflow(network: str) -> tuple[list[RuntimeSpeed], str]:
    """The same network in TensorFlow, measured by the converter in a process of its own; or why not."""
    if not Path("converter/baseline.py").exists():
        return [], "the converter is not here; run this in the project's checkout"
    speeds = []
    for threads in _thread_counts():
        command = [sys.executable, "-m", "converter", "baseline", "--network", network]
        done = subprocess.run(
            [*command, "--threads", str(threads), "--json"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            return [], (done.stderr.strip().splitlines() or ["no message"])[-1]
        found = json.loads(done.stdout.strip().splitlines()[-1])
        name = f"TensorFlow {found['tensorflow']}"
        cpu_ms, wall_ms = round(found["graph_cpu_ms_mean"], 4), round(found["graph_ms_median"], 4)
        speeds.append(RuntimeSpeed(name, "float32", threads, cpu_ms, wall_ms, 1.0))
    return speeds, ""


def _thread_counts() -> list[int]:
    return sorted({1, min(4, os.cpu_count() or 1)})


def _time(reader: ExpressionReader) -> tuple[float, float]:
    """Mean CPU and median wall milliseconds of reading one face, warm."""
    crop = np.random.default_rng(0).integers(0, 256, (CROP_PX, CROP_PX), np.uint8)
    for _ in range(WARM_UP_RUNS):
        reader.read(crop)
    walls_ms = []
    cpu_ns, until_s = time.process_time_ns(), time.monotonic() + INFERENCE_SECONDS
    while time.monotonic() < until_s:
        started_ns = time.perf_counter_ns()
        reader.read(crop)
        walls_ms.append((time.perf_counter_ns() - started_ns) / 1e6)
    cpu_ms = (time.process_time_ns() - cpu_ns) / 1e6 / len(walls_ms)
    return round(cpu_ms, 4), round(statistics.median(walls_ms), 4)

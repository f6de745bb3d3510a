"""Diagnostics: what a frame costs on this machine, by stage and by runtime.

CPU times, not wall times: on a shared machine only they repeat. Compare figures of one run with each other.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil

from edge_fer.align import CROP_PX
from edge_fer.capture.uri import CameraUri, parse_camera_uri
from edge_fer.classify import ExpressionReader, NetworkName, fast_precision, model_path
from edge_fer.config import load_config
from edge_fer.errors import UsageError
from edge_fer.events import Message
from edge_fer.service import Daemon, running
from edge_fer.tflite import installed_runtimes

FPS_GOAL = 24.0
"""Frame rate that the shares of a core are computed for."""

INFERENCE_SECONDS, WARM_UP_RUNS = 1.5, 20


@dataclass(frozen=True, slots=True)
class StageCost:
    """CPU per frame of one stage."""

    stage: str
    cpu_ms_per_frame: float
    core_share_at_24_fps: float


@dataclass(frozen=True, slots=True)
class RuntimeSpeed:
    """One network on one runtime, one image at a time."""

    runtime: str
    precision: str
    threads: int
    cpu_ms_mean: float
    wall_ms_median: float
    times_faster_than_tensorflow: float | None  # its graph mode, same threads, wall time over wall time, same run


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one run."""

    clip: str
    frames: int
    events: int
    publish_to: str
    stages: list[StageCost]
    rss_mb: float
    first_event_s: float | None  # from the start of the process, clip in real time
    network: str
    runtimes: list[RuntimeSpeed]
    tensorflow: list[RuntimeSpeed]
    tensorflow_skipped: str  # why there are no figures of it


def measure(clip: str, network: NetworkName, *, baseline: bool) -> Report:
    """Run the whole flow on the clip as fast as it goes, then each runtime alone.

    UsageError where the clip does not end; CameraError and ModelError as the daemon raises them.
    """
    uri = _finite(clip)
    with _broker_child() as port:
        broker = f"mqtt://127.0.0.1:{port}" if port else None
        daemon, stages = _measure_flow(clip, network, broker)
    rss_mb = psutil.Process().memory_info().rss / 1e6
    tensorflow, skipped = _tensorflow(network) if baseline else ([], "not asked for")
    return Report(
        clip=str(uri),
        frames=daemon.pipeline.views["clip"].frames,
        events=daemon.pipeline.events,
        publish_to="a broker on loopback" if port else "nowhere: the extra 'demo' is not installed",
        stages=stages,
        rss_mb=round(rss_mb, 1),
        first_event_s=_first_event_s(uri, network),
        network=network,
        runtimes=list(_runtimes(network, {speed.threads: speed.wall_ms_median for speed in tensorflow})),
        tensorflow=tensorflow,
        tensorflow_skipped=skipped,
    )


def show(report: Report, *, as_json: bool) -> None:
    """Print the report: tables for people, or one JSON object."""
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    click.echo(f"{report.clip}: {report.frames} frames, {report.events} events, published to {report.publish_to}\n")
    click.echo(f"{'stage':<18}{'CPU ms/frame':>14}{'of a core at 24 fps':>22}")
    for cost in report.stages:
        click.echo(f"{cost.stage:<18}{cost.cpu_ms_per_frame:>14.3f}{cost.core_share_at_24_fps:>21.1%}")
    first = "no event" if report.first_event_s is None else f"{report.first_event_s:.1f} s"
    click.echo(f"\nresident memory {report.rss_mb:.0f} MB; from start to first event {first} (clip in real time)\n")
    click.echo(f"{report.network}, one image at a time")
    click.echo(
        f"{'runtime':<18}{'precision':<11}{'threads':>7}{'CPU ms':>9}{'wall ms':>9}{'faster than TensorFlow':>25}"
    )
    for speed in [*report.runtimes, *report.tensorflow]:
        times = speed.times_faster_than_tensorflow
        ratio = "-" if times is None else f"{times:.1f}x"
        click.echo(
            f"{speed.runtime:<18}{speed.precision:<11}{speed.threads:>7}{speed.cpu_ms_mean:>9.3f}"
            f"{speed.wall_ms_median:>9.3f}{ratio:>25}"
        )
    if report.tensorflow_skipped:
        click.echo(f"TensorFlow graph mode: not measured ({report.tensorflow_skipped})")


class _Nowhere:
    def publish(self, message: Message) -> None:
        """Pay for the JSON, as a broker's client would."""
        message.to_json()


def _measure_flow(clip: str, network: NetworkName, broker: str | None) -> tuple[Daemon, list[StageCost]]:
    tables: dict[str, Any] = {
        "node": "bench",
        "camera": {"clip": {"uri": clip}},
        "model": {"network": network},
    }
    if broker:
        tables["broker"] = {"url": broker}
    with running(load_config(None, tables), [] if broker else [_Nowhere()]) as daemon:
        process_ns, main_ns = time.process_time_ns(), time.thread_time_ns()
        daemon.run(threading.Event())
        process_ns, main_ns = time.process_time_ns() - process_ns, time.thread_time_ns() - main_ns
    frames = max(1, daemon.pipeline.views["clip"].frames)
    decode_ns = daemon.readers[0].decode_cpu_ns
    spent: dict[str, int] = {
        "decode": decode_ns,
        **{str(stage): spent_ns for stage, spent_ns in daemon.pipeline.cpu_ns.items()},
    }
    # What neither the main thread nor the reader used is the MQTT client's own thread.
    spent["publish"] = spent.get("publish", 0) + max(0, process_ns - main_ns - decode_ns)
    spent["waiting and rest"] = main_ns - sum(daemon.pipeline.cpu_ns.values())
    total = sum(spent.values())
    spent["all but decode"], spent["all"] = total - decode_ns, total
    stages = [_cost(stage, nanoseconds / frames / 1e6) for stage, nanoseconds in spent.items()]
    return daemon, stages


def _cost(stage: str, cpu_ms: float) -> StageCost:
    return StageCost(stage, round(cpu_ms, 4), round(cpu_ms * FPS_GOAL / 1000, 4))


@contextmanager
def _broker_child() -> Iterator[int | None]:
    """A broker in a process of its own, so that its CPU is not counted; None where the extra `demo` is missing."""
    command = [sys.executable, "-m", "edge_fer.broker", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        line = child.stdout.readline() if child.stdout else ""
        try:
            yield int(line.rsplit(":", 1)[1]) if ":" in line else None
        finally:
            child.terminate()


def _first_event_s(clip: CameraUri, network: NetworkName) -> float | None:
    """Seconds from the start of a daemon's process to its first line of output."""
    uri = f"{clip.scheme}:{'' if clip.scheme == 'sample' else clip.target}?realtime=1"
    command = [sys.executable, "-m", "edge_fer", "run", "--camera", f"clip={uri}", "--network", network, "--print"]
    started_s = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        try:
            line = child.stdout.readline() if child.stdout else ""
            elapsed_s = time.monotonic() - started_s
        finally:
            child.terminate()
    return round(elapsed_s, 2) if line else None


def _finite(clip: str) -> CameraUri:
    """The clip's address; UsageError where it would never end."""
    uri = parse_camera_uri(clip)
    if uri.live or "loop" in uri.options or "?" in uri.target:
        raise UsageError(f"--clip {uri}: give a clip, a picture or a folder that ends, without options")
    return uri


def _thread_counts() -> list[int]:
    return sorted({1, min(4, os.cpu_count() or 1)})


def _runtimes(network: NetworkName, tensorflow_ms: Mapping[int, float]) -> Iterator[RuntimeSpeed]:
    """Every runtime, precision and number of threads that the daemon may use here; TensorFlow's times by threads."""
    for runtime in installed_runtimes():
        for precision in sorted({"float32", fast_precision(runtime)}):
            for threads in _thread_counts():
                reader = ExpressionReader(model_path(network, precision), runtime=runtime, threads=threads)
                cpu_ms, wall_ms = _time(reader)
                ratio = round(tensorflow_ms[threads] / wall_ms, 1) if threads in tensorflow_ms else None
                yield RuntimeSpeed(runtime, precision, threads, cpu_ms, wall_ms, ratio)


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


def _tensorflow(network: str) -> tuple[list[RuntimeSpeed], str]:
    """The same network in TensorFlow, measured by the converter in a process of its own; or why not."""
    if not Path("converter/baseline.py").exists():
        return [], "the converter is not here; run this in the project's checkout"
    speeds = []
    for threads in _thread_counts():
        command = [
            sys.executable,
            "-m",
            "converter",
            "baseline",
            "--network",
            network,
            "--threads",
            str(threads),
            "--json",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return [], (done.stderr.strip().splitlines() or ["no message"])[-1]
        found = json.loads(done.stdout.strip().splitlines()[-1])
        name = f"TensorFlow {found['tensorflow']}"
        cpu_ms, wall_ms = round(found["graph_cpu_ms_mean"], 4), round(found["graph_ms_median"], 4)
        speeds.append(RuntimeSpeed(name, "float32", threads, cpu_ms, wall_ms, 1.0))
    return speeds, ""

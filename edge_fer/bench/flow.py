"""The whole flow on one clip: CPU per frame by stage, as fast as it goes, and the time to the first event."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from edge_fer.capture.uri import CameraUri, parse_camera_uri
from edge_fer.classify import NetworkName
from edge_fer.config import load_config
from edge_fer.daemon import Daemon
from edge_fer.errors import UsageError
from edge_fer.events import Message
from edge_fer.service import running

FPS_GOAL = 24.0
"""Frame rate that the shares of a core are computed for."""


@dataclass(frozen=True, slots=True)
class StageCost:
    """CPU per frame of one stage."""

    stage: str
    cpu_ms_per_frame: float
    core_share_at_24_fps: float


@dataclass(frozen=True, slots=True)
class FlowCost:
    """What a clip costs from its frames to its events."""

    clip: str
    frames: int
    events: int
    stages: list[StageCost]
    first_event_s: float | None  # from the start of the process, clip in real time


class Nowhere:
    """A publisher that pays for the JSON, as a broker's client would."""

    def publish(self, message: Message) -> None:
        """Throw it away."""
        message.to_json()


def measure_flow(uri: CameraUri, network: NetworkName, broker: str | None) -> FlowCost:
    """Run a clip that ends; CameraError and ModelError as the daemon raises them."""
    tables: dict[str, Any] = {
        "node": "bench",
        "camera": {"clip": {"uri": address(uri)}},
        "model": {"network": network},
        **({"broker": {"url": broker}} if broker else {}),
    }
    with running(load_config(None, tables), [] if broker else [Nowhere()]) as daemon:
        process_ns, main_ns = time.process_time_ns(), time.thread_time_ns()
        daemon.run(threading.Event())
        process_ns, main_ns = time.process_time_ns() - process_ns, time.thread_time_ns() - main_ns
    return FlowCost(
        clip=str(uri),
        frames=daemon.pipeline.views["clip"].frames,
        events=daemon.pipeline.events,
        stages=_stages(daemon, process_ns, main_ns),
        first_event_s=_first_event_s(uri, network),
    )


def finite(clip: str) -> CameraUri:
    """A clip's address; UsageError where it would never end."""
    uri = parse_camera_uri(clip)
    if uri.live or "loop" in uri.options or "?" in uri.target:
        raise UsageError(f"--clip {uri}: give a clip, a picture or a folder that ends, without options")
    return uri


def address(uri: CameraUri, options: str = "") -> str:
    """The address of a clip as text, with other options."""
    return f"{uri.scheme}:{'' if uri.scheme == 'sample' else uri.target}{options and '?'}{options}"


@contextmanager
def broker_child() -> Iterator[str | None]:
    """A broker in a process of its own, so that its CPU is not counted; None where the extra `demo` is missing."""
    command = [sys.executable, "-m", "edge_fer.broker", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        line = child.stdout.readline() if child.stdout else ""
        try:
            yield f"mqtt://127.0.0.1:{int(line.rsplit(':', 1)[1])}" if ":" in line else None
        finally:
            child.terminate()


def _stages(daemon: Daemon, process_ns: int, main_ns: int) -> list[StageCost]:
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
    return [_cost(stage, nanoseconds / frames / 1e6) for stage, nanoseconds in spent.items()]


def _cost(stage: str, cpu_ms: float) -> StageCost:
    return StageCost(stage, round(cpu_ms, 4), round(cpu_ms * FPS_GOAL / 1000, 4))


def _first_event_s(clip: CameraUri, network: NetworkName) -> float | None:
    """Seconds from the start of a daemon's process to its first line of output."""
    camera = f"clip={address(clip, 'realtime=1')}"
    command = [sys.executable, "-m", "edge_fer", "run", "--camera", camera, "--network", network, "--print"]
    started_s = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        try:
            line = child.stdout.readline() if child.stdout else ""
            elapsed_s = time.monotonic() - started_s
        finally:
            child.terminate()
    return round(elapsed_s, 2) if line else None

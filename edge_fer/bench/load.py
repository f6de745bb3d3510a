"""Several cameras in real time: whether each is looked at as often as the others, and how late."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import psutil

from edge_fer.bench.clips import address
from edge_fer.bench.delays import Delays
from edge_fer.bench.figures import Load
from edge_fer.bench.flow import Nowhere
from edge_fer.capture.uri import CameraUri
from edge_fer.classify import NetworkName
from edge_fer.config import load_config
from edge_fer.messages import Message
from edge_fer.service import running


class _Switches:
    """Counts updates, and for how long faces were followed."""

    def __init__(self) -> None:
        self.updates, self.followed_ms = 0, 0

    def publish(self, message: Message) -> None:
        self.updates += message.body.get("type") == "update"
        if message.body.get("type") == "end":
            self.followed_ms += message.body["duration_ms"]


def measure_load(uri: CameraUri, network: NetworkName, *, cameras: int, fps: float, seconds: float) -> Load:
    """Play a clip as so many cameras, in a loop and in real time, for some seconds."""
    one = {"uri": address(uri, "loop=1&realtime=1"), "max_fps": fps}
    tables: dict[str, Any] = {
        "node": "bench",
        "camera": {f"camera{number}": one for number in range(1, cameras + 1)},
        "model": {"network": network},
        "power": {"enabled": False},
    }
    switches, delays = _Switches(), Delays()
    with running(load_config(None, tables), [Nowhere(), switches]) as daemon:
        daemon.pipeline.latency = delays
        started_s, cpu_ns = time.monotonic(), time.process_time_ns()
        daemon.run(threading.Event(), seconds)
        elapsed_s, cpu_ns = time.monotonic() - started_s, time.process_time_ns() - cpu_ns
        rss_mb = psutil.Process().memory_info().rss / 1e6
    looked_at = [view.frames for view in daemon.pipeline.views.values()]
    dropped = sum(daemon.inbox.dropped.values())
    return Load(
        cameras=cameras,
        wanted_fps=fps,
        seconds=round(elapsed_s, 1),
        cores=os.cpu_count() or 1,
        fps=[round(frames / elapsed_s, 2) for frames in looked_at],
        fairness=round(min(looked_at) * cameras / max(1, sum(looked_at)), 3),
        dropped_share=round(dropped / max(1, sum(looked_at) + dropped), 4),
        latency_ms=delays.quantiles(),
        cpu_cores=round(cpu_ns / 1e9 / elapsed_s, 3),
        rss_mb=round(rss_mb, 1),
        updates_per_minute=round(switches.updates / max(1, switches.followed_ms) * 60_000, 2),
    )

"""Counters -> one sample per period; and what this machine is."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from edge_fer.events import CameraThroughput, Throughput, rfc3339


class ThroughputMeter:
    """Work done since the last sample."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._process = psutil.Process()
        self._process.cpu_percent()  # the first call starts its measurement
        self._since_s = time.monotonic()
        self._frames: dict[str, int] = {}

    def due(self) -> bool:
        """Whether a period has passed since the last sample."""
        return time.monotonic() - self._since_s >= self._period_s

    def sample(self, frames: Mapping[str, int], dropped: Mapping[str, int]) -> Throughput:
        """The sample of the time since the last one; `frames` looked at and `dropped` are totals by camera."""
        now_s = time.monotonic()
        elapsed_s = max(now_s - self._since_s, 1e-9)
        cameras = {
            name: CameraThroughput(
                fps=round((count - self._frames.get(name, 0)) / elapsed_s, 2),
                captured=count + dropped.get(name, 0),
                dropped=dropped.get(name, 0),
            )
            for name, count in frames.items()
        }
        self._since_s, self._frames = now_s, dict(frames)
        return Throughput(
            period_s=round(elapsed_s, 3),
            cameras=cameras,
            cpu_percent=self._process.cpu_percent(),
            rss_bytes=self._process.memory_info().rss,
            occurred_at=rfc3339(time.time_ns()),
        )


def board_name(device_tree: Path = Path("/proc/device-tree")) -> str:
    """What the firmware calls this board; the processor architecture where it says nothing."""
    try:
        return (device_tree / "model").read_text(encoding="utf-8").strip("\0 \n")
    except OSError:
        return platform.machine()

"""Counters -> one sample per period; and what this machine is."""

from __future__ import annotations

import platform
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import psutil

from edge_fer.capture.inbox import FrameCounts
from edge_fer.events import CameraThroughput, LatencyMs, Throughput, rfc3339

LATENCIES_KEPT = 4096
"""At 120 frames per second, half a minute."""


class LatencyMeter:
    """From the capture of a frame to the moment when all that it gave was handed to the publisher."""

    def __init__(self) -> None:
        self._newest_ms: deque[float] = deque(maxlen=LATENCIES_KEPT)

    def add(self, latency_ms: float) -> None:
        """Count one frame."""
        self._newest_ms.append(latency_ms)

    def take(self) -> LatencyMs | None:
        """Quantiles of the frames since the last call; None where there were none."""
        if not self._newest_ms:
            return None
        p50, p95, p99 = np.percentile(self._newest_ms, (50, 95, 99)).round(1).tolist()
        self._newest_ms.clear()
        return LatencyMs(p50, p95, p99)


class ThroughputMeter:
    """Work done since the last sample."""

    def __init__(self, period_s: float) -> None:
        self.period_s = period_s
        self._process = psutil.Process()
        self._process.cpu_percent()  # the first call starts its measurement
        self._since_s = time.monotonic()
        self._looked_at: dict[str, int] = {}

    def due(self) -> bool:
        """Whether a period has passed since the last sample."""
        return time.monotonic() - self._since_s >= self.period_s

    def sample(self, counts: Mapping[str, FrameCounts], latency: LatencyMs | None = None) -> Throughput:
        """The sample of the time since the last one; `counts` are totals by camera."""
        now_s = time.monotonic()
        elapsed_s = max(now_s - self._since_s, 1e-9)
        cameras = {
            name: CameraThroughput(
                fps=round((count.looked_at - self._looked_at.get(name, 0)) / elapsed_s, 2),
                captured=count.captured,
                dropped=count.dropped,
                withheld=count.withheld,
            )
            for name, count in counts.items()
        }
        self._since_s = now_s
        # A camera that is removed and comes back goes on counting.
        self._looked_at.update({name: count.looked_at for name, count in counts.items()})
        return Throughput(
            period_s=round(elapsed_s, 3),
            cameras=cameras,
            cpu_percent=self._process.cpu_percent(),
            rss_bytes=self._process.memory_info().rss,
            occurred_at=rfc3339(time.time_ns()),
            latency_ms=latency,
        )


def board_name(device_tree: Path = Path("/proc/device-tree")) -> str:
    """What the firmware calls this board; the processor architecture where it says nothing."""
    try:
        return (device_tree / "model").read_text(encoding="utf-8").strip("\0 \n")
    except OSError:
        return platform.machine()

"""Counters -> one sample per period; and what this machine is."""

from __future__ import annotations

import platform
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import psutil

from edge_fer.capture.inbox import FrameCounts
from edge_fer.events import CameraThroughput, LatencyMs, Throughput, rfc3339
from edge_fer.workload import Workload

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

    def __init__(
        self, period_s: float, *, workload: Workload | None = None, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        """`workload` is counted on by others."""
        self.period_s = period_s
        self._workload, self._clock_s = workload or Workload(), clock_s
        self._process = psutil.Process()
        self._process.cpu_percent()  # the first call starts its measurement
        self._since_s = clock_s()
        self._looked_at: dict[str, int] = {}
        self._images, self._detections = self._workload.images, self._workload.detections

    def due(self) -> bool:
        """Whether a period has passed since the last sample."""
        return self._clock_s() - self._since_s >= self.period_s

    def sample(
        self, counts: Mapping[str, FrameCounts], latency: LatencyMs | None = None, total_w: float | None = None
    ) -> Throughput:
        """The sample of the time since the last one; `counts` are totals by camera, `total_w` is the board's mean.

        Images per second per watt are images per joule. An image's joules are those of the whole board, idle floor
        included, so they fall when more faces are read.
        """
        now_s = self._clock_s()
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
        images_per_s = (self._workload.images - self._images) / elapsed_s
        detections_per_s = (self._workload.detections - self._detections) / elapsed_s
        self._since_s = now_s
        # A camera that is removed and comes back goes on counting.
        self._looked_at.update({name: count.looked_at for name, count in counts.items()})
        self._images, self._detections = self._workload.images, self._workload.detections
        return Throughput(
            period_s=round(elapsed_s, 3),
            cameras=cameras,
            cpu_percent=self._process.cpu_percent(),
            rss_bytes=self._process.memory_info().rss,
            occurred_at=rfc3339(time.time_ns()),
            latency_ms=latency,
            images_per_s=round(images_per_s, 2),
            detections_per_s=round(detections_per_s, 2),
            images_per_s_per_w=round(images_per_s / total_w, 3) if total_w else None,
            joules_per_image=round(total_w / images_per_s, 4) if total_w and images_per_s else None,
        )


def board_name(device_tree: Path = Path("/proc/device-tree")) -> str:
    """What the firmware calls this board; the processor architecture where it says nothing."""
    try:
        return (device_tree / "model").read_text(encoding="utf-8").strip("\0 \n")
    except OSError:
        return platform.machine()

"""How late the frames of a run were."""

from __future__ import annotations

from edge_fer.bench.speed import percentile
from edge_fer.events import LatencyMs
from edge_fer.telemetry import LatencyMeter


class Delays(LatencyMeter):
    """Of all frames; put in place of a pipeline's meter, which is emptied with each sample of telemetry."""

    def __init__(self) -> None:
        super().__init__()
        self.all_ms: list[float] = []

    def add(self, latency_ms: float) -> None:
        """Keep one frame's."""
        self.all_ms.append(latency_ms)

    def quantiles(self) -> LatencyMs | None:
        """Nearest ranks; None where there was no frame."""
        if not self.all_ms:
            return None
        ordered_us = sorted(round(delay_ms * 1000) for delay_ms in self.all_ms)
        p50, p95, p99 = (round(percentile(ordered_us, share) / 1000, 1) for share in (0.5, 0.95, 0.99))
        return LatencyMs(p50, p95, p99)

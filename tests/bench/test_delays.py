"""How late the frames of a run were: all of them, whatever the daemon's telemetry does meanwhile."""

from __future__ import annotations

from edge_fer.bench.delays import Delays
from edge_fer.telemetry import LATENCIES_KEPT


def test_all_frames_count_whoever_samples_them_meanwhile() -> None:
    delays = Delays()
    for number in range(1, 2 * LATENCIES_KEPT + 1):
        delays.add(float(number))
        if number % 1000 == 0:
            delays.take()
    told = delays.quantiles()
    assert told is not None
    assert (told.p50, told.p95, told.p99) == (4096.0, 7783.0, 8111.0)  # of 1 to 8192: half, 0.95 and 0.99 of 8192


def test_without_a_frame_there_are_no_quantiles() -> None:
    assert Delays().quantiles() is None

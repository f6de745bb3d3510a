"""How fast something is that is done again and again, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from edge_fer.bench.figures import Speed
from edge_fer.bench.window import Clocks, Conditions, Watch, Window

WARM_UP_RUNS, LONGEST_WARM_UP_S = 20, 0.5

NO_SENSOR = "no power sensor is read"

IMAGES_FOR_P99 = 100
"""With fewer the p99 is just the slowest image."""


def measure_speed(
    once: Callable[[], object],
    *,
    seconds: float,
    watch: Watch | None = None,
    idle_w: float | None = None,
    no_energy: str = "",
    clocks: Clocks | None = None,
) -> Speed:
    """Do it for so many seconds, warm, one image a call; at least once, however long that takes.

    `watch` gives the readings of the sensors, `idle_w` the watts before anything ran (`measure_idle`); without one of
    them there is no energy, and `energy_missing` says why: `no_energy`, or what happened to the sensor.
    """
    clocks = clocks or Clocks()
    _warm_up(once, clocks)
    window, cpu_ns = Window(watch, clocks), clocks.cpu_ns()
    until_ns = window.started_ns + int(seconds * 1e9)
    walls_ns, started_ns = [], clocks.wall_ns()
    while True:
        once()
        ended_ns = clocks.wall_ns()
        walls_ns.append(ended_ns - started_ns)
        started_ns = ended_ns
        if ended_ns >= until_ns:
            break
    cpu_ns = clocks.cpu_ns() - cpu_ns
    return speed_of(walls_ns, cpu_ns, window.close(), idle_w, no_energy if watch else no_energy or NO_SENSOR)


def measure_idle(watch: Watch, seconds: float, clocks: Clocks | None = None) -> Conditions:
    """What the board draws while this program does nothing."""
    clocks = clocks or Clocks()
    window = Window(watch, clocks)
    clocks.sleep(seconds)
    return window.close()


def speed_of(
    walls_ns: Sequence[int], cpu_ns: int, conditions: Conditions, idle_w: float | None, no_energy: str = ""
) -> Speed:
    """Of the wall time of each image and the conditions that they ran in."""
    images = len(walls_ns)
    energy, missing = (None, no_energy) if no_energy else conditions.energy(images, idle_w)
    ordered = sorted(walls_ns)
    few = [f"only {images} images, so p99 is about the slowest"] if images < IMAGES_FOR_P99 else []
    return Speed(
        images=images,
        seconds=conditions.seconds,
        p50_ms=percentile(ordered, 0.5) / 1e6,
        p95_ms=percentile(ordered, 0.95) / 1e6,
        p99_ms=percentile(ordered, 0.99) / 1e6,
        cpu_ms=cpu_ns / images / 1e6,
        energy=energy,
        energy_missing=missing,
        temperature_c=conditions.temperature_c,
        throttled=conditions.throttled,
        disturbed="; ".join([*few, *([conditions.disturbed] if conditions.disturbed else [])]),
    )


def percentile(ordered: Sequence[int], share: float) -> int:
    """The smallest value that so large a share of them does not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _warm_up(once: Callable[[], object], clocks: Clocks) -> None:
    until_ns = clocks.wall_ns() + int(LONGEST_WARM_UP_S * 1e9)
    for _ in range(WARM_UP_RUNS):
        once()
        if clocks.wall_ns() >= until_ns:
            return

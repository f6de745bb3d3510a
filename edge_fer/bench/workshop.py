"""What a diagnosis works with: the sensors, the networks, the pipeline, and whoever tells the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from edge_fer.bench.baseline import measure_baseline_rows
from edge_fer.bench.figures import BaselineRow, Load, PipelineRow
from edge_fer.bench.networks import Contender, Loaded, contenders, load, usable_cores
from edge_fer.bench.plan import SECONDS_WITH_WATTS, Plan
from edge_fer.bench.sensing import Senses, sensing
from edge_fer.capture.uri import CameraUri
from edge_fer.classify import NetworkName
from edge_fer.sensors.machine import Machine


@dataclass(frozen=True, slots=True)
class Place:
    """What rows of one mode are measured in."""

    senses: Senses
    seconds: float
    idle_w: float | None
    no_watts: str  # why there is no energy; empty where there is


def measure_pipeline(uri: CameraUri, network: NetworkName, place: Place) -> PipelineRow:
    """A clip through the whole daemon; where there are watts, again and again."""
    from edge_fer.bench.flow import measure_flow  # the daemon, with all that it needs

    return measure_flow(
        uri,
        network,
        watch=place.senses.watch,
        idle_w=place.idle_w,
        no_energy=place.no_watts,
        seconds=None if place.no_watts else place.seconds,
    )


def measure_cameras(plan: Plan) -> Load:
    """The first clip as several cameras."""
    from edge_fer.bench.load import measure_load

    seconds = plan.seconds or SECONDS_WITH_WATTS
    return measure_load(plan.clips[0], plan.networks[0], cameras=plan.cameras or 1, fps=plan.fps, seconds=seconds)


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a diagnosis works with; tests bring work and clocks of their own."""

    sensing: Callable[[Machine], AbstractContextManager[Senses]] = sensing
    contenders: Callable[[Sequence[NetworkName]], list[Contender]] = contenders
    load: Callable[[Contender, int], Loaded] = load
    pipeline: Callable[[CameraUri, NetworkName, Place], PipelineRow] = measure_pipeline
    cameras: Callable[[Plan], Load] = measure_cameras
    baseline: Callable[[NetworkName, Sequence[int], float], tuple[tuple[BaselineRow, ...], str]] = measure_baseline_rows
    cores: Callable[[], int] = usable_cores
    unix_ns: Callable[[], int] = time.time_ns

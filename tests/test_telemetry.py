"""Counts and watts -> throughput, by hand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from edge_fer.capture.inbox import FrameCounts
from edge_fer.frame import Box, Face
from edge_fer.labels import EXPRESSIONS
from edge_fer.telemetry import ThroughputMeter
from edge_fer.tracking.search import DetectorSettings, SearchPlan, plan_search
from edge_fer.workload import Workload

FRAME = np.zeros((720, 1280, 3), np.uint8)


class Networks:
    """Finds nobody, and reads everybody as neutral."""

    def plan(self, width_px: int, height_px: int) -> SearchPlan:
        return plan_search(DetectorSettings(max_distance_m=5), width_px, height_px)

    def whole(self, _bgr: npt.NDArray[np.uint8], _plan: SearchPlan) -> list[Face]:
        return []

    def near(self, _bgr: npt.NDArray[np.uint8], _box: Box) -> list[Face]:
        return []

    def read_all(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return np.eye(len(EXPRESSIONS), dtype=np.float32)[[0] * len(crops)]


class Bench:
    """A workload and its meter, with a clock of their own."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.work = Workload()
        self.meter = ThroughputMeter(10, workload=self.work, clock_s=lambda: self.now_s)


def test_every_run_of_a_network_is_counted_also_when_networks_are_replaced() -> None:
    work = Workload()
    search, reader = work.counting_search(Networks()), work.counting_reader(Networks())
    plan = search.plan(1280, 720)
    search.whole(FRAME, plan)
    assert len(plan.views) > 1
    assert work.detections == len(plan.views)
    assert reader.read_all(np.zeros((3, 48, 48), np.uint8)).shape == (3, 8)
    later, others = work.counting_search(Networks()), work.counting_reader(Networks())
    later.near(FRAME, Box(0, 0, 10, 10))
    others.read_all(np.zeros((2, 48, 48), np.uint8))
    assert (work.images, work.detections) == (5, len(plan.views) + 1)


def test_rates_are_over_the_period_and_its_watts() -> None:
    bench = Bench()
    bench.work.images, bench.work.detections, bench.now_s = 200, 70, 110.0
    counts = {"front": FrameCounts(captured=250, dropped=1, withheld=2, looked_at=247)}
    told = bench.meter.sample(counts, total_w=5.0)
    # 200 images in 10 s are 20 a second; over 5 W 4 a second and watt, or per joule; 50 J over 200 images are 0.25 J.
    assert (told.images_per_s, told.detections_per_s) == (20.0, 7.0)
    assert (told.images_per_s_per_w, told.joules_per_image) == (4.0, 0.25)
    assert told.cameras["front"].fps == 24.7
    bench.work.images, bench.now_s = 230, 114.0
    told = bench.meter.sample(counts, total_w=6.0)
    # 30 in 4 s: 7.5 a second, 1.25 per joule, 24 J over 30.
    assert (told.images_per_s, told.images_per_s_per_w, told.joules_per_image) == (7.5, 1.25, 0.8)


def test_without_a_face_an_image_has_no_joules_and_without_a_sensor_nothing_is_made_up() -> None:
    bench = Bench()
    bench.now_s += 10
    idle = bench.meter.sample({}, total_w=5.0)
    assert (idle.images_per_s, idle.images_per_s_per_w, idle.joules_per_image) == (0.0, 0.0, None)
    bench.work.images, bench.now_s = 10, 120.0
    blind = bench.meter.sample({}, total_w=None)
    assert (blind.images_per_s, blind.images_per_s_per_w, blind.joules_per_image) == (1.0, None, None)


def test_it_is_due_when_its_period_is_over() -> None:
    bench = Bench()
    assert not bench.meter.due()
    bench.now_s += 10
    assert bench.meter.due()
    assert bench.meter.sample({}).period_s == pytest.approx(10)
    assert not bench.meter.due()

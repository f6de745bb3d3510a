from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from drawn_faces import landmarks
from test_open_tracks import START

from edge_fer.capture.inbox import CameraChange, Inbox
from edge_fer.decide import DecideSettings
from edge_fer.frame import Box, Face, Frame
from edge_fer.judge import Judge
from edge_fer.labels import EXPRESSIONS
from edge_fer.messages import Message
from edge_fer.outbox.open_tracks import OpenTrack
from edge_fer.perceive import Perception
from edge_fer.pipeline import Pipeline
from edge_fer.quality import QualitySettings
from edge_fer.tracking.follow import FaceFollower
from edge_fer.tracking.search import DetectorSettings, SearchPlan, plan_search

PERIOD_MS = 100
ANY_QUALITY = QualitySettings(min_brightness=0, min_sharpness=0)
FACE = Face(Box(100, 50, 80, 80), landmarks(120, 80, 160, 80), 0.9)


class SeenBy:
    """A search and a reader that find what the script says for each frame: a label, or None for no face."""

    def __init__(self, script: Sequence[str | None]) -> None:
        self._script = script
        self.detections = 0

    def plan(self, width_px: int, height_px: int) -> SearchPlan:
        return plan_search(DetectorSettings(), width_px, height_px)

    def whole(self, bgr: npt.NDArray[np.uint8], plan: SearchPlan) -> list[Face]:
        assert plan.views[0].width == bgr.shape[1]
        self.detections += 1
        return [FACE] if self._script[int(bgr[0, 0, 0])] else []

    def near(self, bgr: npt.NDArray[np.uint8], box: Box) -> list[Face]:
        assert box.iou(FACE.box) > 0
        self.detections += 1
        return [FACE] if self._script[int(bgr[0, 0, 0])] else []

    def read_all(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        labels = [self._script[int(crop[24, 24])] or "neutral" for crop in crops]
        return np.array([[0.93 if name == label else 0.01 for name in EXPRESSIONS] for label in labels], np.float32)


class Kept:
    def __init__(self) -> None:
        self.messages: list[Message] = []

    def publish(self, message: Message) -> None:
        self.messages.append(message)

    def below(self, end: str) -> list[Message]:
        return [message for message in self.messages if message.topic.endswith(end)]


def play(script: Sequence[str | None], every_frames: int = 1) -> tuple[Kept, Pipeline, SeenBy]:
    """One camera sees the script, a frame each 100 ms; a frame's grey level is its number in the script."""
    seen, kept, inbox = SeenBy(script), Kept(), Inbox()
    find = DetectorSettings(every_frames=every_frames, lost_after_ms=500)
    decide = DecideSettings(smoothing_ms=0, settle_ms=200, hold_ms=300)
    pipeline = Pipeline(
        {"front": Perception(FaceFollower(seen, find), seen, ANY_QUALITY)},
        Judge(["front"], decide=decide, rules={}, boot_id="boot", number=itertools.count(1).__next__),
        node="lab",
        inbox=inbox,
        publisher=kept,
    )
    pipeline.start(0)
    inbox.report(CameraChange("front", "online", "", 0, 0))
    pipeline.turn(0)
    for number in range(len(script)):
        image = np.full((240, 320, 3), number, np.uint8)
        time_ns = number * PERIOD_MS * 1_000_000
        inbox.put(Frame("front", number, time_ns, time_ns, image, float(number * PERIOD_MS)))
        pipeline.turn(0)
    return kept, pipeline, seen


def told(kept: Kept) -> list[tuple[str, str, int]]:
    return [(event.body["type"], event.body["expression"], event.body["clip_ms"]) for event in kept.below("/events")]


def test_a_visit_is_told_from_start_to_end() -> None:
    kept, _, _ = play([None] * 2 + ["neutral"] * 8 + ["happiness"] * 8 + [None] * 10)
    # Frame 2 finds the face, 3 confirms it, 5 is 200 ms after the first reading; happiness begins at 10 and has held
    # for 300 ms at 13; the face was last found at 17, and 23 is the first frame more than 500 ms later.
    assert told(kept) == [("start", "neutral", 500), ("update", "happiness", 1300), ("end", "happiness", 2300)]


def test_events_count_up_without_a_gap_and_name_node_boot_and_track() -> None:
    kept, _, _ = play(["neutral"] * 8 + [None] * 10 + ["anger"] * 8)
    events = kept.below("/events")
    assert [event.body["seq"] for event in events] == [1, 2, 3]
    assert [event.body["id"] for event in events] == ["boot-1", "boot-2", "boot-3"]
    assert [event.body["track"] for event in events] == [1, 1, 2]
    assert {event.topic for event in events} == {"edge-fer/lab/camera/front/events"}
    assert {(event.qos, event.retain) for event in events} == {(1, False)}


def test_the_state_of_a_camera_is_retained_and_told_only_when_it_changes() -> None:
    kept, _, _ = play([None] * 3 + ["neutral"] * 8 + [None] * 10)
    states = kept.below("/state")
    assert [(state.body["faces"], state.body["expression"]) for state in states] == [
        (None, "unknown"),
        (0, "none"),
        (1, "neutral"),
        (0, "none"),
    ]
    assert {(state.qos, state.retain) for state in states} == {(1, True)}


def test_a_glimpse_is_no_event() -> None:
    kept, _, _ = play([None, "fear", None, None, None, None, None, None, None, None])
    assert told(kept) == []


def test_detection_runs_every_few_frames_and_reading_on_all() -> None:
    kept, pipeline, seen = play(["neutral"] * 12, every_frames=3)
    # Frame 0 finds the face, 1 confirms it; then every third frame, but after 200 ms at the latest.
    assert seen.detections == 7
    assert told(kept) == [("start", "neutral", 300)]
    assert pipeline.views["front"].frames == 12


def test_the_end_of_an_earlier_boot_s_track_is_by_the_clock_of_then() -> None:
    kept = Kept()
    judge = Judge(["front"], decide=DecideSettings(), rules={}, boot_id="boot", number=itertools.count(2).__next__)
    pipeline = Pipeline({}, judge, node="lab", inbox=Inbox(), publisher=kept, clock_synced=lambda: False)
    left = OpenTrack(replace(START, clock_synced=True), START.occurred_at)
    pipeline.start(0, left_open=[left.end(event_id="boot-1", seq=1, boot_id="boot")])
    assert [event.body["clock_synced"] for event in kept.below("/events")] == [True]


def test_stopping_ends_what_is_open_and_says_that_nobody_watches() -> None:
    kept, pipeline, _ = play(["neutral"] * 8)
    pipeline.stop()
    assert [event.body["type"] for event in kept.below("/events")] == ["start", "end"]
    assert kept.below("/events")[-1].body["reason"] == "stopped"
    status = kept.below("/status")
    assert [message.body["state"] for message in status] == ["connecting", "online", "offline"]
    assert kept.below("/state")[-1].body["expression"] == "unknown"


def test_a_lost_camera_ends_its_tracks() -> None:
    kept, pipeline, _ = play(["neutral"] * 8)
    pipeline._inbox.report(CameraChange("front", "offline", "unplugged", 0, 8))
    pipeline.turn(0)
    assert kept.below("/events")[-1].body["reason"] == "camera"
    assert kept.below("/status")[-1].body["reason"] == "unplugged"

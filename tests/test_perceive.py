from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from drawn_faces import landmarks

from edge_fer.frame import Box, Face, Frame
from edge_fer.labels import EXPRESSIONS
from edge_fer.look import Look
from edge_fer.perceive import Perception
from edge_fer.quality import QualitySettings
from edge_fer.tracking.follow import FaceFollower
from edge_fer.tracking.search import DetectorSettings, SearchPlan, plan_search

STEP_NS = 100_000_000
NOISE = np.random.default_rng(7).integers(40, 200, (480, 640, 3), dtype=np.uint8)


def face_at(left: float, top: float = 50, side: float = 80) -> Face:
    eyes = left + 0.25 * side, top + 0.35 * side, left + 0.75 * side, top + 0.35 * side
    return Face(Box(left, top, side, side), landmarks(*eyes), 0.9)


class People:
    """A search and a network for faces that stand still; each is read with its own certainty."""

    def __init__(self, *faces: Face) -> None:
        self.faces: Sequence[Face] = faces
        self.crops: list[int] = []  # so many at each call of the network
        self.give: Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]] = lambda rows: rows

    def plan(self, width_px: int, height_px: int) -> SearchPlan:
        return plan_search(DetectorSettings(), width_px, height_px)

    def whole(self, _bgr: npt.NDArray[np.uint8], _plan: SearchPlan) -> list[Face]:
        return list(self.faces)

    def near(self, _bgr: npt.NDArray[np.uint8], box: Box) -> list[Face]:
        return [face for face in self.faces if face.box.iou(box) > 0]

    def read_all(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        assert crops.shape[1:] == (48, 48)
        self.crops.append(len(crops))
        rows = np.full((len(crops), len(EXPRESSIONS)), 0.01, np.float32)
        rows[:, 1] = 0.93
        return np.asarray(self.give(rows), np.float32)


def watching(people: People, most: int = 10, **quality: Any) -> Perception:
    follower = FaceFollower(people, DetectorSettings(every_frames=1, lost_after_ms=500))
    return Perception(follower, people, QualitySettings(**quality), most)


def looks(perception: Perception, frames: int, first: int = 0) -> list[Look]:
    return [
        perception.look(
            Frame("front", number, number * STEP_NS, 0, NOISE, number * 100.0), lambda _stage: nullcontext()
        )
        for number in range(first, first + frames)
    ]


def test_every_face_that_is_good_enough_is_read_in_one_batch() -> None:
    people = People(face_at(20), face_at(200), face_at(400))
    *_, look = looks(watching(people), 5)
    assert people.crops[-1] == 3
    assert [face.track for face in look.faces] == [1, 2, 3]
    assert [face.probabilities and face.probabilities.index(max(face.probabilities)) for face in look.faces] == [1] * 3
    assert (look.width_px, look.height_px, look.seq, look.clip_ms, look.waiting) == (640, 480, 4, 400.0, ())


def test_a_face_that_the_gate_refuses_is_seen_and_not_read() -> None:
    people = People(face_at(20), face_at(300, side=30))
    *_, look = looks(watching(people, min_size_px=50), 5)
    assert people.crops[-1] == 1
    small = next(face for face in look.faces if face.quality.size_px == 30)
    assert (small.quality.refusal, small.probabilities) == ("too-small", None)


def test_where_all_are_refused_the_network_is_left_alone() -> None:
    people = People(face_at(300, side=30))
    looks(watching(people, min_size_px=50), 5)
    assert people.crops == []


def test_of_more_faces_than_a_frame_has_time_for_the_others_wait_for_their_turn() -> None:
    people = People(*(face_at(10 + 120 * number) for number in range(5)))
    *_, before, last = looks(watching(people, most=3), 9)
    for look in (before, last):
        assert len(look.faces) == 3
        assert sorted([*look.waiting, *(face.track for face in look.faces)]) == [1, 2, 3, 4, 5]
    assert set(before.waiting) <= {face.track for face in last.faces}


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_numbers_that_a_broken_network_gives_are_no_reading(broken: float) -> None:
    people = People(face_at(20), face_at(300))

    def spoil(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        rows[0, 3] = broken
        return rows

    people.give = spoil
    *_, look = looks(watching(people), 5)
    assert [face.probabilities is None for face in look.faces] == [True, False]
    json.dumps(asdict(look), allow_nan=False)


def test_whoever_is_there_after_the_camera_looked_away_is_somebody_new() -> None:
    people = People(face_at(20))
    perception = watching(people)
    *_, before = looks(perception, 5)
    perception.forget()
    *_, after = looks(perception, 5, first=5)
    assert before.faces[0].track != after.faces[0].track


def test_a_face_that_has_left_is_told_as_lost_once() -> None:
    people = People(face_at(20))
    perception = watching(people)
    looks(perception, 5)
    people.faces = ()
    lost = [look.lost for look in looks(perception, 20, first=5)]
    assert [tracks for tracks in lost if tracks] == [(1,)]


def test_a_clock_that_was_set_back_makes_no_negative_age() -> None:
    perception = watching(People())
    look = perception.look(Frame("front", 0, 0, 2**62, NOISE), lambda _stage: nullcontext())
    assert look.age_ms == 0

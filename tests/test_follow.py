from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from clip_frames import clip_frames
from drawn_faces import face_at

from edge_fer.frame import Box, Face, Frame
from edge_fer.tracking.follow import EACH_FRAME_MS, FaceFollower, Followed, FollowStage, LookRate
from edge_fer.tracking.search import DetectorSettings, FaceSearch, SearchPlan, plan_search

Script = Callable[[int], list[Face]]


class Scripted:
    """Knows the faces of each frame and notes where it was asked to look: "whole", or the left border of a region."""

    def __init__(self, script: Script, *, blind: Mapping[str, set[int]] | None = None, wish: int | None = None) -> None:
        self._script, self._blind, self._wish = script, blind or {}, wish
        self.now = 0
        self.looks: list[list[str | int]] = []

    def plan(self, width_px: int, height_px: int) -> SearchPlan:
        return plan_search(DetectorSettings(min_face_px=self._wish), width_px, height_px)

    def whole(self, bgr: npt.NDArray[np.uint8], plan: SearchPlan) -> list[Face]:  # noqa: ARG002
        self.looks[-1].append("whole")
        return [] if self.now in self._blind.get("whole", set()) else self._script(self.now)

    def near(self, bgr: npt.NDArray[np.uint8], box: Box) -> list[Face]:  # noqa: ARG002
        self.looks[-1].append(round(box.left))
        hidden = self.now in self._blind.get("near", set())
        return [] if hidden else [face for face in self._script(self.now) if face.box.iou(box) > 0.1]


def follow(
    search: Scripted, frames: int, period_ms: int = 40, size: tuple[int, int] = (640, 360), **table: int
) -> list[Followed]:
    follower = FaceFollower(search, DetectorSettings(**table))  # type: ignore[arg-type]
    seen = []
    for number in range(frames):
        search.now = number
        search.looks.append([])
        bgr = np.broadcast_to(np.uint8(0), (size[1], size[0], 3))
        seen.append(follower.follow(Frame("front", number, number * period_ms * 1_000_000, 0, bgr)))
    return seen


def found(followed: list[Followed]) -> list[list[int]]:
    return [[seen.track.id for seen in now.found] for now in followed]


def test_an_empty_room_is_searched_wholly_in_every_third_frame() -> None:
    search = Scripted(lambda _: [])
    follow(search, 9)
    assert search.looks == [["whole"], [], [], ["whole"], [], [], ["whole"], [], []]


def looks_at(rate: LookRate, period_ms: int, **table: int) -> list[int]:
    """Frames of 30 of an empty room that are searched."""
    search = Scripted(lambda _: [])
    follower = FaceFollower(search, DetectorSettings(**table))  # type: ignore[arg-type]
    follower.look_every(rate)
    for number in range(30):
        search.looks.append([])
        follower.follow(Frame("front", number, number * period_ms * 1_000_000, 0, np.zeros((360, 640, 3), np.uint8)))
    return [number for number, look in enumerate(search.looks) if look]


def test_faces_are_looked_for_less_often_on_request_but_never_more_often_than_set() -> None:
    assert looks_at(LookRate(every_frames=5), 30) == list(range(0, 30, 5))
    assert looks_at(LookRate(every_frames=2), 30) == list(range(0, 30, 3))
    assert looks_at(LookRate(every_frames=2), 30, every_frames=1) == list(range(0, 30, 2))


def test_a_slow_cameras_faces_are_looked_for_after_a_time_whatever_the_number() -> None:
    assert looks_at(LookRate(every_frames=3), 250) == list(range(30))
    assert looks_at(LookRate(every_frames=3, every_ms=750), 250) == list(range(0, 30, 3))


def test_each_frame_is_searched_on_request() -> None:
    assert looks_at(LookRate(every_ms=EACH_FRAME_MS), 30) == list(range(30))


def test_a_new_face_is_confirmed_in_the_next_frame_and_then_looked_at_in_every_third() -> None:
    search = Scripted(lambda _: [face_at(100)])
    followed = follow(search, 10)
    assert search.looks == [["whole"], [100], [], [100], [], [], [100], [], [], [100]]
    assert found(followed) == [[], *[[1]] * 9]


def test_the_whole_frame_is_searched_twice_a_second_while_a_face_is_followed() -> None:
    search = Scripted(lambda _: [face_at(100)])
    follow(search, 60)
    whole = [number for number, look in enumerate(search.looks) if "whole" in look]
    assert whole == [0, 15, 30, 45]  # 500 ms are 12.5 frames, and looks are made in every third


def test_somebody_who_comes_in_is_found_at_the_next_search_and_gets_an_id_of_his_own() -> None:
    followed = follow(Scripted(lambda now: [face_at(100), face_at(400)] if now > 5 else [face_at(100)]), 20)
    assert found(followed)[14] == [1]
    assert found(followed)[16] == [1, 2]


def test_many_faces_are_looked_at_together_because_that_costs_less() -> None:
    few, many = (Scripted(lambda _, count=count: [face_at(120 * n) for n in range(count)]) for count in (2, 5))
    follow(few, 7)
    follow(many, 7)
    assert few.looks[3] == [0, 120]
    assert many.looks[3] == ["whole"]


def test_a_missed_face_is_not_read_but_looked_for_at_once_and_then_as_the_others() -> None:
    hidden = set(range(5, 12))
    search = Scripted(lambda now: [] if now in hidden else [face_at(100)])
    followed = follow(search, 16)
    assert search.looks[6:14] == [[100], [100], [], [100], [], [], [100], []]
    assert found(followed)[4:14] == [[1], [1], [], [], [], [], [], [], [1], [1]]


def test_a_face_that_the_search_misses_gets_a_second_look_in_the_same_frame() -> None:
    search = Scripted(lambda _: [face_at(100)], blind={"whole": {15}})
    followed = follow(search, 18)
    assert search.looks[15] == ["whole", 100]
    assert found(followed)[1:] == [[1]] * 17


def test_a_slow_camera_looks_at_every_frame() -> None:
    search = Scripted(lambda _: [face_at(100)])
    follow(search, 6, period_ms=250)
    assert all(search.looks)


def test_a_false_alarm_is_neither_found_nor_lost() -> None:
    search = Scripted(lambda now: [face_at(100)] if now == 0 else [])
    followed = follow(search, 20)
    assert found(followed) == [[]] * 20
    assert [now.lost for now in followed] == [()] * 20


def test_who_has_left_is_told_once_and_ids_go_on() -> None:
    search = Scripted(lambda now: [face_at(100)] if now < 10 or now > 50 else [])
    followed = follow(search, 60)
    assert [track.id for now in followed for track in now.lost] == [1]
    assert found(followed)[-1] == [2]


def test_costly_tiles_are_searched_twice_a_second_even_in_an_empty_room() -> None:
    search = Scripted(lambda _: [], wish=16)
    follow(search, 30)
    assert [number for number, look in enumerate(search.looks) if look] == [0, 15]


def test_a_camera_that_changes_its_size_starts_anew(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    search = Scripted(lambda _: [face_at(100)])
    follower = FaceFollower(search)
    lost = []
    for number in range(6):
        search.looks.append([])
        bgr = np.zeros((360, 640, 3) if number < 3 else (720, 1280, 3), np.uint8)
        lost.append([track.id for track in follower.follow(Frame("front", number, number * 40_000_000, 0, bgr)).lost])
    assert lost == [[], [], [], [1], [], []]
    assert follower.plan is not None
    assert follower.plan.smallest_px == pytest.approx(0.07 * 1280)
    assert "front, 640x360: detector full on the whole frame; finds faces of 45 px" in caplog.text
    assert "front, 1280x720" in caplog.text


def test_dropping_all_ends_confirmed_tracks_and_searches_again() -> None:
    search = Scripted(lambda _: [face_at(100)])
    follower = FaceFollower(search)
    frames = [Frame("front", n, n * 40_000_000, 0, np.zeros((360, 640, 3), np.uint8)) for n in range(4)]
    search.looks.append([])
    for frame in frames[:2]:
        follower.follow(frame)
    assert [track.id for track in follower.drop_all()] == [1]
    assert follower.drop_all() == []
    search.looks.append([])
    follower.follow(frames[2])
    assert search.looks[-1] == ["whole"]
    assert [seen.track.id for seen in follower.follow(frames[3]).found] == [2]


def test_the_work_is_counted_by_stage() -> None:
    entered: list[FollowStage] = []

    @contextmanager
    def stage(name: FollowStage) -> Iterator[None]:
        entered.append(name)
        yield

    search = Scripted(lambda _: [])
    search.looks.append([])
    follower = FaceFollower(search)
    for number in range(2):
        follower.follow(Frame("front", number, number * 40_000_000, 0, np.zeros((360, 640, 3), np.uint8)), stage)
    assert entered == ["track and decide", "detect", "track and decide", "track and decide", "track and decide"]


def test_the_woman_of_the_sample_clip_is_one_track_in_nearly_every_frame(sample_clip: Path) -> None:
    follower = FaceFollower(FaceSearch())
    per_frame = [[seen.track.id for seen in follower.follow(frame).found] for frame in clip_frames(sample_clip)]
    assert {number for ids in per_frame for number in ids} == {1}
    assert sum(map(bool, per_frame)) >= len(per_frame) - 12  # half a second


def test_nobody_is_followed_where_nobody_is(media: Path) -> None:
    follower = FaceFollower(FaceSearch())
    assert [now for frame in clip_frames(media / "no_face.mp4") for now in follower.follow(frame).found] == []


def test_two_people_who_turn_their_heads_keep_their_ids(media: Path) -> None:
    follower = FaceFollower(FaceSearch())
    clip = media / "head-pose-face-detection-female-and-male.gif"
    per_frame = [[seen.track.id for seen in follower.follow(frame).found] for frame in clip_frames(clip)]
    assert per_frame[0] == []
    assert per_frame.count([1, 2]) >= len(per_frame) - 3


def test_what_is_asked_for_is_searched_in_the_next_frame_and_other_settings_leave_the_tracks() -> None:
    search = Scripted(lambda _: [face_at(100)])
    follower = FaceFollower(search, DetectorSettings())
    other = Scripted(lambda _: [face_at(100)], wish=200)

    def look(number: int) -> list[int]:
        search.looks.append([])
        other.looks.append([])
        seen = follower.follow(
            Frame("front", number, number * 40_000_000, 0, np.broadcast_to(np.uint8(0), (360, 640, 3)))
        )
        assert not seen.lost
        return [one.track.id for one in seen.found]

    for number in range(5):
        look(number)
    assert search.looks[4] == []
    follower.search_now()
    assert look(5) == [1]
    assert search.looks[5] == ["whole"]
    follower.use(other, DetectorSettings(every_frames=1))
    assert follower.plan == other.plan(640, 360)
    assert [look(number) for number in (6, 7, 8)] == [[1]] * 3
    assert other.looks[6:] == [["whole"], [100], [100]]
    assert search.looks[6:] == [[], [], []]

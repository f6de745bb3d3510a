from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drawn_faces import face_at

from edge_fer.frame import Box
from edge_fer.tracking.clothing import blended, clothing, unlike
from edge_fer.tracking.motion import Motion
from edge_fer.tracking.track import MAX_COST, Tracker, pair_cost

MS = 1_000_000


def ids(tracker: Tracker) -> dict[int, int]:
    """Where the faces of the newest look are: id -> left border."""
    return {track.id: round(track.face.box.left) for track in tracker.tracks if track.found}


def test_one_detection_is_not_yet_a_person() -> None:
    tracker = Tracker()
    tracker.update([face_at(0)], 0)
    assert not tracker.tracks[0].confirmed
    tracker.update([face_at(1)], 100 * MS)
    assert tracker.tracks[0].confirmed


def test_a_false_alarm_is_gone_after_two_looks_and_its_id_too() -> None:
    tracker = Tracker()
    tracker.update([face_at(0)], 0)
    tracker.update([], 40 * MS)
    assert tracker.drop_lost() == []
    tracker.update([], 80 * MS)
    assert [track.id for track in tracker.drop_lost()] == [1]
    tracker.update([face_at(0)], 120 * MS)
    assert ids(tracker) == {2: 0}


def test_between_detections_a_track_moves_on_as_it_moved() -> None:
    tracker = Tracker()
    for step in range(12):  # 10 px every 100 ms
        tracker.update([face_at(10 * step)], step * 100 * MS)
    (track,) = tracker.tracks
    # The filter takes the speed as fading slowly: 1 - 0.05 / (2 * 2 s) of 5 px, and its gain is not 1.
    assert track.at(1150 * MS).box.left == pytest.approx(115, abs=0.3)
    assert track.at(1150 * MS).landmarks.left_x == pytest.approx(115 + 15, abs=0.3)


def test_the_frame_rate_and_dropped_frames_do_not_matter() -> None:
    speeds = []
    for times in (range(0, 3000, 40), range(0, 3000, 200), [0, 40, 400, 440, 1000, 1500, 1540, 2100, 2600, 3000]):
        tracker = Tracker()
        for time_ms in times:
            tracker.update([face_at(0.1 * time_ms)], time_ms * MS)
        assert len(tracker.tracks) == 1
        speeds.append(tracker.tracks[0].motion.speed_x)
    assert speeds == pytest.approx([100] * 3, rel=0.1)


def test_two_people_keep_their_ids_whatever_the_order_of_detection() -> None:
    tracker = Tracker()
    tracker.update([face_at(0), face_at(200)], 0)
    tracker.update([face_at(204), face_at(3)], 100 * MS)
    assert ids(tracker) == {1: 3, 2: 204}


def test_the_assignment_is_the_best_of_all_and_not_of_the_first_pair() -> None:
    tracker = Tracker()
    for step in range(3):
        tracker.update([face_at(100), face_at(150)], step * 100 * MS)
    # Both have moved by 30 px to the right: the nearest pair is the second track with the first face.
    tracker.update([face_at(130), face_at(180)], 300 * MS)
    assert ids(tracker) == {1: 130, 2: 180}


def test_a_face_gone_for_longer_than_allowed_is_lost_and_its_id_is_never_used_again() -> None:
    tracker = Tracker(lost_after_ms=500)
    tracker.update([face_at(0)], 0)
    tracker.update([face_at(0)], 50 * MS)
    tracker.update([], 100 * MS)
    tracker.update([], 599 * MS)
    assert tracker.drop_lost() == []
    tracker.update([], 600 * MS)
    assert [track.id for track in tracker.drop_lost()] == [1]
    tracker.update([face_at(0)], 700 * MS)
    assert [track.id for track in tracker.drop_all()] == [2]
    tracker.update([face_at(0)], 800 * MS)
    assert [track.id for track in tracker.tracks] == [3]


def walking(tracker: Tracker, until_ms: int, speed: float = 0.2) -> None:
    for time_ms in range(0, until_ms, 100):
        tracker.update([face_at(speed * time_ms)], time_ms * MS)


@pytest.mark.parametrize("gap_ms", [200, 500, 1000])
def test_a_face_that_comes_back_where_it_should_be_is_the_same(gap_ms: int) -> None:
    tracker = Tracker(lost_after_ms=1000)
    walking(tracker, 1000)
    for time_ms in range(1000, 900 + gap_ms, 100):
        tracker.update([], time_ms * MS)
        assert tracker.drop_lost() == []
    back_ms = 900 + gap_ms
    tracker.update([face_at(0.2 * back_ms)], back_ms * MS)
    assert [(track.id, track.found) for track in tracker.tracks] == [(1, True)]


def test_somebody_else_far_from_the_hidden_face_is_new() -> None:
    tracker = Tracker()
    walking(tracker, 1000)
    for time_ms in range(1000, 1500, 100):
        tracker.update([], time_ms * MS)
    tracker.update([face_at(600)], 1500 * MS)
    assert ids(tracker) == {2: 600}


def test_the_longer_a_face_is_hidden_the_farther_off_it_may_come_back() -> None:
    motion = Motion.starting(Box(0, 0, 50, 50), 0)
    for time_ms in range(100, 1000, 100):
        motion.take(Box(0, 0, 50, 50), time_ms * MS)
    spread = [motion.expected((900 + gap_ms) * MS).sigma for gap_ms in (0, 100, 500, 1000)]
    assert spread == sorted(spread)
    aside = Box(100, 0, 50, 50)  # two sides off
    assert pair_cost(motion.expected(1000 * MS), aside) >= MAX_COST
    assert pair_cost(motion.expected(1900 * MS), aside) < MAX_COST


@pytest.mark.parametrize("period_ms", [500, 1000, 3000])
def test_a_camera_of_few_frames_keeps_its_people(period_ms: int) -> None:
    tracker = Tracker(lost_after_ms=1000)
    for number in range(5):
        tracker.update([face_at(number)], number * period_ms * MS)
        assert tracker.drop_lost() == []
    assert [(track.id, track.hits) for track in tracker.tracks] == [(1, 5)]


def test_a_face_far_away_is_another_person() -> None:
    tracker = Tracker()
    tracker.update([face_at(0)], 0)
    tracker.update([face_at(300)], 100 * MS)
    assert [track.id for track in tracker.tracks] == [1, 2]


def test_a_face_of_another_size_at_the_same_place_is_another_person() -> None:
    tracker = Tracker()
    for step in range(3):
        tracker.update([face_at(100, 100, 50)], step * 100 * MS)
    tracker.update([face_at(75, 75, 100)], 300 * MS)
    assert not tracker.tracks[0].found


def test_a_second_box_on_a_face_makes_no_second_track() -> None:
    tracker = Tracker()
    for step in range(4):
        tracker.update([face_at(100, 100, 50), face_at(112, 100, 50), face_at(108, 108, 25)], step * 100 * MS)
    assert len(tracker.tracks) == 1


def test_a_part_of_a_face_that_was_just_missed_is_nobody_new() -> None:
    tracker = Tracker()
    for step in range(4):
        tracker.update([face_at(100, 100, 60)], step * 100 * MS)
    tracker.update([face_at(110, 110, 25)], 400 * MS)
    assert len(tracker.tracks) == 1


def test_a_track_that_the_look_did_not_aim_at_is_not_missed() -> None:
    tracker = Tracker()
    for step in range(2):
        tracker.update([face_at(0), face_at(300)], step * 100 * MS)
    tracker.update([face_at(0)], 200 * MS, looked_for={1})
    assert [track.found for track in tracker.tracks] == [True, True]
    tracker.update([], 300 * MS, looked_for={2})
    assert [track.found for track in tracker.tracks] == [True, False]


def test_time_that_jumps_back_breaks_nothing() -> None:
    tracker = Tracker()
    walking(tracker, 1000)
    tracker.update([face_at(180)], 0)
    tracker.update([face_at(180)], 100 * MS)
    assert [track.id for track in tracker.tracks] == [1]


def dressed(colour: tuple[int, int, int]) -> np.ndarray:
    bgr = np.zeros((300, 400, 3), np.uint8)
    bgr[150:] = colour
    return bgr


def test_clothing_tells_two_hidden_people_apart() -> None:
    red, blue = (clothing(dressed(colour), face_at(100).box) for colour in ((0, 0, 200), (200, 0, 0)))
    assert unlike(red, red) == pytest.approx(0, abs=1e-6)
    assert unlike(red, blue) == pytest.approx(1)
    tracker = Tracker()
    for step in range(4):
        tracker.update([face_at(100), face_at(220)], step * 100 * MS, clothes=[red, blue])
    for step in range(4, 10):
        tracker.update([], step * 100 * MS)
    # They have changed places behind something: the motion alone would take each for the other.
    tracker.update([face_at(100), face_at(220)], 1000 * MS, clothes=[blue, red])
    assert ids(tracker) == {1: 220, 2: 100}


def test_clothing_below_the_picture_is_unknown_and_changes_slowly() -> None:
    assert clothing(dressed((0, 0, 200)), face_at(100, 240).box) is None
    assert clothing(dressed((0, 0, 200)), face_at(-200, 100).box) is None
    red, blue = (clothing(dressed(colour), face_at(100).box) for colour in ((0, 0, 200), (200, 0, 0)))
    assert blended(None, red) is red
    assert blended(red, None) is red
    mixed = blended(red, blue)
    assert unlike(mixed, red) < unlike(mixed, blue)
    assert mixed is not None
    assert float((mixed**2).sum()) == pytest.approx(1)


def test_a_passer_by_below_a_face_that_is_seen_does_not_end_its_track() -> None:
    red, blue = (clothing(dressed(colour), face_at(100).box) for colour in ((0, 0, 200), (200, 0, 0)))
    tracker = Tracker()
    for step in range(4):
        tracker.update([face_at(100)], step * 100 * MS, clothes=[red])
    tracker.update([face_at(101)], 400 * MS, clothes=[blue])
    assert ids(tracker) == {1: 101}


def test_the_score_of_a_detection_does_not_matter_to_its_track() -> None:
    tracker = Tracker()
    for step, score in enumerate((0.6, 0.99, 0.61)):
        tracker.update([replace(face_at(0), score=score)], step * 100 * MS)
    assert [track.hits for track in tracker.tracks] == [3]

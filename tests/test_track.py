from __future__ import annotations

import pytest

from edge_fer.frame import Box, Eyes, Face
from edge_fer.track import Tracker

MS = 1_000_000


def face_at(x: float, y: float = 100, size: float = 50) -> Face:
    eyes = Eyes(x + size * 0.3, y + size * 0.4, x + size * 0.7, y + size * 0.4)
    return Face(Box(x, y, size, size), eyes, 0.9)


def test_one_detection_is_not_yet_a_person() -> None:
    tracker = Tracker()
    tracker.update([face_at(0)], 0)
    assert not tracker.tracks[0].confirmed
    tracker.update([face_at(1)], 100 * MS)
    assert tracker.tracks[0].confirmed


def test_between_detections_a_track_moves_on_as_it_moved() -> None:
    tracker = Tracker()
    for step in range(12):  # 10 px every 100 ms; the velocity is smoothed by halves, so 12 steps leave under 0.1 %
        tracker.update([face_at(10 * step)], step * 100 * MS)
    (track,) = tracker.tracks
    assert track.at(1150 * MS).box.left == pytest.approx(115, abs=0.1)
    assert track.at(1150 * MS).eyes.left_x == pytest.approx(115 + 15, abs=0.1)


def test_two_people_keep_their_ids_whatever_the_order_of_detection() -> None:
    tracker = Tracker()
    tracker.update([face_at(0), face_at(200)], 0)
    tracker.update([face_at(204), face_at(3)], 100 * MS)
    assert {track.id: track.face.box.left for track in tracker.tracks} == {1: 3, 2: 204}


def test_a_face_gone_for_longer_than_allowed_is_lost_and_its_id_is_never_used_again() -> None:
    tracker = Tracker(lost_after_ms=500)
    tracker.update([face_at(0)], 0)
    tracker.update([], 100 * MS)
    assert tracker.drop_lost(500 * MS) == []
    assert [track.id for track in tracker.drop_lost(501 * MS)] == [1]
    tracker.update([face_at(0)], 600 * MS)
    assert [track.id for track in tracker.tracks] == [2]


@pytest.mark.parametrize("period_ms", [500, 1000, 3000])
def test_a_camera_of_few_frames_keeps_its_people(period_ms: int) -> None:
    tracker = Tracker(lost_after_ms=1000)
    for number in range(5):
        tracker.update([face_at(number)], number * period_ms * MS)
        assert tracker.drop_lost((number * period_ms + period_ms - 1) * MS) == []
    assert [(track.id, track.hits) for track in tracker.tracks] == [(1, 5)]


def test_a_face_far_away_is_another_person() -> None:
    tracker = Tracker()
    tracker.update([face_at(0)], 0)
    tracker.update([face_at(300)], 100 * MS)
    assert [track.id for track in tracker.tracks] == [1, 2]

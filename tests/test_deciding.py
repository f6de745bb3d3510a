from __future__ import annotations

import itertools

import pytest
from story import Story

from edge_fer.decide import DecideSettings
from edge_fer.deciding import CameraDecisions
from edge_fer.events import ExpressionEvent
from edge_fer.labels import EXPRESSIONS
from edge_fer.messages import message


def visit() -> Story:
    return (
        Story().shows(2, front={}).shows(10, front={1: "neutral"}).shows(8, front={1: "happiness"}).shows(3, front={})
    )


def test_a_visit_is_told_from_start_to_end_with_all_its_figures() -> None:
    start, update, end = visit().events
    assert [event.type for event in (start, update, end)] == ["start", "update", "end"]
    assert [event.seq for event in (start, update, end)] == [1, 2, 3]
    assert {event.id for event in (start, update, end)} == {"boot-1", "boot-2", "boot-3"}
    assert (start.previous, start.expression_ms, start.peak, start.mean) == (None, 0, 0.0, 0.0)
    assert (update.expression, update.previous) == ("happiness", "neutral")
    assert update.peak == pytest.approx(0.86)
    assert 0.7 < update.mean < 0.86  # the last of it was already a smile
    assert (end.expression, end.previous, end.reason) == ("happiness", None, "left")
    assert update.expression_ms + end.expression_ms == end.duration_ms
    assert end.duration_ms == pytest.approx(19_000, abs=400)


def test_an_event_says_how_well_and_how_old_it_was_seen() -> None:
    event = visit().events[0]
    assert event.quality is not None
    assert (event.quality.size_px, event.quality.refusal) == (90, None)
    assert event.frame_age_ms == 31
    assert (event.box.left_px, event.box.top_px, event.box.width_px) == (100, 50, 90)
    assert tuple(event.scores) == EXPRESSIONS
    assert sum(event.scores.values()) == pytest.approx(1, abs=0.001)
    assert event.confidence == max(event.scores.values())
    assert message(event, "lab", "front").body["quality"]["yaw_deg"] == 0.0


def test_a_face_that_is_refused_is_present_and_uncertain() -> None:
    story = Story().shows(3, front={1: None})
    (event,) = story.events
    assert (event.type, event.expression, event.confidence) == ("start", "uncertain", 0.125)
    assert event.quality is not None
    assert event.quality.refusal == "turned"
    assert (story.states[-1].faces, story.states[-1].expression) == (1, "uncertain")


def test_a_glimpse_is_no_event() -> None:
    story = Story().shows(0.2, front={1: "fear"}).shows(3, front={})
    assert story.events == []
    assert story.judge.readings("front") == {}


def test_the_state_is_of_the_face_longest_in_view_and_told_on_change_only() -> None:
    story = (
        Story().shows(3, front={1: "neutral"}).shows(3, front={1: "neutral", 2: "anger"}).shows(4, front={2: "anger"})
    )
    assert [(state.faces, state.expression) for state in story.states] == [
        (0, "none"),
        (1, "neutral"),
        (2, "neutral"),
        (1, "anger"),
    ]


@pytest.mark.parametrize(
    ("state", "reason", "told"),
    [
        ("offline", "unplugged", "camera"),
        ("offline", "stopped", "stopped"),
        ("disabled", "asked", "paused"),
        ("dark", "", "camera"),
    ],
)
def test_what_is_open_ends_when_the_camera_sees_nothing_more(state: str, reason: str, told: str) -> None:
    story = Story().shows(3, front={1: "neutral"}).news(state, reason=reason)
    assert (story.events[-1].type, story.events[-1].reason) == ("end", told)
    assert (story.states[-1].faces, story.states[-1].expression, story.states[-1].confidence) == (None, "unknown", None)
    before = len(story.states)
    if state != "offline":
        story.news("offline", reason="gone")
    assert len(story.states) == before


def test_faces_in_a_covered_picture_are_nobody() -> None:
    story = Story().shows(3, front={}).news("dark").shows(5, front={9: "fear"})
    assert story.events == []
    assert story.states[-1].expression == "unknown"
    assert [event.track for event in story.news("online").shows(2, front={10: "fear"}).events] == [10]


def test_events_of_all_cameras_count_up_together() -> None:
    story = Story(cameras=("hall", "front")).shows(3, hall={1: "neutral"}, front={1: "anger"})
    assert [(event.seq, event.camera) for event in story.events] == [(1, "hall"), (2, "front")]


def test_nothing_ends_on_a_camera_that_never_looked() -> None:
    decisions = CameraDecisions(DecideSettings(), boot_id="b", number=itertools.count(1).__next__)
    assert decisions.end_all("stopped") == []


def test_tracks_that_end_at_once_end_in_order() -> None:
    story = Story().shows(3, front={1: "neutral", 2: "anger", 3: None}).news("offline", reason="unplugged")
    ends: list[ExpressionEvent] = [event for event in story.events if event.type == "end"]
    assert [(event.track, event.expression) for event in ends] == [(1, "neutral"), (2, "anger"), (3, "uncertain")]

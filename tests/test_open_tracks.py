from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_fer.events import BoxPx, ExpressionEvent
from edge_fer.messages import message
from edge_fer.outbox.open_tracks import OLD_FILE, OpenTrack, parse_track, read_old_file, track_change, track_json
from edge_fer.readability import Quality

START = ExpressionEvent(
    id="old-1",
    seq=1,
    boot_id="old",
    type="start",
    camera="front",
    track=1,
    expression="sadness",
    confidence=0.7,
    scores={"sadness": 0.7, "neutral": 0.3},
    box=BoxPx(1, 2, 3, 4),
    frame_width_px=640,
    frame_height_px=360,
    duration_ms=250,
    occurred_at="2026-01-01T10:00:00.000Z",
    quality=Quality(size_px=80, brightness=120, sharpness=0.5, yaw_deg=3, roll_deg=-2),
    frame_age_ms=40,
)
LATER = "2026-01-01T10:05:30.000Z"


def event(kind: str, track: int = 1, camera: str = "front", boot_id: str = "old") -> ExpressionEvent:
    return replace(START, type=kind, track=track, camera=camera, boot_id=boot_id)  # type: ignore[arg-type]


def kept(told: ExpressionEvent) -> OpenTrack | None:
    """What comes back of an event."""
    return parse_track(track_json(asdict(told)), LATER)


def test_its_end_tells_which_start_it_belongs_to_and_when_it_was_last_known() -> None:
    track = kept(START)
    assert track == OpenTrack(START, LATER)
    end = track.end(event_id="new-1", seq=1, boot_id="new")
    assert (end.id, end.seq, end.boot_id, end.type, end.reason) == ("new-1", 1, "new", "end", "restart")
    assert (end.track_boot_id, end.track, end.camera, end.expression) == ("old", 1, "front", "sadness")
    assert end.occurred_at == LATER
    assert (end.duration_ms, end.expression_ms) == (330_250, 330_000)
    assert (end.peak, end.mean, end.quality, end.frame_age_ms) == (0.7, 0.7, None, 0)
    assert json.loads(message(end, "lab", end.camera).to_json())["track_boot_id"] == "old"


def test_a_clock_that_was_set_back_makes_no_negative_duration() -> None:
    end = OpenTrack(START, "2026-01-01T09:00:00.000Z").end(event_id="new-1", seq=1, boot_id="new")
    assert (end.duration_ms, end.expression_ms) == (250, 0)
    assert end.occurred_at == START.occurred_at


def test_an_update_is_what_the_end_then_tells() -> None:
    track = kept(replace(event("update"), expression="fear", confidence=0.6, peak=0.9, previous="sadness"))
    assert track
    end = track.end(event_id="new-1", seq=1, boot_id="new")
    assert (end.expression, end.peak, end.previous) == ("fear", 0.6, None)


def test_the_end_of_an_earlier_boot_is_about_the_track_of_that_boot() -> None:
    started = track_change(asdict(START))
    end = OpenTrack(START, LATER).end(event_id="new-1", seq=1, boot_id="new")
    assert track_change(asdict(end)) == (started.key, None)
    assert track_change(asdict(event("end"))) == (started.key, None)
    assert started.body == asdict(START)


WRONG: list[dict[str, object]] = [
    {"camera": "#"},
    {"camera": "a/b"},
    {"confidence": float("nan")},
    {"track": "1"},
    {"track": 2**63},
    {"occurred_at": "yesterday"},
    {"occurred_at": "2026-01-01T10:00:00"},
    {"type": "begin"},
    {"expression": "\ud800"},
]


@pytest.mark.parametrize("wrong", WRONG)
def test_what_could_not_be_published_is_no_open_track(wrong: dict[str, object]) -> None:
    assert parse_track(json.dumps({**asdict(START), **wrong}), LATER) is None


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, 2000), byte=st.integers(0, 127))
def test_an_open_track_with_one_wrong_byte_is_none_or_can_be_told(at: int, byte: int) -> None:
    content = bytearray(json.dumps(asdict(START)).encode())
    content[at % len(content)] = byte
    if track := parse_track(content.decode(), LATER):
        message(track.end(event_id="n-1", seq=1, boot_id="n"), "lab", track.event.camera).to_json()


def test_the_file_of_an_older_version_is_read(tmp_path: Path) -> None:
    entry = {"event": {**asdict(START), "mood": 3}, "last_known_at": LATER, "colour": "red"}
    (tmp_path / OLD_FILE).write_text(json.dumps([entry]))
    assert read_old_file(tmp_path) == ([OpenTrack(START, LATER)], "")
    (tmp_path / OLD_FILE).unlink()
    assert read_old_file(tmp_path) == ([], "")


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(content=st.binary(max_size=300).filter(lambda content: content.strip() != b"[]"))
def test_any_bytes_in_place_of_that_file_are_set_aside(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / OLD_FILE
    path.write_bytes(content)
    tracks, problem = read_old_file(tmp_path)
    assert tracks == []
    assert f"{path}: damaged" in problem
    assert path.with_name(f"{OLD_FILE}.damaged").read_bytes() == content
    assert not path.exists()

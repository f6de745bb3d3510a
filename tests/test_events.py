from __future__ import annotations

import io
import json

import pytest

from edge_fer.channels import ALERT_EVENTS, CAMERA_EVENTS, CHANNELS, SELF_TEST
from edge_fer.events import BoxPx, CameraStatus, ExpressionEvent, rfc3339
from edge_fer.messages import Message, message
from edge_fer.privacy import hide_password
from edge_fer.publishers import EventPrinter

EVENT = ExpressionEvent(
    id="b-1",
    seq=1,
    boot_id="b",
    type="start",
    camera="front",
    track=1,
    expression="happiness",
    confidence=0.9,
    scores={"happiness": 0.9},
    box=BoxPx(1, 2, 3, 4),
    frame_width_px=640,
    frame_height_px=360,
    duration_ms=0,
    occurred_at="2026-01-01T00:00:00.000Z",
)


def test_an_event_is_exactly_this_json() -> None:
    # Subscribers rely on these bytes: keys may be added at the end, never renamed or removed.
    assert message(EVENT, "lab", "front").to_json() == (
        b'{"id":"b-1","seq":1,"boot_id":"b","type":"start","camera":"front","track":1,"expression":"happiness",'
        b'"confidence":0.9,"scores":{"happiness":0.9},"box":{"left_px":1,"top_px":2,"width_px":3,"height_px":4},'
        b'"frame_width_px":640,"frame_height_px":360,"duration_ms":0,"occurred_at":"2026-01-01T00:00:00.000Z",'
        b'"clip_ms":null,"reason":"","published_at":"","replayed":false,"schema_version":1,'
        b'"previous":null,"expression_ms":0,"peak":0.0,"mean":0.0,"quality":null,"frame_age_ms":0,"track_boot_id":"",'
        b'"clock_synced":null}'
    )


def test_only_what_must_arrive_is_an_event() -> None:
    assert message(EVENT, "lab", "front").is_event
    status = CameraStatus(state="online", reason="", since="2026-01-01T00:00:00.000Z")
    assert not message(status, "lab", "front").is_event


def test_what_happened_is_never_retained_and_what_is_always_is() -> None:
    assert {channel.kept for channel in CHANNELS if channel.retain} == {"newest"}
    assert [channel for channel in CHANNELS if channel.kept == "every"] == [CAMERA_EVENTS, ALERT_EVENTS, SELF_TEST]
    assert not [channel for channel in CHANNELS if channel.kept != "live" and channel.qos == 0]


@pytest.mark.parametrize(
    ("unix_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_700_000_000_999_999_999, "2023-11-14T22:13:20.999Z"),
        (951_782_400_005_000_000, "2000-02-29T00:00:00.005Z"),
    ],
)
def test_times_are_utc_with_milliseconds_and_z(unix_ns: int, text: str) -> None:
    assert rfc3339(unix_ns) == text


def test_printing_writes_events_only_one_line_each() -> None:
    out = io.StringIO()
    printer = EventPrinter(out, lambda: None)
    printer.publish(message(EVENT, "lab", "front"))
    printer.publish(message(CameraStatus(state="online", reason="", since=""), "lab", "front"))
    (line,) = out.getvalue().splitlines()
    told = json.loads(line)
    assert told["seq"] == 1
    assert told["published_at"].endswith("Z")


def test_a_closed_pipe_stops_the_daemon_once() -> None:
    class Closed(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    stops: list[bool] = []
    printer = EventPrinter(Closed(), lambda: stops.append(True))
    for _ in range(2):
        printer.publish(Message("edge-fer/lab/camera/front/events", 1, retain=False, body={}, kept="every"))
    assert stops == [True]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://u:p@h/x", "rtsp://u:***@h/x"),
        ("rtsp://u:p@ss@h/x", "rtsp://u:***@h/x"),
        ("rtsp://u:p@ss/w0rd@h/x", "rtsp://u:***@h/x"),
        ("see mqtt://u:p@h and http://h:80/a", "see mqtt://u:***@h and http://h:80/a"),
        ("http://h/s?user=u&password=p&fps=5", "http://h/s?user=u&password=***&fps=5"),
        ('{"a":"rtsp://u:p@h","b":"rtsp://v:q@i"}', '{"a":"rtsp://u:***@h","b":"rtsp://v:***@i"}'),
        ("mqtt://u@h:1883", "mqtt://u@h:1883"),
    ],
)
def test_passwords_in_addresses_are_hidden(text: str, shown: str) -> None:
    assert hide_password(text) == shown

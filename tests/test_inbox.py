from __future__ import annotations

import threading

import numpy as np
import pytest

from edge_fer.capture.inbox import CameraChange, Inbox
from edge_fer.frame import Frame

PICTURE = np.zeros((48, 48, 3), np.uint8)


def frame(camera: str, seq: int) -> Frame:
    return Frame(camera, seq, 0, 0, PICTURE)


def taken(inbox: Inbox) -> list[str]:
    found = []
    while (item := inbox.take(0)) is not None:
        found.append(f"{item.camera}{item.seq}" if isinstance(item, Frame) else f"{item.camera} {item.state}")
    return found


def test_only_the_newest_frame_waits_and_the_others_are_counted() -> None:
    inbox = Inbox()
    for seq in range(3):
        inbox.put(frame("a", seq))
    assert taken(inbox) == ["a2"]
    assert inbox.dropped == {"a": 2}


def test_the_camera_that_waited_longest_goes_first_and_a_fast_one_cannot_push_in() -> None:
    inbox = Inbox()
    inbox.put(frame("slow", 0))
    for seq in range(5):
        inbox.put(frame("fast", seq))
        inbox.put(frame("slow", seq))
    assert taken(inbox) == ["slow4", "fast4"]


def test_changes_keep_their_place_among_the_frames() -> None:
    inbox = Inbox()
    inbox.report(CameraChange("a", "online", "", 0, frame_seq=0))
    inbox.put(frame("a", 0))
    inbox.report(CameraChange("a", "offline", "gone", 0, frame_seq=1))
    assert taken(inbox) == ["a online", "a0", "a offline"]


def test_a_lossless_source_waits_until_its_frame_was_taken() -> None:
    inbox = Inbox()

    def read() -> None:
        for seq in range(20):
            inbox.put(frame("clip", seq), lossless=True)

    reader = threading.Thread(target=read)
    reader.start()
    found = [item.seq for _ in range(20) if isinstance(item := inbox.take(5), Frame)]
    reader.join(5)
    assert found == list(range(20))
    assert inbox.dropped == {}


def test_closing_lets_a_waiting_source_go() -> None:
    inbox = Inbox()
    inbox.put(frame("clip", 0))
    reader = threading.Thread(target=inbox.put, args=(frame("clip", 1),), kwargs={"lossless": True})
    reader.start()
    inbox.close()
    reader.join(5)
    assert not reader.is_alive()


def test_an_error_of_a_reader_ends_the_daemon() -> None:
    inbox = Inbox()
    inbox.fail(ZeroDivisionError("in a driver"))
    with pytest.raises(ZeroDivisionError):
        inbox.take(0)

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_fer.capture.inbox import CameraChange, FrameCounts, Inbox
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


def test_a_change_that_waits_for_its_frame_holds_no_other_camera_up() -> None:
    inbox = Inbox()
    inbox.put(frame("b", 0))
    inbox.put(frame("a", 0))
    inbox.report(CameraChange("a", "offline", "gone", 0, frame_seq=1))
    inbox.report(CameraChange("b", "dark", "covered", 0, frame_seq=0))
    assert taken(inbox) == ["b dark", "b0", "a0", "a offline"]


def test_a_shut_camera_loses_its_waiting_frame_and_its_next_ones_but_no_change() -> None:
    inbox = Inbox()
    inbox.put(frame("a", 0))
    inbox.put(frame("b", 0))
    inbox.report(CameraChange("a", "disabled", "paused", 0, frame_seq=1))
    inbox.shut("a")
    inbox.put(frame("a", 1))
    assert taken(inbox) == ["a disabled", "b0"]
    assert inbox.counts()["a"] == FrameCounts(captured=2, withheld=2)
    inbox.admit("a")
    inbox.put(frame("a", 2))
    assert taken(inbox) == ["a2"]


def looked_at(fps: dict[str, float], consumer_fps: float, seconds: int) -> dict[str, int]:
    """Frames taken of cameras of these rates by one consumer, in simulated time."""
    inbox, next_ms = Inbox(), dict.fromkeys(fps, 0.0)
    for turn in range(int(seconds * consumer_fps)):
        for camera, rate in fps.items():
            while next_ms[camera] <= turn * 1000 / consumer_fps:
                inbox.put(frame(camera, 0))
                next_ms[camera] += 1000 / rate
        inbox.take(0)
    return {camera: inbox.counts()[camera].looked_at for camera in fps}


@pytest.mark.parametrize("consumer_fps", [7, 20, 41, 97])
def test_eight_equal_cameras_get_equal_shares_of_a_slow_machine(consumer_fps: float) -> None:
    counts = looked_at({str(number): 15 + number / 100 for number in range(8)}, consumer_fps, seconds=60)
    assert min(counts.values()) / (sum(counts.values()) / 8) >= 0.95


def test_a_fast_camera_cannot_starve_slow_ones() -> None:
    counts = looked_at({"fast": 60, "slow": 5, "snapshots": 0.5}, consumer_fps=12, seconds=60)
    assert counts["slow"] >= 5 * 60 - 1
    assert counts["snapshots"] >= 0.5 * 60 - 1
    assert sum(counts.values()) == 12 * 60, "the fast one gets all that is left"


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["put", "put", "withhold", "take", "shut", "admit"]), st.sampled_from("abc")),
    max_size=60,
)


@given(ACTIONS)
def test_every_frame_is_accounted_for(actions: list[tuple[str, str]]) -> None:
    inbox, captured, looked = Inbox(), dict.fromkeys("abc", 0), dict.fromkeys("abc", 0)
    for action, camera in actions:
        if action == "put":
            inbox.put(frame(camera, captured[camera]))
            captured[camera] += 1
        elif action == "withhold":
            inbox.withhold(camera)
            captured[camera] += 1
        elif action == "take":
            if isinstance(item := inbox.take(0), Frame):
                looked[item.camera] += 1
        elif action == "shut":
            inbox.shut(camera)
        else:
            inbox.admit(camera)
    for camera, counts in inbox.counts().items():
        assert (counts.captured, counts.looked_at) == (captured[camera], looked[camera])
        assert counts.captured == counts.looked_at + counts.dropped + counts.withheld + counts.waiting
    assert inbox.dropped == {name: counts.dropped for name, counts in inbox.counts().items() if counts.dropped}


def test_a_lossless_source_waits_until_its_frame_was_taken() -> None:
    inbox = Inbox()

    def read() -> None:
        for seq in range(20):
            inbox.put(frame("clip", seq), lossless=True)

    reader = threading.Thread(target=read)
    reader.start()
    found = [item.seq for _ in range(20) if isinstance(item := inbox.take(5), Frame)]
    reader.join(60)
    assert found == list(range(20))
    assert inbox.dropped == {}


@pytest.mark.parametrize("end", [Inbox.close, lambda inbox: inbox.shut("clip")], ids=["close", "shut"])
def test_closing_and_shutting_let_a_waiting_source_go(end: Callable[[Inbox], None]) -> None:
    inbox = Inbox()
    inbox.put(frame("clip", 0))
    reader = threading.Thread(target=inbox.put, args=(frame("clip", 1),), kwargs={"lossless": True})
    reader.start()
    end(inbox)
    reader.join(60)
    assert not reader.is_alive()


def test_an_error_of_a_reader_ends_the_daemon() -> None:
    inbox = Inbox()
    inbox.fail(ZeroDivisionError("in a driver"))
    with pytest.raises(ZeroDivisionError):
        inbox.take(0)

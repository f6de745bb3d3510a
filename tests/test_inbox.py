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


def frames(inbox: Inbox, begin_ms: int, end_ms: int, *, clip: bool = False) -> list[int]:
    """Of a camera at 25 fps, each taken at once; the times that were taken, in ms."""
    found = []
    for now_ms in range(begin_ms, end_ms, 40):
        inbox.put(Frame("a", now_ms, now_ms * 1_000_000, 0, PICTURE, float(now_ms) if clip else None))
        found += [item.seq] if isinstance(item := inbox.take(0), Frame) else []
    return found


def test_a_camera_that_is_paced_is_withheld_and_counted_so() -> None:
    inbox = Inbox()
    inbox.pace("a", 5)
    assert frames(inbox, 0, 2000) == list(range(0, 2000, 200))
    assert inbox.counts()["a"] == FrameCounts(captured=50, looked_at=10, withheld=40)


def test_the_pace_changes_from_the_next_frame_on() -> None:
    inbox = Inbox()
    inbox.pace("a", 5)
    frames(inbox, 0, 1000)
    inbox.pace("a", None)
    assert frames(inbox, 1000, 2000) == list(range(1000, 2000, 40))
    inbox.pace("a", 1)
    assert len(frames(inbox, 2000, 12000)) == pytest.approx(10, abs=1)
    inbox.pace("a", 12.5)
    assert frames(inbox, 12000, 12400) == list(range(12000, 12400, 80)), "a faster pace begins at once"


def test_a_frame_that_is_in_a_hurry_is_taken_whatever_the_pace() -> None:
    inbox = Inbox()
    inbox.pace("a", 1)
    assert frames(inbox, 0, 400) == [0]
    inbox.hurry("a")
    assert frames(inbox, 400, 800) == [400]
    inbox.hurry("unpaced")


def test_the_frames_of_a_clip_are_never_paced() -> None:
    inbox = Inbox()
    inbox.pace("a", 1)
    assert len(frames(inbox, 0, 2000, clip=True)) == 50


def test_a_pace_outlasts_a_reader_and_a_shut_camera() -> None:
    inbox = Inbox()
    inbox.pace("a", 5)
    inbox.shut("a")
    assert frames(inbox, 0, 1000) == []
    inbox.admit("a")
    assert len(frames(inbox, 1000, 3000)) == 10


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


PACES: dict[str, float | None] = {"slow": 2.0, "slower": 0.5, "all": None}
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["put", "put", "put", "withhold", "take", "shut", "admit", *PACES, "hurry", "report", "replace"]
        ),
        st.sampled_from("abc"),
    ),
    max_size=80,
)


class Cameras:
    """Three cameras at one inbox, and what came out of it."""

    def __init__(self) -> None:
        self.inbox, self.now_ns = Inbox(), 0
        self.captured, self.looked = dict.fromkeys("abc", 0), dict.fromkeys("abc", 0)
        self.came: dict[str, list[tuple[int, int]]] = {name: [] for name in "abc"}  # changes 0, frames 1, by number
        self._lanes = {name: self.inbox.lane(name) for name in "abc"}

    def act(self, action: str, camera: str) -> None:
        """One step; a tenth of a second passes."""
        self.now_ns += 100_000_000
        if action in PACES:
            self.inbox.pace(camera, PACES[action])
        elif action in ("shut", "admit", "hurry"):
            getattr(self.inbox, action)(camera)
        else:
            getattr(self, action)(camera)

    def put(self, camera: str) -> None:
        self._lanes[camera].put(Frame(camera, self.captured[camera], self.now_ns, 0, PICTURE))
        self.captured[camera] += 1

    def withhold(self, camera: str) -> None:
        self.inbox.withhold(camera)
        self.captured[camera] += 1

    def report(self, camera: str) -> None:
        self._lanes[camera].report(CameraChange(camera, "online", "", 0, self.captured[camera]))

    def replace(self, camera: str) -> None:
        self._lanes[camera] = self.inbox.lane(camera)

    def take(self, _camera: str = "") -> bool:
        item = self.inbox.take(0)
        if isinstance(item, Frame):
            self.looked[item.camera] += 1
            self.came[item.camera].append((item.seq, 1))
        elif item is not None:
            self.came[item.camera].append((item.frame_seq, 0))
        return item is not None


@given(ACTIONS)
def test_every_frame_is_accounted_for_and_all_is_in_order(actions: list[tuple[str, str]]) -> None:
    """At any pace: looks and changes of a camera come in the order of its frames, a change before what follows it."""
    cameras = Cameras()
    for action, camera in actions:
        cameras.act(action, camera)
        for counts in cameras.inbox.counts().values():
            assert counts.captured == counts.looked_at + counts.dropped + counts.withheld + counts.waiting
    while cameras.take():
        pass
    found = cameras.inbox.counts()
    for camera, counts in found.items():
        assert (counts.captured, counts.looked_at) == (cameras.captured[camera], cameras.looked[camera])
        assert counts.waiting == 0
    assert all(order == sorted(order) for order in cameras.came.values())
    assert cameras.inbox.dropped == {name: counts.dropped for name, counts in found.items() if counts.dropped}


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

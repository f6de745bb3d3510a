from __future__ import annotations

import gc
import os
import threading
import time
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_fer.capture.backoff import Backoff
from edge_fer.capture.inbox import CameraChange, FrameCounts, Inbox
from edge_fer.capture.reader import CameraReader
from edge_fer.capture.source import Picture, Source
from edge_fer.capture.uri import CameraUri, parse_camera_uri
from edge_fer.capture.watch import WatchSettings
from edge_fer.errors import CameraError
from edge_fer.frame import Frame

CAMERA, CLIP = parse_camera_uri("rtsp://carer:s3cret@camera.local/stream"), parse_camera_uri("clip.mp4")
LONG_S = 20.0
"""More than any wait of these tests takes on any machine."""

CHANCE = np.random.default_rng(1)
STILL = CHANCE.integers(60, 200, (48, 64, 3)).astype(np.uint8)

Step = Picture | Exception | threading.Event


def picture(clip_ms: float | None = None) -> Picture:
    """A picture of its own; with a time, one of a clip."""
    bgr = np.tile(CHANCE.integers(20, 200, (6, 8, 3)), (8, 8, 1)).astype(np.uint8)
    bgr[:, :32] //= 2
    return Picture(bgr, None if clip_ms is None else round(clip_ms * 1e6), clip_ms)


class Scripted:
    """A source that plays a list: pictures, errors, and events that it blocks on."""

    def __init__(self, steps: list[Step], *, finite: bool = False, lossless: bool = False, hangs: bool = False) -> None:
        """`hangs`: as a driver that cannot be broken off."""
        self.finite, self.lossless, self._hangs = finite, lossless, hangs
        self._steps, self._aborted = steps, threading.Event()
        self.blocked, self.closed = threading.Event(), threading.Event()
        self._owner: int | None = None
        self.aborts = 0

    def pictures(self) -> Iterator[Picture]:
        self._owner = threading.get_ident()
        for step in self._steps:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, Picture):
                yield step
                continue
            self.blocked.set()
            while not step.wait(0.001) and (self._hangs or not self._aborted.is_set()):
                pass
            if self._aborted.is_set() and not self._hangs:
                return

    def abort(self) -> None:
        self.aborts += 1
        self._aborted.set()

    def close(self) -> None:
        assert self._owner in (None, threading.get_ident()), "closed by another thread than reads it"
        self.closed.set()


class Hurried(Backoff):
    """Notes its pauses instead of keeping them."""

    def __init__(self, pauses_s: list[float]) -> None:
        super().__init__()
        self._pauses_s = pauses_s

    def next_s(self) -> float:
        self._pauses_s.append(super().next_s())
        return 0.001


class Rig:
    """A reader with a scripted camera, a clock that stands, and its inbox."""

    def __init__(self, *attempts: Source | CameraError, uri: CameraUri = CAMERA, **settings: float) -> None:
        self._attempts = list(attempts)
        self.clock_ns = self.wall_ns = 1_000_000_000_000
        self.opened = 0
        self.open_takes_s = 0.0
        self.pauses_s: list[float] = []
        self.inbox = Inbox()
        self.reader = CameraReader(
            "front",
            uri,
            self.inbox,
            WatchSettings(**settings),
            open=self._open,
            backoff=Hurried(self.pauses_s),
            clock_ns=lambda: self.clock_ns,
            wall_ns=lambda: self.wall_ns,
        )

    def _open(self, _uri: CameraUri) -> Source:
        self.opened += 1
        self.clock_ns += round(self.open_takes_s * 1e9)
        self.wall_ns += round(self.open_takes_s * 1e9)
        attempt = self._attempts.pop(0) if self._attempts else Scripted([threading.Event()])
        if isinstance(attempt, CameraError):
            raise attempt
        return attempt

    def later(self, seconds: float) -> None:
        """Time passes, and the main loop looks after its cameras."""
        self.clock_ns += round(seconds * 1e9)
        self.wall_ns += round(seconds * 1e9)
        self.reader.check()

    def change(self) -> str:
        """The next change, whatever frames stand before it."""
        while isinstance(item := self.inbox.take(LONG_S), Frame):
            pass
        assert item is not None, "no change was reported"
        return f"{item.state}: {item.reason}"


@pytest.fixture
def rig() -> Iterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(*attempts: Source | CameraError, start: bool = True, uri: CameraUri = CAMERA, **settings: float) -> Rig:
        made.append(Rig(*attempts, uri=uri, **settings))
        if start:
            made[-1].reader.start()
        return made[-1]

    yield make
    for one in made:
        one.reader.stop()
        one.inbox.close()
    for one in made:
        if one.reader.ident is not None:
            one.reader.join(LONG_S)
            assert not one.reader.is_alive()


MakeRig = Callable[..., Rig]


def blocking(*steps: Step, hangs: threading.Event | None = None) -> Scripted:
    """A source that blocks after these steps; until the event, if it hangs."""
    return Scripted([*steps, hangs or threading.Event()], hangs=hangs is not None)


def test_a_camera_goes_and_comes_back(rig: MakeRig) -> None:
    one = rig(
        Scripted([picture(), CameraError("camera.local: connection reset")]),
        CameraError("camera.local: no route to host"),
        CameraError("camera.local: no route to host"),
        blocking(picture()),
    )
    assert [one.change() for _ in range(4)] == [
        "online: pictures arrive",
        "offline: camera.local: connection reset",
        "offline: camera.local: no route to host",
        "online: pictures arrive",
    ]
    assert (one.opened, one.reader.restarts) == (4, 3)


def test_only_a_camera_that_worked_for_a_while_is_tried_again_soon(rig: MakeRig) -> None:
    class Worked(Scripted):
        def pictures(self) -> Iterator[Picture]:
            yield picture()
            one.clock_ns += 60 * 10**9
            yield picture()

    brief = [Scripted([picture()]) for _ in range(5)]
    one = rig(*brief, Worked([]), blocking(picture()), start=False)
    one.reader.start()
    assert [one.change().split(":")[0] for _ in range(13)] == [*(("online", "offline") * 6), "online"]
    assert min(one.pauses_s[3:5]) > 7
    assert one.pauses_s[5] <= 2


def test_no_password_of_an_address_is_reported(rig: MakeRig) -> None:
    one = rig(CameraError("rtsp://carer:s3cret@camera.local/stream: 401"))
    assert one.change() == "offline: rtsp://carer:***@camera.local/stream: 401"


def test_a_stalled_camera_is_broken_off_and_opened_again(rig: MakeRig) -> None:
    stuck = blocking(picture())
    one = rig(stuck, blocking(picture()))
    assert one.change() == "online: pictures arrive"
    assert stuck.blocked.wait(LONG_S)
    one.later(4.9)
    assert not stuck.aborts
    one.later(0.1)
    assert one.change() == "stalled: no picture for 5 s"
    assert stuck.closed.wait(LONG_S)
    assert one.change() == "online: pictures arrive"
    assert stuck.aborts == 1


def test_a_camera_without_a_first_picture_is_broken_off(rig: MakeRig) -> None:
    silent = blocking()
    one = rig(silent, connect_timeout_s=40)
    assert silent.blocked.wait(LONG_S)
    one.later(39)
    assert not silent.aborts
    one.later(1)
    assert one.change() == "offline: no first picture within 40 s"
    assert silent.closed.wait(LONG_S)


def test_a_driver_that_hangs_while_it_opens_is_not_opened_a_second_time() -> None:
    let_go, inside, late = threading.Event(), threading.Event(), blocking()
    opened = []

    def hang(_uri: CameraUri) -> Source:
        opened.append(threading.get_ident())
        inside.set()
        let_go.wait()
        return late if len(opened) == 1 else blocking(picture())

    inbox = Inbox()
    reader = CameraReader("front", CAMERA, inbox, open=hang, backoff=Backoff(first_s=0.001, last_s=0.001))
    reader.start()
    assert inside.wait(LONG_S)
    now_ns = time.monotonic_ns()
    for second in (16, 20, 25, 600):
        reader.check(now_ns + second * 10**9)
    told = [item.reason for _ in range(2) if isinstance(item := inbox.take(0), CameraChange)]
    assert told == ["no first picture within 15 s", "no first picture within 15 s, and its driver does not return"]
    assert (reader.state, len(opened)) == ("stalled", 1)
    let_go.set()
    assert late.closed.wait(LONG_S), "what is opened too late is closed again"
    back = inbox.take(LONG_S)
    assert isinstance(back, CameraChange)
    assert (back.state, back.reason) == ("offline", "no first picture within 15 s")
    reader.stop()
    reader.join(LONG_S)
    assert not reader.is_alive()


def test_a_picture_that_comes_too_late_is_withheld(rig: MakeRig) -> None:
    let_go = threading.Event()
    slow = Scripted([picture(), let_go, picture(), picture()], hangs=True)
    one = rig(slow)
    assert one.change() == "online: pictures arrive"
    assert slow.blocked.wait(LONG_S)
    assert isinstance(one.inbox.take(LONG_S), Frame)
    one.later(6)
    let_go.set()
    assert slow.closed.wait(LONG_S)
    assert one.change() == "stalled: no picture for 5 s"
    assert one.inbox.counts()["front"] == FrameCounts(captured=2, looked_at=1, withheld=1)


@pytest.mark.parametrize("pace", [None, 0.5], ids=["all frames", "one frame in 2 s"])
def test_a_frozen_picture_is_withheld_until_it_moves_again(pace: float | None) -> None:
    """However few frames are looked at: the reader sees them all."""
    clock = [0]

    def tenths() -> Iterator[Picture]:
        for number in range(60):
            clock[0] += 100_000_000
            yield picture() if not 20 <= number < 40 else Picture(STILL, None, None)

    class Cam(Scripted):
        def pictures(self) -> Iterator[Picture]:
            yield from tenths()
            yield from super().pictures()

    inbox, cam = Inbox(), Cam([threading.Event()])
    inbox.pace("front", pace)
    settings = WatchSettings(frozen_after_s=1.0)
    reader = CameraReader("front", CAMERA, inbox, settings, open=lambda _: cam, clock_ns=lambda: clock[0])
    reader.start()
    assert cam.blocked.wait(LONG_S)
    changes = [item for _ in range(4) if isinstance(item := inbox.take(LONG_S), CameraChange)]
    assert [(change.state, change.frame_seq) for change in changes] == [("online", 0), ("frozen", 30), ("online", 50)]
    assert changes[1].reason == "the same picture for 1 s"
    counts = inbox.counts()["front"]
    assert (counts.captured, counts.withheld) == (60, 20 if pace is None else 57)
    reader.stop()
    reader.join(LONG_S)


def test_a_camera_that_is_covered_is_dark_however_few_frames_are_looked_at() -> None:
    clock = [0]

    class Cam(Scripted):
        def pictures(self) -> Iterator[Picture]:
            for number in range(60):
                clock[0] += 100_000_000
                yield picture() if not 20 <= number < 40 else Picture(np.zeros((48, 64, 3), np.uint8), None, None)
            yield from super().pictures()

    inbox, cam = Inbox(), Cam([threading.Event()])
    inbox.pace("front", 0.5)
    settings = WatchSettings(dark_after_s=1.0)
    reader = CameraReader("front", CAMERA, inbox, settings, open=lambda _: cam, clock_ns=lambda: clock[0])
    reader.start()
    assert cam.blocked.wait(LONG_S)
    changes = [item for _ in range(4) if isinstance(item := inbox.take(LONG_S), CameraChange)]
    assert [(change.state, change.frame_seq) for change in changes] == [("online", 0), ("dark", 30), ("online", 50)]
    reader.stop()
    reader.join(LONG_S)


def test_still_pictures_of_a_folder_are_no_fault(rig: MakeRig) -> None:
    stills = [Picture(STILL, number * 10**9, number * 1000.0) for number in range(30)]
    one = rig(Scripted([*stills], finite=True, lossless=True), uri=CLIP)
    assert one.change() == "online: pictures arrive"
    assert one.change() == "offline: the clip has ended"
    assert one.inbox.counts()["front"] == FrameCounts(captured=30, looked_at=30)


def test_a_clip_that_cannot_be_read_is_finished(rig: MakeRig) -> None:
    one = rig(CameraError("clip.mp4: not a video"), uri=CLIP)
    change = one.inbox.take(LONG_S)
    assert isinstance(change, CameraChange)
    assert (change.state, change.finished, change.failed) == ("offline", True, True)


def test_max_fps_thins_the_pictures_out_and_counts_them(rig: MakeRig) -> None:
    clip = Scripted([picture(number * 40.0) for number in range(50)], finite=True, lossless=True)
    one = rig(clip, uri=CLIP, max_fps=5.0)
    one.change()
    one.change()
    counts = one.inbox.counts()["front"]
    assert (counts.captured, counts.looked_at, counts.withheld) == (50, 10, 40)


def test_a_pause_closes_the_device_before_it_is_reported(rig: MakeRig) -> None:
    cam = blocking(picture(), picture())
    one = rig(cam, blocking(picture()))
    assert one.change() == "online: pictures arrive"
    assert cam.blocked.wait(LONG_S)
    one.reader.disable("paused by a carer")
    one.reader.disable("paused by a carer")
    assert one.reader.closed.wait(LONG_S)
    assert cam.closed.is_set()
    assert one.inbox.counts()["front"].waiting == 0, "the waiting frame is thrown away"
    assert one.change() == "disabled: paused by a carer"
    assert one.opened == 1
    one.reader.enable()
    one.reader.enable()
    assert not one.reader.closed.is_set()
    assert one.change() == "connecting: enabled again"
    assert one.change() == "online: pictures arrive"
    assert isinstance(one.inbox.take(LONG_S), Frame)
    assert one.reader.restarts == 0, "a pause is no fault"


def test_a_camera_that_waits_for_its_next_attempt_is_paused_and_enabled_without_waiting() -> None:
    inbox, tried = Inbox(), threading.Semaphore(0)

    def refuse(_uri: CameraUri) -> Source:
        tried.release()
        raise CameraError("no such device")

    reader = CameraReader("front", CAMERA, inbox, open=refuse, backoff=Backoff(first_s=9999, last_s=9999))
    reader.start()
    for _ in range(3):
        assert tried.acquire(timeout=LONG_S)
        assert inbox.take(LONG_S) is not None  # offline
        reader.disable("paused")
        assert reader.closed.is_set()
        reader.enable()
        assert [item.state for _ in range(2) if isinstance(item := inbox.take(0), CameraChange)] == [
            *("disabled", "connecting")
        ]
    assert reader.restarts == 0, "a pause is no fault"
    reader.stop()
    reader.join(LONG_S)
    assert not reader.is_alive()


def test_a_camera_disabled_from_the_start_is_never_opened(rig: MakeRig) -> None:
    one = rig(blocking(picture()), start=False)
    one.reader.disable("paused before the restart")
    one.reader.start()
    assert one.change() == "disabled: paused before the restart"
    assert one.reader.closed.is_set()
    assert one.opened == 0
    one.reader.enable()
    assert one.change() == "connecting: enabled again"
    assert one.change() == "online: pictures arrive"


def test_a_camera_that_the_settings_switch_off_stays_off(rig: MakeRig) -> None:
    one = rig(blocking(picture()), enabled=False)
    assert one.change() == "disabled: switched off in the configuration"
    one.reader.disable("paused")
    one.reader.enable()
    assert one.inbox.take(0.05) is None
    assert (one.opened, one.reader.closed.is_set()) == (0, True)


def test_a_hanging_driver_is_not_called_closed(rig: MakeRig) -> None:
    let_go = threading.Event()
    stuck = blocking(picture(), hangs=let_go)
    one = rig(stuck)
    one.change()
    assert stuck.blocked.wait(LONG_S)
    one.reader.disable("paused")
    one.later(6)
    assert not one.reader.closed.is_set()
    assert one.change() == "stalled: to be closed (paused), but its driver does not return: it may still be open"
    let_go.set()
    assert one.reader.closed.wait(LONG_S)
    assert stuck.closed.is_set()
    assert one.change() == "disabled: paused"


def test_a_paused_clip_waits_for_nobody_and_its_timeline_goes_on(rig: MakeRig) -> None:
    clips = [Scripted([picture(number * 40.0) for number in range(5)], finite=True, lossless=True) for _ in range(2)]
    one = rig(*clips, uri=CLIP)
    one.change()
    first = one.inbox.take(LONG_S)
    assert isinstance(first, Frame)
    one.reader.disable("paused")
    assert one.reader.closed.wait(LONG_S)
    one.reader.enable()
    times_ms = []
    while not isinstance(item := one.inbox.take(LONG_S), CameraChange) or not item.finished:
        if isinstance(item, Frame):
            times_ms.append(item.time_ns / 1e6)
    assert len(times_ms) == 5
    assert times_ms == sorted(times_ms)
    assert times_ms[0] > first.time_ns / 1e6


def test_a_finished_clip_is_closed_and_does_not_come_back(rig: MakeRig) -> None:
    one = rig(Scripted([picture(0.0)], finite=True), uri=CLIP)
    one.change()
    assert one.change() == "offline: the clip has ended"
    one.reader.disable("paused")
    assert one.reader.closed.is_set()
    one.reader.enable()
    assert one.inbox.take(0.05) is None
    assert one.opened == 1


def test_a_wall_clock_that_is_set_disturbs_no_state_and_reports_are_in_the_new_time(rig: MakeRig) -> None:
    stuck = blocking(picture())
    one = rig(stuck, CameraError("gone"), CameraError("no route"))
    assert one.change() == "online: pictures arrive"
    assert stuck.blocked.wait(LONG_S)
    assert isinstance(one.inbox.take(LONG_S), Frame)
    one.wall_ns += 50 * 365 * 86400 * 10**9  # NTP, on a board without a battery
    one.later(1)
    assert one.inbox.take(0.01) is None
    one.open_takes_s = 3
    one.later(4)
    stalled, offline, again = (one.inbox.take(LONG_S) for _ in range(3))
    assert isinstance(stalled, CameraChange)
    assert isinstance(offline, CameraChange)
    assert isinstance(again, CameraChange)
    assert [item.state for item in (stalled, offline, again)] == ["stalled", "offline", "offline"]
    assert again.unix_ns == offline.unix_ns == stalled.unix_ns + 3 * 10**9, "since when it is offline"
    assert stalled.unix_ns > 50 * 365 * 86400 * 10**9


def test_frames_carry_both_clocks_of_the_moment_they_were_handed_over(rig: MakeRig) -> None:
    one = rig(blocking(picture()))
    one.change()
    frame = one.inbox.take(LONG_S)
    assert isinstance(frame, Frame)
    assert (frame.time_ns, frame.captured_unix_ns) == (one.clock_ns, one.wall_ns)


def test_what_no_camera_should_raise_ends_the_daemon(rig: MakeRig) -> None:
    one = rig(Scripted([ZeroDivisionError("in a driver")]))
    with pytest.raises(ZeroDivisionError):
        one.inbox.take(LONG_S)


def test_a_stopped_reader_reports_nothing(rig: MakeRig) -> None:
    stuck = blocking(picture())
    one = rig(stuck)
    one.change()
    assert stuck.blocked.wait(LONG_S)
    one.reader.stop()
    one.reader.stop()
    one.reader.join(LONG_S)
    assert stuck.closed.is_set()
    one.later(600)
    one.reader.disable("paused")
    one.reader.enable()
    assert one.inbox.take(0) is None


class WithFile(Scripted):
    """Holds a file open, as a device or a child's pipe is."""

    def __init__(self, steps: list[Step]) -> None:
        super().__init__(steps)
        self._file = os.open(os.devnull, os.O_RDONLY)

    def close(self) -> None:
        if not self.closed.is_set():
            os.close(self._file)
        super().close()


def test_two_hundred_reconnects_leave_no_thread_no_file_and_no_memory() -> None:
    threads, sources, held = threading.active_count(), weakref.WeakSet[WithFile](), []
    inbox, attempts = Inbox(), 0

    def reopen(_uri: CameraUri) -> Source:
        nonlocal attempts
        attempts += 1
        if attempts % 3 == 0:
            raise CameraError("connection refused")
        source = WithFile([picture(), picture(), *([CameraError("reset")] if attempts % 3 == 1 else [])])
        sources.add(source)
        return source

    reader = CameraReader("front", CAMERA, inbox, open=reopen, backoff=Backoff(first_s=0.0002, last_s=0.0002))
    tracemalloc.start()
    reader.start()
    for count in (50, 200):
        while attempts < count:
            assert inbox.take(LONG_S) is not None
            reader.check()
        gc.collect()
        held.append((len(list(Path("/proc/self/fd").iterdir())), tracemalloc.get_traced_memory()[0]))
    tracemalloc.stop()
    reader.stop()
    reader.join(LONG_S)
    assert threading.active_count() == threads
    gc.collect()
    assert len(sources) == 0
    assert abs(held[1][0] - held[0][0]) <= 1, "the one file of an attempt that is open just now"
    assert held[1][1] - held[0][1] < 100_000  # 200 pictures would be 1.8 MB
    counts = inbox.counts()["front"]
    assert counts.captured == counts.looked_at + counts.dropped + counts.withheld + counts.waiting


class Paced(Scripted):
    """A good camera whose next picture comes when the last one was looked at."""

    def __init__(self) -> None:
        super().__init__([])
        self.go = threading.Semaphore(1)
        self.ended = False

    def pictures(self) -> Iterator[Picture]:
        while self.go.acquire(timeout=LONG_S) and not self.ended:
            yield picture()

    def abort(self) -> None:
        self.ended = True
        self.go.release()


def test_a_hanging_and_a_failing_camera_cost_a_good_one_no_frame() -> None:
    inbox, let_go = Inbox(), threading.Event()
    good, stuck = Paced(), blocking(picture(), hangs=let_go)

    def fail(_uri: CameraUri) -> Source:
        raise CameraError("no such device")

    quick, patient = Backoff(first_s=0.001, last_s=0.001), WatchSettings(connect_timeout_s=600, stall_timeout_s=600)
    readers = {
        "good": CameraReader("good", CAMERA, inbox, patient, open=lambda _: good),
        "stuck": CameraReader("stuck", CAMERA, inbox, open=lambda _: stuck),
        "failing": CameraReader("failing", CAMERA, inbox, open=fail, backoff=quick),
    }
    for reader in readers.values():
        reader.start()
    looked_at, hour_ns = 0, 3600 * 10**9
    while looked_at < 200:
        item = inbox.take(LONG_S)
        assert item is not None
        if isinstance(item, Frame) and item.camera == "good":
            looked_at += 1
            good.go.release()
        readers["good"].check()
        for name in ("stuck", "failing"):
            if stuck.blocked.is_set():
                readers[name].check(time.monotonic_ns() + looked_at * hour_ns)
    assert readers["stuck"].state == "stalled"
    counts = inbox.counts()["good"]
    assert (counts.looked_at, counts.dropped, counts.withheld) == (200, 0, 0)
    for reader in readers.values():
        reader.stop()
    for name in ("good", "failing"):
        readers[name].join(LONG_S)
        assert not readers[name].is_alive()
    assert readers["stuck"].is_alive()
    assert readers["stuck"].daemon, "it must not keep the process alive"
    let_go.set()
    readers["stuck"].join(LONG_S)
    assert not readers["stuck"].is_alive()

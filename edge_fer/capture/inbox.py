"""Where frames wait for the pipeline: the newest of each camera, no more."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass
from typing import Protocol

from edge_fer.capture.backoff import Pacer
from edge_fer.events import CameraCondition
from edge_fer.frame import Frame


@dataclass(frozen=True, slots=True)
class CameraChange:
    """A camera is in another state, or in the same for another reason."""

    camera: str
    state: CameraCondition
    reason: str
    unix_ns: int  # wall clock when the state began
    frame_seq: int  # of the first frame that comes after the change
    finished: bool = False  # it will not come back
    failed: bool = False  # it could not be opened or read


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """What became of a camera's frames: captured == looked_at + dropped + withheld + waiting."""

    captured: int = 0  # delivered by the camera
    looked_at: int = 0  # taken
    dropped: int = 0  # replaced by a newer one, because the machine was too slow
    withheld: int = 0  # on purpose: frozen or dark, above max_fps, too hot or nobody there, too late, or paused
    waiting: int = 0


class Entrance(Protocol):
    """What a reader needs of the inbox; see `Inbox`."""

    def put(self, frame: Frame, *, lossless: bool = False) -> None:
        """Leave a frame."""

    def withhold(self, camera: str) -> None:
        """Count a frame that nobody is to look at."""

    def shut(self, camera: str) -> None:
        """Take no frames of the camera."""

    def admit(self, camera: str) -> None:
        """Take frames of the camera again."""

    def report(self, change: CameraChange) -> None:
        """Leave a change of a camera."""

    def fail(self, error: BaseException) -> None:
        """Tell what ends the daemon."""


@dataclass(slots=True)
class _Tally:
    captured: int = 0
    looked_at: int = 0
    dropped: int = 0
    withheld: int = 0


class Inbox:
    """Newest frame per camera; the camera that waited longest goes first. Changes keep their place among the frames.

    A camera goes to the end of the line when its frame is taken, so all get equal turns, however fast they are.
    """

    def __init__(self) -> None:
        self._frames: dict[str, Frame] = {}
        self._changes: list[CameraChange] = []
        self._changed = threading.Condition()
        self._shut: set[str] = set()
        self._pacers: dict[str, Pacer] = {}
        self._tallies: defaultdict[str, _Tally] = defaultdict(_Tally)
        self._lanes: dict[str, Lane] = {}
        self._gone: set[str] = set()  # cameras whose totals nobody wants to know now
        self._closed = False
        self._failure: BaseException | None = None

    @property
    def lock(self) -> threading.Condition:
        """Guards everything; may be entered again by the thread that holds it."""
        return self._changed

    @property
    def dropped(self) -> dict[str, int]:
        """Frames that a newer one replaced, by camera; only of those that lost any."""
        return {camera: counts.dropped for camera, counts in self.counts().items() if counts.dropped}

    def counts(self) -> dict[str, FrameCounts]:
        """What became of the frames of every camera that delivered any, all of the same moment; none of one that went.

        Those of a camera that comes back go on from where they were.
        """
        with self._changed:
            return {
                camera: FrameCounts(
                    tally.captured, tally.looked_at, tally.dropped, tally.withheld, int(camera in self._frames)
                )
                for camera, tally in self._tallies.items()
                if camera not in self._gone
            }

    def lane(self, camera: str) -> Lane:
        """The way in for a new reader of this camera, and the end of the way of the one before.

        Nothing that the one before left, or still leaves, is taken.
        """
        with self._changed:
            self._end_lane(camera)
            self._gone.discard(camera)
            self._shut.discard(camera)
            lane = self._lanes[camera] = Lane(self)
            return lane

    def remove(self, camera: str) -> None:
        """The camera is not watched any more."""
        with self._changed:
            self._end_lane(camera)
            self._gone.add(camera)

    def put(self, frame: Frame, *, lossless: bool = False, lane: Lane | None = None) -> None:
        """Leave a frame; a lossless source waits until the one before was taken, others replace it.

        Frames of a camera that is shut are withheld, and those above what `pace` allows; those that come by a `lane`
        that has ended are no more.
        """
        camera = frame.camera
        with self._changed:
            if lossless:
                self._changed.wait_for(
                    lambda: camera not in self._frames or camera in self._shut or self._closed or (lane and lane.ended)
                )
            if lane and lane.ended:
                return
            tally = self._tallies[camera]
            tally.captured += 1
            if camera in self._shut or not self._picks(frame):
                tally.withheld += 1
                return
            tally.dropped += camera in self._frames
            self._frames[camera] = frame  # a replaced frame keeps its camera's place in line
            self._changed.notify_all()

    def withhold(self, camera: str) -> None:
        """Count a frame that nobody is to look at."""
        with self._changed:
            self._tallies[camera].captured += 1
            self._tallies[camera].withheld += 1

    def shut(self, camera: str) -> None:
        """Throw the camera's waiting frame away, and withhold all that come until `admit`."""
        with self._changed:
            self._shut.add(camera)
            if self._frames.pop(camera, None) is not None:
                self._tallies[camera].withheld += 1
            self._changed.notify_all()

    def admit(self, camera: str) -> None:
        """Take frames of the camera again."""
        with self._changed:
            self._shut.discard(camera)

    def pace(self, camera: str, max_fps: float | None) -> None:
        """Take at most so many of its frames a second from now on, evenly spaced; None: all. Never of a clip."""
        with self._changed:
            if camera in self._pacers:
                self._pacers[camera].limit(max_fps)
            elif max_fps is not None:
                self._pacers[camera] = Pacer(max_fps)

    def hurry(self, camera: str) -> None:
        """Take the camera's next frame, whatever `pace` allows."""
        with self._changed:
            if camera in self._pacers:
                self._pacers[camera].hurry()

    def report(self, change: CameraChange) -> None:
        """Leave a change of a camera."""
        with self._changed:
            self._changes.append(change)
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """A reader met what it cannot handle: the next `take` raises it, so that the daemon ends and is restarted."""
        with self._changed:
            self._failure = error
            self._changed.notify_all()

    def take(self, timeout_s: float) -> Frame | CameraChange | None:
        """The next frame or change, or None after the timeout."""
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._changes or self._failure, timeout_s)
            if self._failure:
                raise self._failure
            if change := self._due_change():
                self._changes.remove(change)
                return change
            if not self._frames:
                return None
            frame = self._frames.pop(next(iter(self._frames)))
            self._tallies[frame.camera].looked_at += 1
            self._changed.notify_all()
            return frame

    def _picks(self, frame: Frame) -> bool:
        pacer = self._pacers.get(frame.camera)
        # A clip gives the same events on any machine, however hot.
        return pacer is None or frame.clip_ms is not None or pacer.picks(frame.time_ns)

    def _due_change(self) -> CameraChange | None:
        """The oldest change that no frame of its own camera comes before."""
        # A camera's changes are in the order of their frames, so none overtakes another of the same camera.
        return next((change for change in self._changes if self._is_due(change)), None)

    def _is_due(self, change: CameraChange) -> bool:
        waiting = self._frames.get(change.camera)
        return waiting is None or waiting.seq >= change.frame_seq

    def _end_lane(self, camera: str) -> None:
        if lane := self._lanes.pop(camera, None):
            lane.ended = True
        self._changes = [change for change in self._changes if change.camera != camera]
        if self._frames.pop(camera, None) is not None:
            self._tallies[camera].withheld += 1
        self._changed.notify_all()

    def close(self) -> None:
        """Let lossless readers go on, so that they can end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Lane:
    """One reader's way into the inbox. Once it has ended, a reader whose driver holds it can say what it likes."""

    def __init__(self, inbox: Inbox) -> None:
        """Made by `Inbox.lane`."""
        self._inbox = inbox
        self.ended = False  # set by the inbox, under its lock

    def put(self, frame: Frame, *, lossless: bool = False) -> None:
        """As `Inbox.put`."""
        self._inbox.put(frame, lossless=lossless, lane=self)

    def withhold(self, camera: str) -> None:
        """As `Inbox.withhold`."""
        with self._inbox.lock:
            if not self.ended:
                self._inbox.withhold(camera)

    def shut(self, camera: str) -> None:
        """As `Inbox.shut`."""
        with self._inbox.lock:
            if not self.ended:
                self._inbox.shut(camera)

    def admit(self, camera: str) -> None:
        """As `Inbox.admit`."""
        with self._inbox.lock:
            if not self.ended:
                self._inbox.admit(camera)

    def report(self, change: CameraChange) -> None:
        """As `Inbox.report`."""
        with self._inbox.lock:
            if not self.ended:
                self._inbox.report(change)

    def fail(self, error: BaseException) -> None:
        """As `Inbox.fail`."""
        with self._inbox.lock:
            if not self.ended:
                self._inbox.fail(error)

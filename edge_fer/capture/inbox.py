"""Where frames wait for the pipeline: the newest of each camera, no more."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass

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
    withheld: int = 0  # on purpose: frozen or dark pictures, above max_fps, too late, or paused
    waiting: int = 0


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
        self._tallies: defaultdict[str, _Tally] = defaultdict(_Tally)
        self._closed = False
        self._failure: BaseException | None = None

    @property
    def dropped(self) -> dict[str, int]:
        """Frames that a newer one replaced, by camera; only of those that lost any."""
        return {camera: counts.dropped for camera, counts in self.counts().items() if counts.dropped}

    def counts(self) -> dict[str, FrameCounts]:
        """What became of the frames of every camera that delivered any, all of the same moment."""
        with self._changed:
            return {
                camera: FrameCounts(
                    tally.captured, tally.looked_at, tally.dropped, tally.withheld, int(camera in self._frames)
                )
                for camera, tally in self._tallies.items()
            }

    def put(self, frame: Frame, *, lossless: bool = False) -> None:
        """Leave a frame; a lossless source waits until the one before was taken, others replace it.

        Frames of a camera that is shut are withheld.
        """
        camera = frame.camera
        with self._changed:
            if lossless:
                self._changed.wait_for(lambda: camera not in self._frames or camera in self._shut or self._closed)
            tally = self._tallies[camera]
            tally.captured += 1
            if camera in self._shut:
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

    def _due_change(self) -> CameraChange | None:
        """The oldest change that no frame of its own camera comes before."""
        # A camera's changes are in the order of their frames, so none overtakes another of the same camera.
        return next((change for change in self._changes if self._is_due(change)), None)

    def _is_due(self, change: CameraChange) -> bool:
        waiting = self._frames.get(change.camera)
        return waiting is None or waiting.seq >= change.frame_seq

    def close(self) -> None:
        """Let lossless readers go on, so that they can end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

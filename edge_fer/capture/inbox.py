"""Where frames wait for the pipeline: the newest of each camera, no more."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from edge_fer.events import CameraCondition
from edge_fer.frame import Frame


@dataclass(frozen=True, slots=True)
class CameraChange:
    """A camera came or went."""

    camera: str
    state: CameraCondition
    reason: str
    unix_ns: int  # wall clock
    frame_seq: int  # of the first frame that comes after the change
    finished: bool = False  # it will not come back
    failed: bool = False  # it could not be opened or read


class Inbox:
    """Newest frame per camera; the camera that waited longest goes first. Changes keep their place among the frames."""

    def __init__(self) -> None:
        self._frames: dict[str, Frame] = {}
        self._changes: deque[CameraChange] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._failure: BaseException | None = None
        self.dropped: dict[str, int] = {}

    def put(self, frame: Frame, *, lossless: bool = False) -> None:
        """Leave a frame; a lossless source waits until the one before was taken, others replace it."""
        with self._changed:
            if lossless:
                self._changed.wait_for(lambda: frame.camera not in self._frames or self._closed)
            if frame.camera in self._frames:
                self.dropped[frame.camera] = self.dropped.get(frame.camera, 0) + 1
            self._frames[frame.camera] = frame  # a replaced frame keeps its camera's place in line
            self._changed.notify_all()

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
            if self._changes and self._is_due(self._changes[0]):
                return self._changes.popleft()
            if not self._frames:
                return None
            frame = self._frames.pop(next(iter(self._frames)))
            self._changed.notify_all()
            return frame

    def _is_due(self, change: CameraChange) -> bool:
        waiting = self._frames.get(change.camera)
        return waiting is None or waiting.seq >= change.frame_seq

    def close(self) -> None:
        """Let lossless readers go on, so that they can end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

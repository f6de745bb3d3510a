"""The heart: one turn takes at most one frame in and gives its events out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from edge_fer.align import crop_face
from edge_fer.capture.inbox import CameraChange, Inbox
from edge_fer.config import DetectorSettings
from edge_fer.decide import DecideSettings, ExpressionDecision, Reading
from edge_fer.events import (
    BoxPx,
    CameraCondition,
    CameraState,
    CameraStatus,
    EventType,
    ExpressionEvent,
    Payload,
    Publisher,
    message,
    rfc3339,
)
from edge_fer.frame import Box, Face, Frame
from edge_fer.labels import EXPRESSIONS
from edge_fer.track import Track, Tracker

Stage = Literal["detect", "align", "classify", "track and decide", "publish"]


class Detector(Protocol):
    """Frame -> faces."""

    def detect(self, bgr: npt.NDArray[np.uint8]) -> list[Face]:
        """Faces of an image (height, width, 3)."""


class Reader(Protocol):
    """Face -> probabilities."""

    def read(self, crop: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Probability of each expression, (8,), of a grey face (48, 48)."""


@dataclass(frozen=True, slots=True)
class TrackView:
    """A face as the live view shows it."""

    track: int
    reading: Reading


@dataclass(frozen=True, slots=True)
class CameraView:
    """A camera as the live view shows it."""

    state: CameraCondition
    reason: str
    frames: int = 0  # looked at since the start
    tracks: tuple[TrackView, ...] = ()


@dataclass(slots=True)
class Line:
    """What the pipeline remembers of one camera."""

    tracker: Tracker
    decisions: dict[int, ExpressionDecision] = field(default_factory=dict)  # by track
    frames: int = 0  # looked at
    last: Frame | None = None  # without its picture
    state: CameraState | None = None  # as last published


class Pipeline:
    """Looks at frames and publishes what it decides. One thread only."""

    def __init__(
        self,
        cameras: Mapping[str, str],
        *,
        node: str,
        boot_id: str,
        inbox: Inbox,
        detector: Detector,
        reader: Reader,
        publisher: Publisher,
        detector_settings: DetectorSettings | None = None,
        decide_settings: DecideSettings | None = None,
    ) -> None:
        """`cameras` maps names to addresses without credentials."""
        self._node, self._boot_id, self._inbox = node, boot_id, inbox
        self._detector, self._reader, self._publisher = detector, reader, publisher
        self._find = detector_settings or DetectorSettings()
        self._decide = decide_settings or DecideSettings()
        self._lines = {name: Line(Tracker(self._find.lost_after_ms)) for name in cameras}
        self.cpu_ns: dict[Stage, int] = {}  # CPU time of this thread by stage, since the start
        self.events = 0  # published; the seq of the newest
        self.views = {name: CameraView("connecting", address) for name, address in cameras.items()}
        now_ns = time.time_ns()
        for name in cameras:
            self._publish_camera(CameraChange(name, "connecting", "", now_ns, 0))

    def turn(self, timeout_s: float = 0.5) -> CameraChange | None:
        """Wait for a frame or a change of a camera and deal with it; returns the change, if it was one."""
        item = self._inbox.take(timeout_s)
        if isinstance(item, Frame):
            self._look_at(item)
        elif item is not None:
            self._publish_camera(item)
            return item
        return None

    def stop(self, reason: str = "stopped") -> None:
        """End all tracks, and tell that no camera is watched any more."""
        for name in self._lines:
            if self.views[name].state != "offline":
                self._publish_camera(CameraChange(name, "offline", reason, time.time_ns(), 0))

    def _look_at(self, frame: Frame) -> None:
        line = self._lines[frame.camera]
        line.last = frame.without_picture()
        if line.frames % self._find.every_frames == 0:
            with self._stage("detect"):
                faces = self._detector.detect(frame.bgr)
            with self._stage("track and decide"):
                line.tracker.update(faces, frame.time_ns)
        line.frames += 1
        for track in line.tracker.tracks:
            if track.confirmed and track.found:
                self._read(line, track, frame)
        with self._stage("track and decide"):
            lost = line.tracker.drop_lost(frame.time_ns)
        self._end(line, lost, frame, "left")
        with self._stage("publish"):
            self._publish_state(line, frame.camera, frame.captured_unix_ns)
        self._show(frame.camera)

    def _read(self, line: Line, track: Track, frame: Frame) -> None:
        """Read one face in this frame and publish what that decides."""
        face = track.at(frame.time_ns)
        with self._stage("align"):
            crop = crop_face(frame.bgr, face)
        with self._stage("classify"):
            probabilities = self._reader.read(crop)
        with self._stage("track and decide"):
            decision = line.decisions.get(track.id)
            if decision is None:
                decision = line.decisions[track.id] = ExpressionDecision(self._decide, frame.time_ns)
            decided = decision.update(probabilities, frame.time_ns)
        if decided:
            self._publish_event(decided, track.id, face.box, decision, frame)

    def _end(self, line: Line, tracks: list[Track], frame: Frame, reason: str) -> None:
        for track in tracks:
            decision = line.decisions.pop(track.id, None)
            if decision is not None and decision.current is not None:
                self._publish_event("end", track.id, track.face.box, decision, frame, reason)

    def _publish_event(
        self, kind: EventType, track: int, box: Box, decision: ExpressionDecision, frame: Frame, reason: str = ""
    ) -> None:
        with self._stage("publish"):
            self.events += 1
            reading = decision.reading
            event = ExpressionEvent(
                id=f"{self._boot_id}-{self.events}",
                seq=self.events,
                boot_id=self._boot_id,
                type=kind,
                camera=frame.camera,
                track=track,
                expression=reading.expression,
                confidence=round(reading.confidence, 4),
                scores={name: round(score, 4) for name, score in zip(EXPRESSIONS, reading.scores, strict=True)},
                box=BoxPx(round(box.left), round(box.top), round(box.width), round(box.height)),
                frame_width_px=frame.width_px,
                frame_height_px=frame.height_px,
                duration_ms=(frame.time_ns - decision.first_ns) // 1_000_000,
                occurred_at=rfc3339(frame.captured_unix_ns),
                clip_ms=None if frame.clip_ms is None else round(frame.clip_ms),
                reason=reason,
            )
            self._send(event, frame.camera)

    def _publish_camera(self, change: CameraChange) -> None:
        """A camera came or went: its open tracks end, what it sees is unknown."""
        line = self._lines[change.camera]
        if change.state != "online":
            tracks = line.tracker.drop_all()
            if line.last is not None:
                self._end(line, tracks, line.last, "stopped" if change.reason == "stopped" else "camera")
        self.views[change.camera] = CameraView(change.state, change.reason, line.frames)
        since = rfc3339(change.unix_ns)
        self._send(CameraStatus(state=change.state, reason=change.reason, since=since), change.camera)
        if change.state != "online":
            line.state = CameraState(faces=None, expression="unknown", confidence=None, since=since)
            self._send(line.state, change.camera)

    def _publish_state(self, line: Line, camera: str, unix_ns: int) -> None:
        """What the camera sees, when that has changed: the number of faces, or the expression of the oldest one."""
        open_now = [decision for decision in line.decisions.values() if decision.current is not None]
        reading = min(open_now, key=lambda decision: decision.first_ns).reading if open_now else None
        expression = reading.expression if reading else "none"
        if line.state is not None and (line.state.faces, line.state.expression) == (len(open_now), expression):
            return
        confidence = round(reading.confidence, 4) if reading else None
        line.state = CameraState(
            faces=len(open_now), expression=expression, confidence=confidence, since=rfc3339(unix_ns)
        )
        self._send(line.state, camera)

    def _send(self, payload: Payload, camera: str) -> None:
        self._publisher.publish(message(payload, self._node, camera))

    def _show(self, camera: str) -> None:
        line = self._lines[camera]
        tracks = tuple(
            TrackView(number, decision.reading)
            for number, decision in line.decisions.items()
            if decision.current is not None
        )
        self.views[camera] = CameraView("online", "", line.frames, tracks)

    @contextmanager
    def _stage(self, stage: Stage) -> Iterator[None]:
        started_ns = time.thread_time_ns()
        try:
            yield
        finally:
            self.cpu_ns[stage] = self.cpu_ns.get(stage, 0) + time.thread_time_ns() - started_ns

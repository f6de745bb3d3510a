"""The heart: one turn takes at most one frame in and gives all that it decides out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from edge_fer.capture.inbox import CameraChange, Inbox
from edge_fer.channels import ALERT, CAMERA_STATE, CAMERA_STATUS
from edge_fer.decide import DecideSettings, Reading
from edge_fer.events import Alert, CameraCondition, CameraStatus, ExpressionEvent, Payload, rfc3339
from edge_fer.frame import Frame
from edge_fer.governor.pacing import Pacing
from edge_fer.governor.settings import GovernorSettings
from edge_fer.judge import RESTARTED, Judge, Judged, Ticker
from edge_fer.look import CameraNews, Observation, Stop
from edge_fer.messages import Publisher, alert_history, cleared, message
from edge_fer.perceive import Perception, PerceptionStage
from edge_fer.rules.settings import Rule
from edge_fer.telemetry import LatencyMeter

log = logging.getLogger(__name__)

Stage = PerceptionStage | Literal["publish"]


NOT_OPENED_YET = "not opened yet"


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


class Pipeline:
    """Looks at frames and publishes what it decides. One thread only."""

    def __init__(
        self,
        perceptions: Mapping[str, Perception],
        judge: Judge,
        *,
        node: str,
        inbox: Inbox,
        publisher: Publisher,
        on_observation: Sequence[Callable[[Observation], None]] = (),
        on_event: Sequence[Callable[[ExpressionEvent], None]] = (),
        clock_synced: Callable[[], bool | None] = lambda: None,
        pacing: Pacing | None = None,
    ) -> None:
        """`perceptions` by camera, of which there may be more later; `pacing` None: all frames are looked at.

        What is observed and told is also handed to those who listen, in this thread.
        """
        self._clock_synced = clock_synced
        # One of a camera that was removed stays, so that the numbers of its tracks are never given again.
        self._perceptions, self._judge = dict(perceptions), judge
        self._node, self._inbox, self._publisher = node, inbox, publisher
        self._on_observation, self._on_event = on_observation, on_event
        self._pacing = pacing or Pacing(GovernorSettings(idle=False), inbox.pace)
        self._ticker = Ticker()
        self.cpu_ns: dict[Stage, int] = {}  # CPU time of this thread by stage, since the start
        self.latency = LatencyMeter()
        self.events = 0  # told of expressions
        self.views = {name: CameraView("connecting", NOT_OPENED_YET) for name in perceptions}

    def start(self, unix_ns: int, *, left_open: Iterable[ExpressionEvent] = ()) -> None:
        """Tell the ends of what a restart left open, then of every camera and rule that nothing is known yet."""
        self._tell([Judged(event, event.camera) for event in left_open])
        self._tell(self._judge.start(unix_ns))
        for name in self._perceptions:
            self._take_change(CameraChange(name, "connecting", NOT_OPENED_YET, unix_ns, 0))

    def turn(self, timeout_s: float = 0.5) -> CameraChange | None:
        """Wait for a frame or a change of a camera and deal with it; returns the change, if it was one."""
        item = self._inbox.take(timeout_s)
        if isinstance(item, Frame):
            self._look_at(item)
        elif item is not None:
            self._take_change(item)
        if tick := self._ticker.due(time.monotonic_ns(), time.time_ns()):
            self._observe(tick)
        return None if isinstance(item, Frame) else item

    def listen(self, listener: Callable[[Observation], None]) -> None:
        """Hand what is observed to one more listener, in this thread."""
        self._on_observation = [*self._on_observation, listener]

    def use(self, change: Callable[[Perception], None], decide: DecideSettings) -> None:
        """Look and decide otherwise from the next frame on: `change` is called for the perception of every camera."""
        for perception in self._perceptions.values():
            change(perception)
        self._judge.use(decide)

    def use_rules(self, rules: Mapping[str, Rule]) -> None:
        """Evaluate these rules; of those that are no more, the alerts are taken back."""
        judged, removed = self._judge.use_rules(rules, time.time_ns())
        self._tell(judged)
        for rule in removed:
            self._publisher.publish(cleared(ALERT, self._node, rule))

    def add(self, camera: str, make: Callable[[], Perception]) -> None:
        """Watch another camera too."""
        if camera not in self._perceptions:
            self._perceptions[camera] = make()
        unix_ns = time.time_ns()
        # The live view reads it in a thread of its own.
        self.views = {**self.views, camera: CameraView("connecting", NOT_OPENED_YET)}
        self._tell(self._judge.add(camera, unix_ns))
        self._take_change(CameraChange(camera, "connecting", NOT_OPENED_YET, unix_ns, 0))

    def remove(self, camera: str) -> None:
        """Watch this camera no more: its tracks end, and what is retained about it is taken back."""
        self._perceptions[camera].forget()
        self._pacing.forget(camera)
        self.views = {name: view for name, view in self.views.items() if name != camera}
        self._tell(self._judge.remove(camera, time.monotonic_ns(), time.time_ns()))
        for channel in (CAMERA_STATUS, CAMERA_STATE):
            self._publisher.publish(cleared(channel, self._node, camera))

    def restart(self, camera: str) -> None:
        """The camera is opened anew, with other settings: its tracks end."""
        self._take_change(CameraChange(camera, "connecting", RESTARTED, time.time_ns(), 0))

    def detect_now(self, cameras: Iterable[str]) -> None:
        """Search the whole next frame of these cameras, one that would be withheld because nobody is there too."""
        for camera in cameras:
            self._perceptions[camera].detect_now()
            self._inbox.hurry(camera)

    def stop(self, reason: str = "stopped") -> None:
        """End all tracks and alerts, and tell that no camera is watched any more."""
        for name, view in self.views.items():
            if view.state != "offline":
                self._take_change(CameraChange(name, "offline", reason, time.time_ns(), 0))
        self._observe(Stop(f"the daemon {reason}", time.monotonic_ns(), time.time_ns()))

    def _look_at(self, frame: Frame) -> None:
        camera = frame.camera
        perception = self._perceptions[camera]
        perception.look_every(self._pacing.looks(frame))
        look = perception.look(frame, self._stage)
        self._pacing.note(frame, followed=perception.follows, glimpsed=perception.glimpses)
        self._observe(look)
        readings = self._judge.readings(camera)
        tracks = tuple(TrackView(track, reading) for track, reading in readings.items())
        view = self.views[camera]
        self.views[camera] = CameraView(view.state, view.reason, view.frames + 1, tracks)
        self.latency.add(max(0.0, (time.time_ns() - frame.captured_unix_ns) / 1e6))

    def _take_change(self, change: CameraChange) -> None:
        camera = change.camera
        if change.state != "online":
            self._perceptions[camera].forget()
            self._pacing.forget(camera)
        self.views[camera] = CameraView(change.state, change.reason, self.views[camera].frames)
        since = rfc3339(change.unix_ns)
        self._send(CameraStatus(state=change.state, reason=change.reason, since=since), camera)
        self._observe(CameraNews(camera, change.state, change.reason, time.monotonic_ns(), change.unix_ns))

    def _observe(self, seen: Observation) -> None:
        for listener in self._on_observation:
            listener(seen)
        with self._stage("track and decide"):
            judged = self._judge.take(seen)
        for payload, part in judged:
            if isinstance(payload, Alert):
                level = logging.WARNING if payload.state == "active" else logging.INFO
                log.log(level, "alert %s %s: %s", part, payload.state, payload.why)
        self._tell(judged)

    def _tell(self, judged: Iterable[Judged]) -> None:
        for decided, part in judged:
            payload = decided
            # By the clock of now; a replay cannot know it. The end of an earlier boot's track is by the clock of then.
            if isinstance(payload, Alert) or (isinstance(payload, ExpressionEvent) and not payload.track_boot_id):
                payload = replace(payload, clock_synced=self._clock_synced())
            self._send(payload, part)
            if isinstance(payload, Alert) and payload.id:
                with self._stage("publish"):
                    self._publisher.publish(alert_history(payload, self._node))
            if isinstance(payload, ExpressionEvent):
                self.events += 1
                for listener in self._on_event:
                    listener(payload)

    def _send(self, payload: Payload, part: str) -> None:
        with self._stage("publish"):
            self._publisher.publish(message(payload, self._node, part))

    @contextmanager
    def _stage(self, stage: Stage) -> Iterator[None]:
        started_ns = time.thread_time_ns()
        try:
            yield
        finally:
            self.cpu_ns[stage] = self.cpu_ns.get(stage, 0) + time.thread_time_ns() - started_ns

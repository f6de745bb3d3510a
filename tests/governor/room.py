"""Rooms with people, before live cameras: frames as a reader leaves them, through inbox and pipeline, in no time."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from datetime import datetime

import numpy as np
import numpy.typing as npt
from drawn_faces import face_at

from edge_fer.capture.inbox import CameraChange, Inbox
from edge_fer.decide import DecideSettings
from edge_fer.events import CameraCondition
from edge_fer.frame import Box, Face, Frame
from edge_fer.governor.pacing import Pacing
from edge_fer.governor.settings import GovernorSettings
from edge_fer.judge import Judge
from edge_fer.labels import EXPRESSIONS
from edge_fer.messages import Message
from edge_fer.perceive import Perception
from edge_fer.pipeline import Pipeline
from edge_fer.quality import QualitySettings
from edge_fer.rules.settings import Rule
from edge_fer.tracking.follow import FaceFollower
from edge_fer.tracking.search import DetectorSettings, SearchPlan, plan_search

S = 1_000_000_000
FACE = face_at(100, 50, 80)
ANY_QUALITY = QualitySettings(min_brightness=0, min_sharpness=0)

Script = Callable[[float], str | None]
"""Second -> expression of the one face, None where nobody is."""


class Eyes:
    """A search and a reader that find what the script has for this moment, and count how often they were asked."""

    def __init__(self, script: Script, settings: DetectorSettings) -> None:
        self._script, self._settings = script, settings
        self.second = 0.0
        self.whole_at: list[float] = []
        self.near_at: list[float] = []

    def plan(self, width_px: int, height_px: int) -> SearchPlan:
        return plan_search(self._settings, width_px, height_px)

    def whole(self, bgr: npt.NDArray[np.uint8], plan: SearchPlan) -> list[Face]:
        assert plan.views[0].width == bgr.shape[1]
        self.whole_at.append(self.second)
        return [FACE] if self._script(self.second) else []

    def near(self, bgr: npt.NDArray[np.uint8], box: Box) -> list[Face]:
        assert bgr.ndim == 3
        self.near_at.append(self.second)
        return [FACE] if self._script(self.second) and box.iou(FACE.box) > 0 else []

    def read_all(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        label = self._script(self.second) or "neutral"
        return np.array([[0.93 if name == label else 0.01 for name in EXPRESSIONS] for _ in crops], np.float32)


class Rooms:
    """A node with a live camera in each room."""

    def __init__(
        self,
        scripts: Mapping[str, Script],
        table: GovernorSettings | None = None,
        *,
        rules: Mapping[str, Rule] | None = None,
        detector: DetectorSettings | None = None,
        fps: float = 25.0,
        clip: bool = False,
        size: tuple[int, int] = (320, 240),
    ) -> None:
        self.messages: list[Message] = []
        self.inbox, find = Inbox(), detector or DetectorSettings()
        self.eyes = {name: Eyes(script, find) for name, script in scripts.items()}
        self.pacing = Pacing(table or GovernorSettings(), self.inbox.pace)
        self.pipeline = Pipeline(
            {name: Perception(FaceFollower(eyes, find), eyes, ANY_QUALITY) for name, eyes in self.eyes.items()},
            Judge(
                list(scripts),
                decide=DecideSettings(),
                rules=rules or {},
                boot_id="boot",
                number=itertools.count(1).__next__,
            ),
            node="lab",
            inbox=self.inbox,
            publisher=self,
            pacing=self.pacing,
        )
        self._fps, self._clip, self._picture = fps, clip, np.zeros((size[1], size[0], 3), np.uint8)
        self._frames = 0
        self.looked_at: dict[str, list[float]] = {name: [] for name in scripts}
        # The node's own clock ticks behind the frames', and so tells nothing that they do not.
        self._start_ns = 0 if clip else time.monotonic_ns() + 10_000 * S
        self._away: set[str] = set()
        self.pipeline.start(0)
        for name in scripts:
            self.news(name, "online")

    def publish(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def second(self) -> float:
        return self._frames / self._fps

    def news(self, camera: str, state: CameraCondition) -> None:
        """The reader tells of its camera, which delivers pictures that are handed on only while it is online."""
        (self._away.discard if state == "online" else self._away.add)(camera)
        self.inbox.report(CameraChange(camera, state, "as told", self._unix_ns, self._frames))
        self.pipeline.turn(0)

    def passes(self, seconds: float) -> Rooms:
        """Each camera delivers its frames, and each is dealt with at once."""
        until = self.second + seconds
        while self.second < until - 1e-9:
            for name, eyes in self.eyes.items():
                if name not in self._away:
                    self._shows(name, eyes)
            self._frames += 1
        return self

    def _shows(self, name: str, eyes: Eyes) -> None:
        eyes.second, before = self.second, self.inbox.counts().get(name)
        clip_ms = self.second * 1000 if self._clip else None
        time_ns = self._start_ns + round(self.second * S)
        self.inbox.put(Frame(name, self._frames, time_ns, self._unix_ns, self._picture, clip_ms))
        self.pipeline.turn(0)
        if self.inbox.counts()[name].looked_at > (before.looked_at if before else 0):
            self.looked_at[name].append(self.second)

    @property
    def _unix_ns(self) -> int:
        return 1_800_000_000 * S + round(self.second * S)

    def told(self, end: str) -> list[tuple[str, float]]:
        """Type or state, and the second, of all messages below a topic that ends so."""
        return [
            (str(message.body.get("type") or message.body["state"]), _second(message))
            for message in self.messages
            if message.topic.endswith(end)
        ]

    @property
    def alerts(self) -> list[tuple[str, str, float]]:
        """Rule, state and second of all alerts."""
        return [
            (message.body["rule"], message.body["state"], _second(message))
            for message in self.messages
            if "/alert/" in message.topic and message.topic.endswith("/events")
        ]


def _second(message: Message) -> float:
    text = message.body.get("occurred_at") or message.body["since"]
    return round(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() - 1_800_000_000, 3)

"""Stories for rules: people before cameras, told in seconds, played in milliseconds."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, get_args
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from pydantic import TypeAdapter

from edge_fer.decide import DecideSettings
from edge_fer.events import Alert, CameraCondition, CameraState, ExpressionEvent
from edge_fer.frame import Box
from edge_fer.judge import Judge
from edge_fer.labels import EXPRESSIONS
from edge_fer.look import CameraNews, FaceLook, Look, Observation, Stop, Tick
from edge_fer.readability import Quality
from edge_fer.rules.settings import Rule, RuleTable

FaceNow = str | None | Mapping[str, float] | Sequence[float]
"""An expression that is clear, None for a refused face, or shares of some expressions or of all."""

CLEAR = 0.86
LOST_AFTER_S = 1.0
WAITS = "waits"
"""In place of an expression: seen, but it is not its turn to be read."""

GOOD = Quality(size_px=90, brightness=120, sharpness=0.5, yaw_deg=0.0, roll_deg=0.0, cut_off=0.123, burnt_out=0.045)
TURNED = Quality(size_px=90, brightness=120, sharpness=0.5, yaw_deg=70.0, roll_deg=0.0, refusal="turned")
BERLIN = ZoneInfo("Europe/Berlin")


def rule(**keys: Any) -> Rule:
    checked: Rule = TypeAdapter(RuleTable).validate_python(keys)
    return checked


def shares(face: FaceNow) -> tuple[float, ...] | None:
    if face is None:
        return None
    if isinstance(face, str):
        face = {face: CLEAR}
    if isinstance(face, Mapping):
        rest = (1 - sum(face.values())) / (len(EXPRESSIONS) - len(face))
        return tuple(face.get(name, rest) for name in EXPRESSIONS)
    return tuple(face)


class Story:
    """Plays looks, news and ticks into a Judge and keeps what it says."""

    def __init__(
        self,
        rules: Mapping[str, Rule] | None = None,
        cameras: Sequence[str] = ("front",),
        *,
        fps: float = 5,
        at: datetime | None = None,
        clip: bool = False,
        decide: DecideSettings | None = None,
    ) -> None:
        """`at`: the wall clock when it begins. In a clip, time begins at 0 and no clock ticks."""
        self.decide = decide or DecideSettings()
        self.judge = Judge(
            cameras,
            decide=self.decide,
            rules=rules or {},
            boot_id="boot",
            number=itertools.count(1).__next__,
        )
        self.cameras = list(cameras)
        self.fps, self._clip = fps, clip
        self.time_ns = 0 if clip else 5_000_000_000_000
        self.unix_ns = round((at or datetime(2026, 3, 4, 12, tzinfo=BERLIN)).timestamp() * 1e9)
        self.started_unix_ns = self.unix_ns
        self.seen: list[Observation] = []
        self.alerts: list[Alert] = []
        self.events: list[ExpressionEvent] = []
        self.states: list[CameraState] = []
        self._begun_ns = self.time_ns
        self._frames = itertools.count()
        self._absent: dict[tuple[str, int], int] = {}  # when it was last seen
        self.judge.start(self.unix_ns)
        for camera in cameras:
            self.news("online", camera)

    def shows(self, seconds: float, **cameras: Mapping[int, FaceNow]) -> Story:
        """For some seconds, these cameras see these faces, by track; the others see nothing new."""
        period_ns = round(1e9 / self.fps)
        for number in range(round(seconds * self.fps)):
            self._pass(period_ns)
            for camera, faces in cameras.items():
                self._look(camera, faces)
            if not self._clip and number % max(1, round(self.fps)) == 0:
                self.takes(Tick(self.time_ns, self.unix_ns))
        return self

    def passes(self, seconds: float) -> Story:
        """Time passes, and no camera sees anything."""
        for _ in range(round(seconds)):
            self._pass(1_000_000_000)
            self.takes(Tick(self.time_ns, self.unix_ns))
        return self

    def news(self, state: str, camera: str = "front", reason: str = "") -> Story:
        assert state in get_args(CameraCondition)
        if state != "online":
            self._absent = {key: at for key, at in self._absent.items() if key[0] != camera}
        self.takes(CameraNews(camera, state, reason, self.time_ns, self.unix_ns))  # type: ignore[arg-type]
        return self

    def stops(self) -> Story:
        self.takes(Stop("the daemon stopped", self.time_ns, self.unix_ns))
        return self

    def takes(self, seen: Observation) -> None:
        self.seen.append(seen)
        for payload, part in self.judge.take(seen):
            if isinstance(payload, Alert):
                assert part == payload.rule
                self.alerts.append(payload)
            elif isinstance(payload, ExpressionEvent):
                assert part == payload.camera
                self.events.append(payload)
            else:
                self.states.append(payload)

    @property
    def told(self) -> list[tuple[str, str, float]]:
        """Rule, state and time of each alert, in seconds since the story began."""
        return [(alert.rule, alert.state, self._seconds(alert.since)) for alert in self.alerts]

    @property
    def happened(self) -> list[tuple[str, str]]:
        return [(event.type, event.expression) for event in self.events]

    def _seconds(self, since: str) -> float:
        unix_s = datetime.fromisoformat(since.replace("Z", "+00:00")).timestamp()
        return round(unix_s - self.started_unix_ns / 1e9, 3)

    def _pass(self, ns: int) -> None:
        self.time_ns += ns
        self.unix_ns += ns

    def _look(self, camera: str, faces: Mapping[int, FaceNow]) -> None:
        for track in faces:
            self._absent[camera, track] = self.time_ns
        lost = [
            key[1]
            for key, at_ns in self._absent.items()
            if key[0] == camera and self.time_ns - at_ns > LOST_AFTER_S * 1e9
        ]
        for track in lost:
            del self._absent[camera, track]
        self.takes(
            Look(
                camera=camera,
                seq=next(self._frames),
                time_ns=self.time_ns,
                unix_ns=self.unix_ns,
                clip_ms=self.time_ns / 1e6 if self._clip else None,
                age_ms=31.41592,
                width_px=640,
                height_px=360,
                faces=tuple(
                    FaceLook(track, Box(100.04, 50.06, 90.0, 90.0), TURNED if face is None else GOOD, shares(face))
                    for track, face in faces.items()
                    if face != WAITS
                ),
                lost=tuple(lost),
                waiting=tuple(track for track, face in faces.items() if face == WAITS),
            )
        )


FACES = st.dictionaries(st.integers(1, 4), st.sampled_from([*EXPRESSIONS, None, WAITS]), max_size=4)
Scene = tuple[str, object, dict[int, str | None]]
SCENES = st.lists(
    st.one_of(
        st.tuples(st.just("shows"), st.floats(0.2, 30), FACES),
        st.tuples(st.just("news"), st.sampled_from(["online", "offline", "dark", "disabled"]), st.just({})),
        st.tuples(st.just("passes"), st.integers(1, 30), st.just({})),
    ),
    max_size=12,
)


def play(story: Story, scenes: list[Scene]) -> Story:
    for what, how, faces in scenes:
        if what == "shows":
            story.shows(float(how), front=faces)  # type: ignore[arg-type]
        elif what == "news":
            story.news(str(how))
        else:
            story.passes(float(how))  # type: ignore[arg-type]
    return story

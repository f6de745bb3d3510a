"""Everything decided on one node: observations in, events, camera states and alerts out.

The daemon and `edge-fer replay` both use exactly this, so a replay of what was recorded gives what the run gave.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from edge_fer.decide import DecideSettings, Reading
from edge_fer.deciding import CameraDecisions
from edge_fer.events import Alert, CameraCondition, CameraState, EndReason, ExpressionEvent, rfc3339
from edge_fer.look import CameraNews, Look, Observation, Tick
from edge_fer.rules.engine import RuleEngine
from edge_fer.rules.settings import Rule

TICK_NS = 1_000_000_000
"""Period of ticks: what is found when nothing arrives is found this much late at most."""

STOPPED = "stopped"
"""Reason of news that tell the end of the daemon: no fault of the camera."""

RESTARTED = "restarted with other settings"
"""Reason of news that tell of a camera whose configuration has changed: no fault of it either."""

_SEEING: frozenset[CameraCondition] = frozenset(
    {"online", "connecting"}
)  # connecting: its first frame says it is there


class Judged(NamedTuple):
    """A payload and the camera or rule that it is about, as `events.message` wants them."""

    payload: ExpressionEvent | CameraState | Alert
    part: str


class Judge:
    """Decides for all cameras and rules of a node. One thread only."""

    def __init__(
        self,
        cameras: Sequence[str],
        *,
        decide: DecideSettings,
        rules: Mapping[str, Rule],
        boot_id: str,
        number: Callable[[], int],
    ) -> None:
        """`number` gives the seq of the next event; the rules must have passed `check_cameras`."""
        self._decide, self._boot_id, self._number = decide, boot_id, number
        self.cameras = {name: self._decisions() for name in cameras}
        self.rules = RuleEngine(rules, cameras, boot_id)
        self._states: dict[str, CameraState] = {}  # as last told
        self._blind: dict[str, CameraCondition] = {}

    def start(self, unix_ns: int) -> list[Judged]:
        """The first retained state of every camera and rule."""
        since = rfc3339(unix_ns)
        states = [judged for name in self.cameras for judged in self._unknown(name, since)]
        return states + _alerts(self.rules.initial(unix_ns))

    def take(self, seen: Observation) -> list[Judged]:
        """What an observation decides, in order. Looks are rounded as recordings are, so that both decide the same."""
        if isinstance(seen, Look):
            return self._look(seen.rounded())
        if isinstance(seen, CameraNews):
            return self._news(seen)
        if isinstance(seen, Tick):
            return _alerts(self.rules.tick(seen))
        return _alerts(self.rules.clear_all(seen.reason, seen.unix_ns))

    def use(self, decide: DecideSettings) -> None:
        """Decide by other settings from now on, about the faces in view too."""
        self._decide = decide
        for decisions in self.cameras.values():
            decisions.use(decide)

    def use_rules(self, rules: Mapping[str, Rule], unix_ns: int) -> tuple[list[Judged], list[str]]:
        """Evaluate these rules; what follows, and the names of those that are no more."""
        change = self.rules.use(rules, list(self.cameras), unix_ns)
        return _alerts(change.alerts), change.removed

    def add(self, camera: str, unix_ns: int) -> list[Judged]:
        """Decide for another camera too; rules without a list of cameras include it after `use_rules`."""
        self.cameras[camera] = self._decisions()
        return self._unknown(camera, rfc3339(unix_ns))

    def remove(self, camera: str, time_ns: int, unix_ns: int) -> list[Judged]:
        """The camera is not watched any more: the ends of its tracks, reason "stopped", and what follows for rules."""
        ends = [Judged(event, camera) for event in self.cameras.pop(camera).end_all("stopped")]
        self._states.pop(camera, None)
        self._blind.pop(camera, None)
        news = CameraNews(camera, "disabled", "removed from the configuration", time_ns, unix_ns)
        return ends + _alerts(self.rules.remove_camera(news))

    def readings(self, camera: str) -> dict[int, Reading]:
        """What each face of a camera reads now, by track, for the live view."""
        return self.cameras[camera].readings

    def _decisions(self) -> CameraDecisions:
        return CameraDecisions(self._decide, boot_id=self._boot_id, number=self._number)

    def _look(self, look: Look) -> list[Judged]:
        if look.camera in self._blind:  # what is found in a covered or frozen picture is nobody
            return []
        decisions = self.cameras[look.camera]
        events = [Judged(event, look.camera) for event in decisions.take(look)]
        return events + self._state(look) + _alerts(self.rules.look(look, decisions.readings))

    def _news(self, news: CameraNews) -> list[Judged]:
        if news.state in _SEEING:
            self._blind.pop(news.camera, None)
        else:
            self._blind[news.camera] = news.state
        judged: list[Judged] = []
        if news.state != "online":
            ends = self.cameras[news.camera].end_all(_end_reason(news))
            judged = [Judged(event, news.camera) for event in ends] + self._unknown(news.camera, rfc3339(news.unix_ns))
        return judged if news.reason == STOPPED else judged + _alerts(self.rules.news(news))

    def _state(self, look: Look) -> list[Judged]:
        """What the camera sees, where that has changed: the number of faces, or the expression of the oldest one."""
        faces, expression, confidence = self.cameras[look.camera].seen()
        told = self._states.get(look.camera)
        if told is not None and (told.faces, told.expression) == (faces, expression):
            return []
        return self._told(
            look.camera,
            CameraState(faces=faces, expression=expression, confidence=confidence, since=rfc3339(look.unix_ns)),
        )

    def _unknown(self, camera: str, since: str) -> list[Judged]:
        told = self._states.get(camera)
        if told is not None and told.faces is None:
            return []
        return self._told(camera, CameraState(faces=None, expression="unknown", confidence=None, since=since))

    def _told(self, camera: str, state: CameraState) -> list[Judged]:
        self._states[camera] = state
        return [Judged(state, camera)]


class Ticker:
    """Makes a tick of a node's clock about once a second. For live cameras; a clip has a time of its own."""

    def __init__(self) -> None:
        self._last_ns: int | None = None

    def due(self, time_ns: int, unix_ns: int) -> Tick | None:
        """The tick, if it is time for one."""
        if self._last_ns is not None and time_ns - self._last_ns < TICK_NS:
            return None
        self._last_ns = time_ns
        return Tick(time_ns, unix_ns)


def _alerts(alerts: Sequence[Alert]) -> list[Judged]:
    return [Judged(alert, alert.rule) for alert in alerts]


def _end_reason(news: CameraNews) -> EndReason:
    if news.state == "disabled":
        return "paused"
    return "stopped" if news.reason in (STOPPED, RESTARTED) else "camera"

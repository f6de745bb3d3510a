"""What every kind of rule does: take what is seen, say whether it holds, and explain it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from edge_fer.decide import Reading
from edge_fer.look import CameraNews, Look
from edge_fer.rules.window import Sight

MINUTE_S, HOUR_S = 60, 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a rule has measured, and a sentence about it."""

    why: str
    value: float
    threshold: float
    cameras: Sequence[str]
    track: int | None = None
    sights: Sequence[Sight] = ()


class Evaluator(Protocol):
    """What one rule knows."""

    threshold: float
    unit: str

    def look(self, look: Look, readings: Mapping[int, Reading]) -> None:
        """Take a look of one of its cameras, which sees; `readings` are of all open tracks."""

    def news(self, news: CameraNews) -> None:
        """Take a change of one of its cameras."""

    def forget(self, camera: str) -> None:
        """The camera is gone from the configuration, after news that it is disabled."""

    def holds(self) -> bool:
        """Whether it is found now, so that an alert is due."""

    def stays(self) -> bool:
        """Whether an alert that is active goes on; true wherever it holds."""

    def found(self) -> Finding:
        """What is found; only while it holds."""

    def gone(self) -> Finding:
        """What is there instead; only after something was found."""


class Timeline:
    """The timelines of all cameras and of the node as one, which never goes back.

    Live cameras share the node's clock. A clip has its own, which begins anywhere: it is laid to where the node is.
    Where there are only clips, their time alone goes on: they give the same alerts on a machine of any speed.
    """

    def __init__(self) -> None:
        self.now_ns = 0
        self._offsets: dict[str, int] = {}  # of clips
        self._live = False  # whether any camera is

    def take_look(self, look: Look) -> None:
        """Time is at least that of this look."""
        self._live = self._live or look.clip_ms is None
        self.now_ns = max(self.now_ns, self.of_look(look))

    def take_clock(self, time_ns: int) -> None:
        """The node's clock shows this."""
        if self._live or not self._offsets:
            self.now_ns = max(self.now_ns, time_ns)

    def forget(self, camera: str) -> None:
        """The camera is gone; a clip of its name that comes later is laid to where the node is then."""
        self._offsets.pop(camera, None)

    def of_look(self, look: Look) -> int:
        """The time of a look; that of a late one is before now."""
        if look.clip_ms is None:
            return look.time_ns
        return look.time_ns + self._offsets.setdefault(look.camera, self.now_ns - look.time_ns)


def told_s(seconds: float) -> str:
    """A duration for people: 12.4 s, 5 min 20 s, 2 h 5 min."""
    if seconds < MINUTE_S:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    hours, rest_s = divmod(round(seconds), HOUR_S)
    minutes, rest_s = divmod(rest_s, MINUTE_S)
    parts = [(hours, "h"), (minutes, "min"), (0 if hours else rest_s, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)

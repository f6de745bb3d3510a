"""Cameras that cannot be used."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_fer.decide import Reading
from edge_fer.look import CameraNews, Look
from edge_fer.rules.evaluator import Finding, Timeline, told_s
from edge_fer.rules.settings import CameraRule
from edge_fer.rules.window import MAX_SAMPLES, Sight


@dataclass(slots=True)
class _Outage:
    since_ns: int
    news: CameraNews  # the newest
    sights: deque[Sight] = field(default_factory=lambda: deque[Sight](maxlen=MAX_SAMPLES))


class CameraEvaluator:
    """A camera neither online nor switched off on purpose, for a time."""

    unit = "s"

    def __init__(self, rule: CameraRule, timeline: Timeline) -> None:
        self.threshold = rule.for_s
        self._timeline = timeline
        self._outages: dict[str, _Outage] = {}  # by camera
        self._back: CameraNews | None = None  # the newest end of an outage

    def look(self, look: Look, readings: Mapping[int, Reading]) -> None:
        """What it sees is of no matter here."""

    def news(self, news: CameraNews) -> None:
        """From one fault to another is one outage."""
        if news.state in ("online", "disabled"):
            if self._outages.pop(news.camera, None):
                self._back = news
            return
        outage = self._outages.setdefault(news.camera, _Outage(self._timeline.now_ns, news))
        outage.news = news
        outage.sights.append(Sight(news.unix_ns, news.camera, state=news.state))

    def forget(self, camera: str) -> None:
        """Its outage ended when it was disabled."""

    def holds(self) -> bool:
        """Of any camera, for long enough."""
        return any(self._seconds(outage) >= self.threshold for outage in self._outages.values())

    def stays(self) -> bool:
        """While any camera is not usable."""
        return bool(self._outages)

    def found(self) -> Finding:
        """The longest outage, and which other cameras are not usable either."""
        camera, outage = min(self._outages.items(), key=lambda item: item[1].since_ns)
        reason = f" ({outage.news.reason})" if outage.news.reason else ""
        seconds = self._seconds(outage)
        return Finding(
            why=f"camera {camera} is {outage.news.state}{reason}, not usable for {told_s(seconds)}, "
            f"alert from {told_s(self.threshold)}",
            value=round(seconds, 1),
            threshold=self.threshold,
            cameras=sorted(self._outages),
            sights=tuple(outage.sights),
        )

    def gone(self) -> Finding:
        """That it is back."""
        back = self._back
        if back is None:
            raise ValueError("no camera was away yet")
        return Finding(
            why=f"camera {back.camera} is {back.state}",
            value=0.0,
            threshold=self.threshold,
            cameras=[back.camera],
            sights=[Sight(back.unix_ns, back.camera, state=back.state)],
        )

    def _seconds(self, outage: _Outage) -> float:
        return (self._timeline.now_ns - outage.since_ns) / 1e9

"""Expressions held for a share of a window of time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from edge_fer.decide import Reading
from edge_fer.labels import EXPRESSIONS
from edge_fer.look import SCORE_DIGITS, CameraNews, Look
from edge_fer.rules.evaluator import Finding, told_s
from edge_fer.rules.settings import ExpressionRule
from edge_fer.rules.window import ShareWindow, Sight

MIN_COVERAGE = 0.5
"""Of its window that must have been read before a face can raise an alert."""

MIN_READINGS = 5
"""Readings that a window must hold before it can raise an alert, however short it is."""


class Subject(NamedTuple):
    """Whom a window is about."""

    camera: str
    track: int | None  # None: whoever is in view


class ExpressionEvaluator:
    """By one and the same face, or by whoever is in a camera's view. Each camera has its own timeline."""

    unit = "share"

    def __init__(self, rule: ExpressionRule) -> None:
        self.threshold = rule.share
        self._rule = rule
        self._wanted = frozenset(rule.expressions)
        self._windows: dict[Subject, ShareWindow] = {}
        self._holds: set[Subject] = set()
        self._stays: set[Subject] = set()
        self._about = Subject("", None)  # the newest alert
        self._blind: dict[str, str] = {}  # state of cameras that see nothing

    def look(self, look: Look, readings: Mapping[int, Reading]) -> None:
        """Add what each face reads, or the view as a whole.

        A face whose turn it was not is left out: its next reading stands for this moment too.
        """
        self._blind.pop(look.camera, None)
        here = {face.track for face in look.faces}
        waiting = {track: readings[track] for track in look.waiting if track in readings}
        read = {track: reading for track, reading in readings.items() if track in here and reading.read}
        sights = {track: sight for track, reading in read.items() if (sight := self._sight(look, track, reading))}
        if self._rule.per == "camera":
            best = max(sights.values(), key=lambda sight: sight.confidence or 0.0, default=None)
            if best or not any(self._sight(look, *face) for face in waiting.items()):
                self._add(Subject(look.camera, None), look.time_ns, read=bool(read), sight=best)
            return
        for track in readings.keys() - waiting.keys():
            self._add(Subject(look.camera, track), look.time_ns, read=track in read, sight=sights.get(track))
        for track in look.lost:
            self._forget(Subject(look.camera, track))

    def news(self, news: CameraNews) -> None:
        """A camera that sees nothing shows no face."""
        if news.state == "online":
            return
        self._blind[news.camera] = news.state
        for subject in [subject for subject in self._windows if subject.camera == news.camera]:
            if subject.track is None:  # the same view, once it is back
                self._windows[subject].interrupt()
                self._mark(subject, holds=False, stays=False)
            else:
                self._forget(subject)

    def forget(self, camera: str) -> None:
        """What its view has shown."""
        for subject in [subject for subject in self._windows if subject.camera == camera]:
            self._forget(subject)

    def holds(self) -> bool:
        """By any face, or in any view."""
        return bool(self._holds)

    def stays(self) -> bool:
        """By any, not only by the one that raised the alert."""
        return bool(self._stays)

    def found(self) -> Finding:
        """Of the face that shows it most."""
        about = max(self._holds, key=lambda subject: (self._windows[subject].share, subject.camera, subject.track or 0))
        self._about, share = about, self._windows[about].share
        return self._finding(f"{self._measured(share)}, alert from {_percent(self._rule.share)}", share, self.threshold)

    def gone(self) -> Finding:
        """Of the face that the alert was about."""
        camera, track = self._about
        limit = self._rule.cleared_below
        if camera in self._blind:
            return self._finding(f"camera {camera} is {self._blind[camera]}: nothing is seen any more", 0.0, limit)
        window = self._windows.get(self._about)
        if window is None:
            return self._finding(f"face {track} is no longer in view of camera {camera}", 0.0, limit)
        why = f"{self._measured(window.share)}, cleared below {_percent(limit)}"
        return self._finding(why, window.share, limit)

    def _sight(self, look: Look, track: int, reading: Reading) -> Sight | None:
        if reading.expression not in self._wanted:
            return None
        score = reading.scores[EXPRESSIONS.index(reading.expression)]
        if score < self._rule.min_confidence:
            return None
        return Sight(look.unix_ns, look.camera, track, reading.expression, round(score, SCORE_DIGITS))

    def _add(self, subject: Subject, time_ns: int, *, read: bool, sight: Sight | None) -> None:
        window = self._windows.get(subject)
        if window is None:
            window = self._windows[subject] = ShareWindow(self._rule.window_s)
        window.add(time_ns, read=read, sight=sight)
        enough = window.coverage >= MIN_COVERAGE and window.readings >= MIN_READINGS
        holds = enough and window.share >= self._rule.share
        self._mark(subject, holds=holds, stays=holds or window.share >= self._rule.cleared_below)

    def _mark(self, subject: Subject, *, holds: bool, stays: bool) -> None:
        (self._holds.add if holds else self._holds.discard)(subject)
        (self._stays.add if stays else self._stays.discard)(subject)

    def _forget(self, subject: Subject) -> None:
        self._windows.pop(subject, None)
        self._mark(subject, holds=False, stays=False)

    def _measured(self, share: float) -> str:
        camera, track = self._about
        who = "somebody" if track is None else f"face {track}"
        window_s = self._rule.window_s
        return (
            f"{who} on camera {camera} showed {_listed(self._rule.expressions)} for {told_s(share * window_s)} "
            f"of the last {told_s(window_s)}: {_percent(share)}"
        )

    def _finding(self, why: str, value: float, threshold: float) -> Finding:
        camera, track = self._about
        window = self._windows.get(self._about)
        return Finding(
            why=why,
            value=round(value, SCORE_DIGITS),
            threshold=threshold,
            cameras=[camera],
            track=track,
            sights=window.sights() if window else (),
        )


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")

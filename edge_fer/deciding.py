"""One camera's looks -> events, and what the camera sees now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from edge_fer.decide import DecideSettings, ExpressionDecision, Held, Reading
from edge_fer.events import BoxPx, EndReason, EventType, ExpressionEvent, rfc3339
from edge_fer.frame import Box
from edge_fer.labels import EXPRESSIONS
from edge_fer.look import SCORE_DIGITS, FaceLook, Look
from edge_fer.readability import Quality


class Seen(NamedTuple):
    """What a camera sees now."""

    faces: int
    expression: str  # of the face longest in view; "none" without a face
    confidence: float | None


@dataclass(slots=True)
class _Person:
    """A track: where it was last seen, how well, and what is decided of it."""

    decision: ExpressionDecision
    box: Box
    quality: Quality


class CameraDecisions:
    """Decides for every face of one camera when its expression starts, changes and ends."""

    def __init__(self, settings: DecideSettings, *, boot_id: str, number: Callable[[], int]) -> None:
        """`number` gives the seq of the next event; all cameras of a node share it."""
        self._settings, self._boot_id, self._number = settings, boot_id, number
        self._people: dict[int, _Person] = {}  # by track, longest in view first
        self._last: Look | None = None

    def use(self, settings: DecideSettings) -> None:
        """Decide by other settings from now on, for the faces in view too."""
        self._settings = settings
        for person in self._people.values():
            person.decision.use(settings)

    def take(self, look: Look) -> list[ExpressionEvent]:
        """The events of this look, in order; a refused face counts as seen."""
        self._last = look
        events = [event for face in look.faces if (event := self._follow(face, look))]
        for track in look.lost:
            events += self._end(track, look, "left")
        return events

    def end_all(self, reason: EndReason) -> list[ExpressionEvent]:
        """An `end` for every open track, as of the newest look: nothing is known of them any more."""
        if self._last is None:
            return []
        return [event for track in list(self._people) for event in self._end(track, self._last, reason)]

    @property
    def readings(self) -> dict[int, Reading]:
        """What each face reads, by track, longest in view first; without those that have not been told yet."""
        return {
            track: person.decision.reading
            for track, person in self._people.items()
            if person.decision.current is not None
        }

    def seen(self) -> Seen:
        """What the camera sees now, for its retained state."""
        readings = self.readings
        if not readings:
            return Seen(0, "none", None)
        oldest = next(iter(readings.values()))
        return Seen(len(readings), oldest.expression, round(oldest.confidence, SCORE_DIGITS))

    def _follow(self, face: FaceLook, look: Look) -> ExpressionEvent | None:
        person = self._people.get(face.track)
        if person is None:
            decision = ExpressionDecision(self._settings, look.time_ns)
            person = self._people[face.track] = _Person(decision, face.box, face.quality)
        person.box, person.quality = face.box, face.quality
        told = person.decision.update(face.probabilities, look.time_ns)
        if told is None:
            return None
        return self._event(told, face.track, person, look, person.decision.before if told == "update" else None)

    def _end(self, track: int, look: Look, reason: EndReason) -> list[ExpressionEvent]:
        person = self._people.pop(track, None)
        if person is None or person.decision.current is None:  # a glimpse: its start was never told
            return []
        return [self._event("end", track, person, look, person.decision.held(look.time_ns), reason)]

    def _event(
        self, kind: EventType, track: int, person: _Person, look: Look, held: Held | None, reason: str = ""
    ) -> ExpressionEvent:
        """`held`: the expression that this event ended, if any."""
        seq, reading = self._number(), person.decision.reading
        scores = (round(score, SCORE_DIGITS) for score in reading.scores)
        return ExpressionEvent(
            id=f"{self._boot_id}-{seq}",
            seq=seq,
            boot_id=self._boot_id,
            type=kind,
            camera=look.camera,
            track=track,
            expression=reading.expression,
            confidence=round(reading.confidence, SCORE_DIGITS),
            scores=dict(zip(EXPRESSIONS, scores, strict=True)),
            box=_pixels(person.box),
            frame_width_px=look.width_px,
            frame_height_px=look.height_px,
            duration_ms=max(0, look.time_ns - person.decision.first_ns) // 1_000_000,
            occurred_at=rfc3339(look.unix_ns),
            clip_ms=None if look.clip_ms is None else round(look.clip_ms),
            reason=reason,
            previous=held.expression if held and kind == "update" else None,
            expression_ms=held.duration_ms if held else 0,
            peak=round(held.peak, SCORE_DIGITS) if held else 0.0,
            mean=round(held.mean, SCORE_DIGITS) if held else 0.0,
            quality=person.quality,
            frame_age_ms=round(look.age_ms),
        )


def _pixels(box: Box) -> BoxPx:
    return BoxPx(round(box.left), round(box.top), round(box.width), round(box.height))

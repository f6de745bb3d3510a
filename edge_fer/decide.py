"""Probabilities over time -> what is an event. Pure: time comes from the frames, nothing is published here."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from edge_fer.events import EventType
from edge_fer.labels import EXPRESSIONS, UNCERTAIN
from edge_fer.toml import Settings

EVEN_ODDS = 0.5
"""Below this confidence an honest reading is wrong more often than right."""


class DecideSettings(Settings):
    """`[decide]`: when a face's expression counts."""

    smoothing_ms: int = Field(default=400, ge=0, le=60_000)
    """Time constant of the smoothing: a step is followed to 63 % in this time."""

    settle_ms: int = Field(default=250, ge=0, le=60_000)
    """A face is looked at this long before its start is published."""

    hold_ms: int = Field(default=500, ge=0, le=60_000)
    """Another expression must hold this long before an update is published."""

    min_confidence: float | None = Field(default=None, ge=0, le=1)
    """Below this a face reads "uncertain"; None: what the model's card says."""

    hysteresis: float = Field(default=0.1, ge=0, le=1)
    """How much more probable another expression must be, and how far the present one may fall below min_confidence."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a face reads now, smoothed."""

    expression: str
    confidence: float  # 0..1, of the most probable expression, even where it reads "uncertain"
    scores: tuple[float, ...]  # of EXPRESSIONS, sum 1


class ExpressionDecision:
    """The expression of one track: smoothed, held, and reported when it starts or changes."""

    def __init__(self, settings: DecideSettings, first_ns: int) -> None:
        self._settings = settings
        self._min_confidence = EVEN_ODDS if settings.min_confidence is None else settings.min_confidence
        self.first_ns = first_ns
        self.current: str | None = None  # as last reported
        self._smoothed: npt.NDArray[np.float64] | None = None
        self._last_ns = first_ns
        self._candidate: str | None = None
        self._candidate_ns = first_ns

    @property
    def reading(self) -> Reading:
        """The reported expression with the newest smoothed scores; only after the first `update`."""
        if self._smoothed is None:
            raise ValueError("nothing was read yet")
        scores = self._smoothed
        return Reading(self.current or UNCERTAIN, float(scores.max()), tuple(scores.tolist()))

    def update(self, probabilities: npt.NDArray[np.float32], time_ns: int) -> EventType | None:
        """Take a new reading (8,); returns what is to be reported about it, if anything."""
        self._smooth(probabilities.astype(np.float64), time_ns)
        label = self._label()
        if self.current is None:
            if time_ns - self.first_ns < self._settings.settle_ms * 1_000_000:
                return None
            self.current = label
            return "start"
        if label != self._candidate:
            self._candidate, self._candidate_ns = label, time_ns
        if label == self.current or time_ns - self._candidate_ns < self._settings.hold_ms * 1_000_000:
            return None
        self.current = label
        return "update"

    def _smooth(self, probabilities: npt.NDArray[np.float64], time_ns: int) -> None:
        """Exponential smoothing with a time constant, so that the frame rate does not matter."""
        if self._smoothed is None or not self._settings.smoothing_ms:
            self._smoothed = probabilities
        else:
            elapsed = max(0, time_ns - self._last_ns) / (self._settings.smoothing_ms * 1e6)
            self._smoothed = self._smoothed + (1 - math.exp(-elapsed)) * (probabilities - self._smoothed)
        self._last_ns = time_ns

    def _label(self) -> str:
        """The most probable expression; the present one keeps its place within the hysteresis."""
        if self._smoothed is None:
            return UNCERTAIN
        best = int(self._smoothed.argmax())
        margin = self._settings.hysteresis
        if self.current in EXPRESSIONS:
            present = self._smoothed[EXPRESSIONS.index(self.current)]
            if present >= self._min_confidence - margin and self._smoothed[best] - present < margin:
                return self.current
        return EXPRESSIONS[best] if self._smoothed[best] >= self._min_confidence else UNCERTAIN

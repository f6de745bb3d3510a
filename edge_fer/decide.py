"""One face's probabilities over time -> what is to be told of it. Pure: time comes from the frames."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from edge_fer.events import EventType
from edge_fer.labels import EXPRESSIONS, UNCERTAIN
from edge_fer.toml import Settings

EVEN_ODDS = 0.5
"""Below this confidence an honest reading is wrong more often than right."""

UNKNOWN = (1 / len(EXPRESSIONS),) * len(EXPRESSIONS)
"""The scores of a face of which nothing is known."""

NEUTRAL_SHARE = 0.8
"""Probability of "neutral" that a face at rest is expected to read; the rest is spread evenly."""

MAX_SHIFT = math.log(2)
"""Bound of the baseline's shift of one log-probability: no odds between two expressions change more than fourfold."""

MIN_PROBABILITY = 1e-4
"""The smallest step of recorded scores; keeps logarithms finite."""

FLUTTER_NS = 60_000_000_000
"""How long it is remembered that an expression was left."""

FREE_RETURNS, MAX_HOLDS = 1, 16
"""An expression that was left more often than this within a minute must hold twice as long for each further time, up to
MAX_HOLDS times hold_ms: a face between two expressions would else flutter between them for ever."""

MAX_STEP_NS = 1_000_000_000
"""What one reading adds to the time of a baseline at most; longer gaps were not looked at."""


class DecideSettings(Settings):
    """`[decide]`: when a face's expression counts."""

    smoothing_ms: int = Field(default=400, ge=0, le=60_000)
    """Time constant of the smoothing: a step is followed to 63 % in this time."""

    settle_ms: int = Field(default=250, ge=0, le=60_000)
    """A face is looked at this long before its start is published."""

    hold_ms: int = Field(default=500, ge=0, le=60_000)
    """Another expression must hold this long before an update is published, and a face must be refused this long
    before it reads "uncertain"."""

    cooldown_ms: int = Field(default=1000, ge=0, le=3_600_000)
    """Least time between two updates of one face. What changes within it is told at its end, if it still holds."""

    min_confidence: float | None = Field(default=None, ge=0, le=1)
    """Below this a face reads "uncertain"; None: what the model's card says."""

    hysteresis: float = Field(default=0.1, ge=0, le=1)
    """How much more probable another expression must be, and how far the present one may fall below min_confidence."""

    baseline_s: float = Field(default=0.0, ge=0, le=3600)
    """Learn each face's own neutral in this time of reading; 0: do not. Whoever is sad in it is taken for neutral."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a face reads now, smoothed."""

    expression: str
    confidence: float  # 0..1, of the most probable expression, even where it reads "uncertain"
    scores: tuple[float, ...]  # of EXPRESSIONS, sum 1; all the same where nothing is known
    read: bool = True  # false: refused by the quality gate in the newest frame


@dataclass(frozen=True, slots=True)
class Held:
    """How an expression was held from when it was told until the next was."""

    expression: str
    duration_ms: int
    peak: float  # highest smoothed score; of "uncertain", of whatever was most probable
    mean: float  # over time


class ExpressionDecision:
    """The expression of one track: smoothed, held, and told when it starts or changes."""

    def __init__(self, settings: DecideSettings, first_ns: int) -> None:
        self._settings = settings
        self._min_confidence = EVEN_ODDS if settings.min_confidence is None else settings.min_confidence
        self._hold_ns = settings.hold_ms * 1_000_000
        self._baseline = Baseline(settings.baseline_s) if settings.baseline_s else None
        self.first_ns = first_ns
        self.current: str | None = None  # as last told
        self.before: Held | None = None  # what the newest update ended
        self._span: _Span | None = None  # of the current expression
        self._updated_ns: int | None = None  # when the newest update was told
        self._left: deque[tuple[int, str]] = deque(maxlen=2 * MAX_HOLDS)  # when which expression ended, within a minute
        self._smoothed: tuple[float, ...] | None = None
        self._read_ns = first_ns
        self._refused_ns: int | None = None  # since when it is refused
        self._candidate: str | None = None
        self._candidate_ns = first_ns

    def use(self, settings: DecideSettings) -> None:
        """Decide by other settings from the next reading on; another `baseline_s` is learned anew."""
        if settings.baseline_s != self._settings.baseline_s:
            self._baseline = Baseline(settings.baseline_s) if settings.baseline_s else None
        self._settings = settings
        self._min_confidence = EVEN_ODDS if settings.min_confidence is None else settings.min_confidence
        self._hold_ns = settings.hold_ms * 1_000_000

    @property
    def reading(self) -> Reading:
        """The expression as last told, with the newest smoothed scores."""
        scores = self._smoothed or UNKNOWN
        return Reading(self.current or UNCERTAIN, max(scores), scores, self._refused_ns is None)

    def held(self, time_ns: int) -> Held:
        """How the current expression was held until now; ValueError before the start."""
        if self.current is None or self._span is None:
            raise ValueError("nothing was told yet")
        return self._span.held(self.current, time_ns)

    def update(self, probabilities: Sequence[float] | None, time_ns: int) -> EventType | None:
        """Take a new reading (8,), or None for a face that the quality gate refused; returns what to tell, if anything.

        A face refused for less than hold_ms keeps its expression; after that, what was read of it is forgotten.
        """
        self._take(probabilities, time_ns)
        label = self._label()
        if label != self._candidate:
            self._candidate = label
            self._candidate_ns = time_ns if self._refused_ns is None else self._refused_ns
        if self.current is None:
            if time_ns - self.first_ns < self._settings.settle_ms * 1_000_000:
                return None
            return self._tell("start", label, time_ns)
        if self._span:
            self._span.add(self._score(self.current), time_ns)
        if label == self.current or self._too_soon(label, time_ns):
            return None
        self.before = self.held(time_ns)
        self._updated_ns = time_ns
        self._left.append((time_ns, self.current))
        return self._tell("update", label, time_ns)

    def _tell(self, kind: EventType, label: str, time_ns: int) -> EventType:
        self.current = label
        # The first expression counts from the face's first look: then all durations add up to the track's.
        self._span = _Span(self.first_ns if kind == "start" else time_ns, time_ns, self._score(label))
        return kind

    def _too_soon(self, label: str, time_ns: int) -> bool:
        """Whether the candidate has to hold longer, or the newest update is too fresh."""
        if self._updated_ns is not None and time_ns - self._updated_ns < self._settings.cooldown_ms * 1_000_000:
            return True
        while self._left and time_ns - self._left[0][0] > FLUTTER_NS:
            self._left.popleft()
        returns = sum(left == label for _, left in self._left)
        holds = min(MAX_HOLDS, 1 << max(0, returns - FREE_RETURNS))
        return time_ns - self._candidate_ns < self._hold_ns * holds

    def _take(self, probabilities: Sequence[float] | None, time_ns: int) -> None:
        if probabilities is None:
            if self._refused_ns is None:
                self._refused_ns = time_ns
            if time_ns - self._refused_ns >= self._hold_ns:
                self._smoothed = None
            return
        self._refused_ns = None
        read = tuple(float(share) for share in probabilities)
        self._smooth(self._baseline.corrected(read, time_ns) if self._baseline else read, time_ns)

    def _smooth(self, probabilities: tuple[float, ...], time_ns: int) -> None:
        """Exponential smoothing with a time constant, so that the frame rate does not matter."""
        if self._smoothed is None or not self._settings.smoothing_ms:
            self._smoothed = probabilities
        else:
            elapsed = max(0, time_ns - self._read_ns) / (self._settings.smoothing_ms * 1e6)
            gain = 1 - math.exp(-elapsed)
            self._smoothed = tuple(
                old + gain * (new - old) for old, new in zip(self._smoothed, probabilities, strict=True)
            )
        self._read_ns = time_ns

    def _score(self, label: str) -> float:
        scores = self._smoothed or UNKNOWN
        return scores[EXPRESSIONS.index(label)] if label in EXPRESSIONS else max(scores)

    def _label(self) -> str:
        """The most probable expression; the present one keeps its place within the hysteresis."""
        if self._smoothed is None:
            return UNCERTAIN
        best = max(self._smoothed)
        margin = self._settings.hysteresis
        if self.current in EXPRESSIONS:
            present = self._score(self.current)
            if present >= self._min_confidence - margin and best - present < margin:
                return self.current
        return EXPRESSIONS[self._smoothed.index(best)] if best >= self._min_confidence else UNCERTAIN


class Baseline:
    """A face's own neutral: the mean of its first log-probabilities, and the shift from there to a neutral face.

    People differ at rest: one looks sad, another angry. For the first `seconds` of reading nothing is changed; from
    then on each log-probability is shifted by what the mean lacked to NEUTRAL_SHARE neutral, at most by MAX_SHIFT.
    """

    def __init__(self, seconds: float) -> None:
        self._wanted_ns = int(seconds * 1e9)
        self._read_ns = 0  # time of reading so far
        self._last_ns: int | None = None
        self._count = 0
        self._sums = [0.0] * len(EXPRESSIONS)
        self._factors: tuple[float, ...] | None = None

    def corrected(self, probabilities: tuple[float, ...], time_ns: int) -> tuple[float, ...]:
        """The probabilities as they would be if this face at rest were neutral; sum 1."""
        if self._factors is None:
            self._learn(probabilities, time_ns)
            return probabilities
        shifted = [share * factor for share, factor in zip(probabilities, self._factors, strict=True)]
        total = sum(shifted)
        return tuple(share / total for share in shifted) if total > 0 else probabilities

    def _learn(self, probabilities: tuple[float, ...], time_ns: int) -> None:
        if self._last_ns is not None:
            self._read_ns += min(max(0, time_ns - self._last_ns), MAX_STEP_NS)
        self._last_ns = time_ns
        self._count += 1
        for number, share in enumerate(probabilities):
            self._sums[number] += math.log(max(share, MIN_PROBABILITY))
        if self._read_ns >= self._wanted_ns:
            self._factors = tuple(
                math.exp(max(-MAX_SHIFT, min(MAX_SHIFT, math.log(wanted) - total / self._count)))
                for wanted, total in zip(_at_rest(), self._sums, strict=True)
            )


class _Span:
    """Peak and mean over time of the score of an expression while it is held."""

    def __init__(self, since_ns: int, time_ns: int, score: float) -> None:
        self._since_ns, self._last_ns = since_ns, time_ns
        self._last = self._peak = score
        self._area = 0.0
        self._measured_ns = 0

    def add(self, score: float, time_ns: int) -> None:
        step_ns = max(0, time_ns - self._last_ns)
        self._area += (score + self._last) / 2 * step_ns
        self._measured_ns += step_ns
        self._last, self._last_ns = score, time_ns
        self._peak = max(self._peak, score)

    def held(self, expression: str, time_ns: int) -> Held:
        mean = self._area / self._measured_ns if self._measured_ns else self._last
        return Held(expression, max(0, time_ns - self._since_ns) // 1_000_000, self._peak, mean)


def _at_rest() -> list[float]:
    rest = (1 - NEUTRAL_SHARE) / (len(EXPRESSIONS) - 1)
    return [NEUTRAL_SHARE if name == "neutral" else rest for name in EXPRESSIONS]

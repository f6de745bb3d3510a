from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from edge_fer.decide import DecideSettings, ExpressionDecision
from edge_fer.labels import EXPRESSIONS

MS = 1_000_000


def scores(**shares: float) -> npt.NDArray[np.float32]:
    """The named shares; the rest is spread evenly over the other expressions."""
    rest = (1 - sum(shares.values())) / (len(EXPRESSIONS) - len(shares))
    return np.array([shares.get(name, rest) for name in EXPRESSIONS], np.float32)


def unsmoothed(**settings: float) -> ExpressionDecision:
    return ExpressionDecision(DecideSettings.model_validate({"smoothing_ms": 0, "settle_ms": 0, **settings}), 0)


def test_a_start_waits_until_the_face_was_looked_at_long_enough() -> None:
    decision = ExpressionDecision(DecideSettings(settle_ms=250), 0)
    told = [decision.update(scores(happiness=0.9), time_ms * MS) for time_ms in (0, 100, 200, 300, 400)]
    assert told == [None, None, None, "start", None]
    assert decision.reading.expression == "happiness"


def test_another_expression_counts_only_after_it_has_held() -> None:
    decision = unsmoothed(hold_ms=500)
    decision.update(scores(neutral=0.9), 0)
    told = [decision.update(scores(anger=0.9), time_ms * MS) for time_ms in (100, 300, 599, 600, 700)]
    assert told == [None, None, None, "update", None]
    assert decision.current == "anger"


def test_without_a_threshold_even_odds_decide() -> None:
    for share, expected in ((0.49, "uncertain"), (0.51, "anger")):
        decision = unsmoothed()
        decision.update(scores(anger=share), 0)
        assert decision.current == expected


def test_a_flicker_is_no_event() -> None:
    decision = unsmoothed(hold_ms=500)
    decision.update(scores(neutral=0.9), 0)
    for time_ms in range(100, 5000, 400):
        assert decision.update(scores(anger=0.9), time_ms * MS) is None
        assert decision.update(scores(neutral=0.9), (time_ms + 200) * MS) is None


def test_nothing_probable_reads_uncertain_and_never_a_default() -> None:
    decision = unsmoothed(min_confidence=0.4)
    decision.update(scores(anger=0.39), 0)
    assert decision.reading.expression == "uncertain"
    assert decision.reading.confidence == pytest.approx(0.39)


def test_the_present_expression_keeps_its_place_within_the_hysteresis() -> None:
    decision = unsmoothed(min_confidence=0.4, hysteresis=0.1, hold_ms=0)
    decision.update(scores(sadness=0.5), 0)
    assert decision.update(scores(sadness=0.42, neutral=0.5), 100 * MS) is None  # 0.08 more is not enough
    assert decision.update(scores(sadness=0.31), 200 * MS) is None  # 0.09 under the threshold is still it
    assert decision.update(scores(sadness=0.38, neutral=0.5), 300 * MS) == "update"  # 0.12 more is enough
    assert decision.current == "neutral"


@pytest.mark.parametrize("step_ms", [20, 50, 100])
def test_smoothing_follows_a_step_to_63_percent_in_its_time_constant_at_any_frame_rate(step_ms: int) -> None:
    decision = ExpressionDecision(DecideSettings(smoothing_ms=400), 0)
    decision.update(scores(neutral=1.0), 0)
    for time_ms in range(step_ms, 401, step_ms):
        decision.update(scores(happiness=1.0), time_ms * MS)
    # 1 - 1/e
    assert decision.reading.scores[EXPRESSIONS.index("happiness")] == pytest.approx(0.632, abs=0.001)


def test_smoothed_scores_still_sum_to_one() -> None:
    decision = ExpressionDecision(DecideSettings(), 0)
    for number in range(50):
        decision.update(scores(**{EXPRESSIONS[number % 8]: 0.7}), number * 40 * MS)
    assert sum(decision.reading.scores) == pytest.approx(1)

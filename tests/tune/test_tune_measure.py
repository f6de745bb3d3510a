"""Rounds, in which every way meets the same heat and the same noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from tunings import speed, way

from edge_fer.bench.figures import Speed
from edge_fer.tune.choose import Way
from edge_fer.tune.measure import Contender, measure_fairly

A, B = way("litert int8 1"), way("litert int8 2")


class Script:
    """Gives prepared figures to each way, one a round."""

    def __init__(self, figures: dict[Way, Sequence[Speed]]) -> None:
        self._left = {one: list(speeds) for one, speeds in figures.items()}
        self.asked: list[tuple[Way, float]] = []

    def contenders(self) -> list[Contender]:
        return [Contender(one, lambda one=one: one) for one in self._left]

    def __call__(self, once: Callable[[], object], *, seconds: float) -> Speed:
        one = once()
        assert isinstance(one, Way)
        self.asked.append((one, seconds))
        return self._left[one].pop(0)


def test_ways_take_turns_there_and_back() -> None:
    script = Script({A: [speed(1.0)] * 4, B: [speed(2.0)] * 4})
    begun: list[Way] = []
    measure_fairly(script.contenders(), script, seconds=2.0, rounds=4, on_slice=begun.append)
    assert [one for one, _ in script.asked] == [A, B, B, A, A, B, B, A] == begun
    assert {seconds for _, seconds in script.asked} == {0.5}


def test_a_board_that_slows_down_slows_all_alike() -> None:
    """Ten percent slower from round to round: the ratio stays what it is, B half of A."""
    slower = [1.1**number for number in range(6)]
    script = Script({A: [speed(2 * factor) for factor in slower], B: [speed(factor) for factor in slower]})
    a, b = measure_fairly(script.contenders(), script, seconds=1.0).measurements
    assert a.ms / b.ms == pytest.approx(2, abs=1e-3)


def test_one_round_that_somebody_disturbed_does_not_count_for_much() -> None:
    script = Script({A: [speed(ms) for ms in (1.0, 1.02, 9.0, 0.98, 1.0, 1.01)]})
    found = measure_fairly(script.contenders(), script, seconds=1.0)
    assert found.measurements[0].ms == pytest.approx(1.005)  # between the third and the fourth of six
    assert found.doubts == ()


def test_figures_that_differ_from_round_to_round_are_doubted() -> None:
    # The median of A is 1.5, and every round is 0.5 from it: a third.
    script = Script({A: [speed(ms) for ms in (1.0, 2.0, 1.0, 2.0, 1.0, 2.0)], B: [speed(1.0)] * 6})
    assert measure_fairly(script.contenders(), script, seconds=1.0).doubts == (
        "the rounds differ by up to 33% (litert int8, 1 thread)",
    )


def test_rounds_that_were_throttled_do_not_count_for_anybody() -> None:
    """A was held back in round 3; B, which was not, loses that round too, or it would have met other conditions."""
    held = speed(5.0, throttled=("throttled",))
    script = Script(
        {A: [speed(1.0), speed(1.0), held, speed(1.0)], B: [speed(2.0), speed(2.0), speed(99.0), speed(2.0)]}
    )
    a, b = measure_fairly(script.contenders(), script, seconds=1.0, rounds=4).measurements
    assert (a.ms, b.ms, a.rounds, b.rounds) == (1.0, 2.0, 3, 3)


def test_a_board_that_is_always_throttled_is_measured_and_doubted() -> None:
    held = speed(5.0, throttled=("throttled", "under-voltage"))
    script = Script({A: [speed(5.0), held, held, held]})
    found = measure_fairly(script.contenders(), script, seconds=1.0, rounds=4)
    assert found.measurements[0].rounds == 4
    assert found.doubts == ("the board was held back (throttled, under-voltage) in 3 of 4 rounds",)


def test_joules_are_medians_too_and_none_where_the_sensor_was_away_most_of_the_time() -> None:
    joules = [speed(1.0, joules=value) for value in (0.003, 0.001, 0.002)]
    script = Script({A: [*joules, speed(1.0)], B: [joules[0], speed(1.0), speed(1.0), speed(1.0)]})
    a, b = measure_fairly(script.contenders(), script, seconds=1.0, rounds=4).measurements
    # An image takes 1 ms, and the idle floor of 2 W adds 2 mJ to each.
    assert (a.joules, a.total_joules) == (pytest.approx(0.002), pytest.approx(0.004))
    assert (b.joules, b.total_joules) == (None, None)

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from story import Story, rule

from edge_fer.rules.evaluator import told_s
from edge_fer.rules.expression import ExpressionEvaluator, Subject
from edge_fer.rules.window import MAX_STEP_NS, SLOTS, EvenSamples, ShareWindow, Sight, evenly

S = 1_000_000_000
SIGHT = Sight(0, "front", 1, "sadness", 0.8)


def measured(readings: list[tuple[int, bool, bool]], window_ns: int, *, held_only: bool) -> float:
    """The share by its definition: each reading stands for the time before it, two seconds at most."""
    end_ns = sum(step_ns for step_ns, _, _ in readings)
    at_ns, total_ns = 0, 0
    for number, (step_ns, read, counts) in enumerate(readings):
        at_ns += step_ns
        if number and read and at_ns > end_ns - window_ns and (counts or not held_only):
            total_ns += min(step_ns, MAX_STEP_NS)
    return total_ns / window_ns


@given(
    readings=st.lists(
        st.tuples(st.integers(0, 3 * S), st.booleans(), st.booleans()),
        max_size=300,
    ),
    window_s=st.integers(1, 60),
)
def test_a_share_is_right_to_one_slot_and_memory_is_bounded(
    readings: list[tuple[int, bool, bool]], window_s: int
) -> None:
    window, at_ns = ShareWindow(window_s), 0
    for step_ns, read, counts in readings:
        at_ns += step_ns
        window.add(at_ns, read=read, sight=SIGHT if read and counts else None)
    # The oldest slot is kept or forgotten whole, and so is the reading that begins it.
    tolerance = 1 / SLOTS + 1e-9
    assert window.share == pytest.approx(min(1, measured(readings, window_s * S, held_only=True)), abs=tolerance)
    assert window.coverage == pytest.approx(min(1, measured(readings, window_s * S, held_only=False)), abs=tolerance)
    assert len(window) <= SLOTS + 1
    assert len(window.sights()) <= 20


def test_a_day_of_30_frames_a_second_takes_no_more_memory_than_20_s() -> None:
    window = ShareWindow(86_400)
    for number in range(200_000):
        window.add(number * S // 2, read=True, sight=SIGHT)
    assert len(window) <= SLOTS + 1
    assert window.share == 1


@given(st.integers(0, 5000))
def test_samples_stay_few_and_evenly_spread(offered: int) -> None:
    samples = EvenSamples[int]()
    for number in range(offered):
        samples.offer(number)
    chosen = samples.chosen()
    assert len(samples) <= 41
    assert len(chosen) == min(offered, len(chosen)) <= 20
    if offered > 40:
        gaps = [after - before for before, after in itertools.pairwise(chosen)]
        assert chosen[0] == 0
        assert offered - chosen[-1] <= offered / 20 + 1  # at most one stride is not yet taken
        assert max(gaps) <= 2 * min(gaps)  # one or two of those that were kept
        assert len(chosen) == 20


@given(st.lists(st.integers(), max_size=100), st.integers(2, 20))
def test_an_even_choice_has_the_first_and_the_last(items: list[int], count: int) -> None:
    chosen = evenly(items, count)
    assert len(chosen) == min(len(items), count)
    if items:
        assert (chosen[0], chosen[-1]) == (items[0], items[-1])


def test_faces_that_left_leave_nothing_behind() -> None:
    story = Story({"sad": rule(kind="expression", expressions=["sadness"])}, fps=2)
    for track in range(1, 200):
        story.shows(3, front={track: "sadness"})
    evaluator = story.judge.rules._lines[0].evaluator
    assert isinstance(evaluator, ExpressionEvaluator)
    assert set(evaluator._windows) == {Subject("front", 199)}
    assert len(story.judge.cameras["front"]._people) == 1


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (12.34, "12.3 s"),
        (20, "20 s"),
        (60, "1 min"),
        (320.4, "5 min 20 s"),
        (3600, "1 h"),
        (7530, "2 h 5 min"),
        (86_400, "24 h"),
    ],
)
def test_durations_are_told_for_people(seconds: float, told: str) -> None:
    assert told_s(seconds) == told

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge_fer.capture.backoff import Backoff, Pacer


def chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - jitter, no secret


def picked(max_fps: float | None, times_ms: list[int]) -> list[int]:
    pacer = Pacer(max_fps)
    return [time_ms for time_ms in times_ms if pacer.picks(time_ms * 1_000_000)]


@given(st.integers())
def test_pauses_grow_within_1_and_30_s(seed: int) -> None:
    backoff = Backoff(chance=chance(seed))
    pauses = [backoff.next_s() for _ in range(12)]
    assert all(1 <= pause <= 30 for pause in pauses)
    assert pauses[0] <= 2
    assert min(pauses[4:]) >= 15


def test_cameras_that_were_lost_together_do_not_come_back_together() -> None:
    assert len({Backoff(chance=chance(seed)).next_s() for seed in range(8)}) == 8


def test_only_a_camera_that_worked_for_a_while_starts_over() -> None:
    backoff = Backoff(chance=chance(1))
    for _ in range(4):
        backoff.worked(for_s=0.5)  # connects and dies
        pause = backoff.next_s()
    assert pause >= 8
    backoff.worked(for_s=60)
    assert backoff.next_s() <= 2


def test_without_a_limit_every_picture_is_picked() -> None:
    assert picked(None, [0, 1, 1, 2]) == [0, 1, 1, 2]


def test_pictures_are_picked_evenly() -> None:
    assert picked(10, list(range(0, 1000, 20))) == list(range(0, 1000, 100))
    assert picked(5, list(range(0, 1000, 40))) == list(range(0, 1000, 200))
    kept = picked(10, list(range(0, 2000, 33)))
    assert len(kept) == 20
    assert all(abs(after - before - 100) <= 33 for before, after in pairwise(kept))


def test_another_limit_counts_from_the_next_picture_on() -> None:
    pacer = Pacer(None)
    assert pacer.picks(0)
    pacer.limit(1)
    assert [pacer.picks(ms * 1_000_000) for ms in (40, 80, 500, 1080)] == [True, False, False, True]
    pacer.limit(1)
    assert not pacer.picks(1_120_000_000), "the same limit again changes nothing"
    pacer.hurry()
    assert pacer.picks(1_160_000_000)
    pacer.limit(10)
    assert pacer.picks(1_200_000_000), "a faster one begins at once"


def test_a_camera_that_jitters_around_the_limit_loses_nothing() -> None:
    times_ms = [number * 100 + (7, -7, 3, 0, -5)[number % 5] for number in range(50)]
    assert picked(10, times_ms) == times_ms


@given(
    st.lists(st.integers(0, 300), min_size=1, max_size=200),
    st.sampled_from([0.5, 1.0, 7.0, 15.0, 30.0]),
)
def test_no_span_holds_more_than_the_limit(gaps_ms: list[int], max_fps: float) -> None:
    times_ms = [sum(gaps_ms[: count + 1]) for count in range(len(gaps_ms))]
    kept = picked(max_fps, times_ms)
    assert kept[0] == times_ms[0]
    for first, start_ms in enumerate(kept):
        for last, end_ms in enumerate(kept[first:], first):
            # One for the start, one for a picture that came a quarter early.
            assert last - first <= (end_ms - start_ms) / 1000 * max_fps + 1

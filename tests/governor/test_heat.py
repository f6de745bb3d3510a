"""The governor against boards that heat up: it settles, stays below the throttle point, and comes back."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from board_heat import BOARDS, SHARES, STEP_S, Site, Thermal
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from edge_fer.governor.findings import MARGIN_C
from edge_fer.governor.levels import LEVELS, SLOWEST
from edge_fer.governor.settings import GovernorSettings

HOUR_S = 3600.0

MOST_CHANGES = 5 + 4 * 4
"""In three hours: down to the slowest, and tries after 1, 3, 9, 27 and then 60 minutes, mostly of a level or two."""

PI_4 = BOARDS[0]
NANO = BOARDS[2]

boards = st.sampled_from([*BOARDS, *(board.fan() for board in BOARDS)])
ambients = st.floats(20, 60)
# Sensors tell in steps of 0.5 or 1 degree, with up to 1 degree of noise.
sensors = st.tuples(st.sampled_from([0.5, 1.0]), st.floats(0, 1.0), st.integers(0, 1000))


def site(
    board: Thermal, ambient_c: float, sensor: tuple[float, float, int], table: GovernorSettings | None = None
) -> Site:
    step_c, noise_c, seed = sensor
    return Site(board, ambient_c, settings=table, step_c=step_c, noise_c=noise_c, seed=seed)


def can_be_kept(board: Thermal, ambient_c: float) -> bool:
    """Whether the slowest level ends well below the limit: no governor can do more than that."""
    return board.settled_c(ambient_c, SHARES[SLOWEST]) <= board.throttle_c - MARGIN_C - 2


def test_the_model_settles_where_its_resistances_say() -> None:
    """2.7 W and 2.6 W through 9.5 K/W are 50.35 K above the air, of which a fan leaves 5.3 * (2 + 2.5) = 23.85 K."""
    assert PI_4.settled_c(20, 1.0) == pytest.approx(70.35)
    assert PI_4.fan().settled_c(20, 1.0) == pytest.approx(43.85)
    assert Site(PI_4, 20).passes(2 * HOUR_S).chip_c == pytest.approx(70.35, abs=0.05)


def settles(board: Thermal, ambient_c: float, sensor: tuple[float, float, int]) -> None:
    run = site(board, ambient_c, sensor).passes(3 * HOUR_S).run
    assert len(run.changes) <= MOST_CHANGES
    assert run.changes_after(2 * HOUR_S) <= 4
    levels = [0, *(held.level for _, held in run.changes)]
    assert all(abs(after - before) == 1 for before, after in pairwise(levels))


def stays_below(board: Thermal, ambient_c: float, sensor: tuple[float, float, int], *, heated: bool) -> None:
    assume(can_be_kept(board, ambient_c))
    place = site(board, ambient_c, sensor)
    if heated:  # a daemon that is started on a board which has worked at full rate up to its limit
        assume(board.settled_c(ambient_c, 1.0) <= board.throttle_c - MARGIN_C)
        place.heated_through()
    run = place.passes(2 * HOUR_S).run
    assert run.hottest_c < board.throttle_c
    above_s = sum(chip_c > board.throttle_c - MARGIN_C + 1 for chip_c in run.temperatures_c) * STEP_S
    assert above_s <= 4 * board.board_s, "longer than the heat of the board takes to go"


@given(boards, ambients, sensors)
@example(PI_4, 30.0, (1.0, 1.0, 1))
@example(NANO, 50.0, (1.0, 1.0, 1))
@settings(max_examples=6)
def test_it_settles_without_oscillation(board: Thermal, ambient_c: float, sensor: tuple[float, float, int]) -> None:
    settles(board, ambient_c, sensor)


@given(boards, ambients, sensors, st.sampled_from(["cold", "heated through"]))
@settings(max_examples=6)
def test_it_stays_below_the_throttle_point(
    board: Thermal, ambient_c: float, sensor: tuple[float, float, int], start: str
) -> None:
    stays_below(board, ambient_c, sensor, heated=start == "heated through")


@pytest.mark.system
@given(boards, ambients, sensors, st.sampled_from(["cold", "heated through"]))
@settings(max_examples=80)
def test_many_boards_settle_below_their_throttle_point(
    board: Thermal, ambient_c: float, sensor: tuple[float, float, int], start: str
) -> None:
    settles(board, ambient_c, sensor)
    stays_below(board, ambient_c, sensor, heated=start == "heated through")


@given(boards, st.floats(20, 45), sensors, st.floats(0.5, 4.0), st.integers(60, 1800))
@settings(max_examples=6)
def test_work_of_others_slows_it_down_only_while_it_lasts(
    board: Thermal, ambient_c: float, sensor: tuple[float, float, int], other_w: float, for_s: int
) -> None:
    full_c, limit_c = board.settled_c(ambient_c, 1.0), board.throttle_c - MARGIN_C
    assume(full_c <= limit_c - 8)
    assume(board.settled_c(ambient_c, SHARES[SLOWEST], other_w) <= limit_c - 2)
    place = site(board, ambient_c, sensor).passes(HOUR_S)
    assert place.run.changes == [], "there was no reason"
    place.other_w = other_w
    place.passes(for_s)
    place.other_w = 0.0
    place.passes(4 * HOUR_S)
    assert place.run.level == 0
    assert place.run.hottest_c < board.throttle_c


@given(boards, sensors)
@settings(max_examples=2)
def test_a_day_that_grows_hot_and_cool_again(board: Thermal, sensor: tuple[float, float, int]) -> None:
    """From 20 to 45 degrees and back within twelve hours; a change for each level there is, and tries between."""
    assume(can_be_kept(board, 45))
    place = site(board, 20, sensor)
    for hour in range(12):
        place.ambient_c = 20 + 25 * (1 - abs(hour - 6) / 6)
        place.passes(HOUR_S / 2).passes(HOUR_S / 2)
    assert place.run.hottest_c < board.throttle_c
    assert len(place.run.changes) <= 12 * 4
    place.ambient_c = 20
    place.passes(4 * HOUR_S)
    assert place.run.level == (0 if board.settled_c(20, 1.0) <= board.throttle_c - MARGIN_C - 4 else place.run.level)


def test_a_board_that_stays_cool_is_never_slowed() -> None:
    assert Site(NANO.fan(), 35, noise_c=1.0, step_c=1.0).passes(3 * HOUR_S).run.changes == []


def test_where_it_is_too_hot_for_any_level_it_goes_to_the_slowest_and_stays() -> None:
    run = Site(PI_4, 48).passes(2 * HOUR_S).run
    assert [held.level for _, held in run.changes] == [1, 2, 3, 4, 5]
    assert {held.cause for _, held in run.changes} == {"temperature"}
    assert re.fullmatch(r"cpu-thermal at 75\.\d °C, limit 75 °C", run.changes[0][1].reason)


def test_a_limit_of_ones_own_goes_before_the_boards() -> None:
    settled = Site(NANO, 30, settings=GovernorSettings(max_temperature_c=60)).passes(2 * HOUR_S)
    assert settled.chip_c < 61
    assert settled.run.level > 0


@pytest.mark.parametrize("sample_s", [1.0, 2.0, 10.0])
def test_how_often_sensors_are_read_changes_little(sample_s: float) -> None:
    run = Site(PI_4, 40, sample_s=sample_s, noise_c=0.5).passes(2 * HOUR_S).run
    assert run.hottest_c < PI_4.throttle_c
    assert len(run.changes) <= MOST_CHANGES


def test_levels_get_slower_one_by_one() -> None:
    rates = [level.max_fps or 1000 for level in LEVELS]
    assert rates == sorted(rates, reverse=True)
    assert LEVELS[0] == (None, 1)
    assert all(level.look_every_ms <= 1000 for level in LEVELS if level.look_every_ms)

"""The governor's decisions one by one: watts, throttling, sensors that go missing."""

from __future__ import annotations

from itertools import pairwise

import pytest
from board_heat import BOARDS, SHARES, Site
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_fer.governor.core import Governor
from edge_fer.governor.findings import MARGIN_C, S, assumed_throttle_c
from edge_fer.governor.levels import SLOWEST, THROTTLED_SLOWEST
from edge_fer.governor.settings import GovernorSettings
from edge_fer.sensors.board import Board
from edge_fer.sensors.readings import PowerReading, Reading, Temperature, ThrottleFlag, Throttling

HOUR_S = 3600.0
NANO = BOARDS[2]
COOL = NANO.fan()
"""2.5 W, and 5 W more at full rate: 7.5, 5.5, 4.5, 3.7, 3.3, 3.05 W at levels 0 to 5."""

NO_WATTS = PowerReading("unavailable", reason="no sensor")


def reading(second: float, celsius: float | None = 50.0, *flags: ThrottleFlag, watts: float | None = None) -> Reading:
    zones = () if celsius is None else (Temperature("cpu-thermal", celsius),)
    power = NO_WATTS if watts is None else PowerReading("measured", watts)
    return Reading(round(second * S), power, zones, Throttling(now=flags))


class Told:
    """A governor that is told a reading every 2 s."""

    def __init__(self, table: GovernorSettings | None = None) -> None:
        self.governor, self.second = Governor(table or GovernorSettings(), 80.0), 0.0

    def hears(
        self, seconds: float, celsius: float | None = 50.0, *flags: ThrottleFlag, watts: float | None = None
    ) -> int:
        until_s = self.second + seconds
        while self.second < until_s:
            self.second += 2
            self.governor.take(reading(self.second, celsius, *flags, watts=watts), round(self.second * S))
        return self.governor.held.level

    def hears_nothing(self, seconds: float) -> int:
        """The thread of the sensors hangs: the newest reading stays the same."""
        newest, until_s = reading(self.second), self.second + seconds
        while self.second < until_s:
            self.second += 1
            self.governor.take(newest, round(self.second * S))
        return self.governor.held.level


@given(st.floats(3.3, 9.0), st.floats(0, 0.1), st.integers(0, 1000))
@settings(max_examples=8)
def test_a_budget_of_watts_is_kept_with_a_noisy_meter_and_without_oscillation(
    limit_w: float, noise_share: float, seed: int
) -> None:
    table = GovernorSettings(max_power_w=limit_w)
    site = Site(COOL, 25, settings=table, noise_share_w=noise_share, seed=seed).passes(3 * HOUR_S)
    run = site.run
    last_hour_w = run.watts[-len(run.watts) // 3 :]
    assert sum(last_hour_w) / len(last_hour_w) <= limit_w * 1.02
    assert len(run.changes) <= 25
    assert run.changes_after(2 * HOUR_S) <= 4
    assert {held.cause for _, held in run.changes} <= {"power", "none"}
    # No slower than needed: the level above would be within a tenth of the limit, or above it.
    above_w = COOL.idle_w + SHARES[max(0, run.level - 1)] * COOL.work_w
    assert run.level == 0 or above_w > 0.85 * limit_w


def test_a_budget_of_watts_needs_a_meter() -> None:
    site = Site(COOL, 25, settings=GovernorSettings(max_power_w=3.0)).passes(HOUR_S)
    assert site.run.changes == []


def test_watts_are_told_with_their_limit() -> None:
    told = Told(GovernorSettings(max_power_w=5.0))
    assert told.hears(14, watts=7.5) == 1
    assert told.governor.held == (1, "power", "7.5 W, limit 5 W")


def test_without_a_limit_no_watts_slow_it_down() -> None:
    assert Told().hears(600, watts=1900) == 0


def test_the_boards_own_throttling_slows_it_down_although_it_is_cool() -> None:
    told = Told()
    assert told.hears(2, 50, "under-voltage") == 1
    assert told.governor.held == (1, "throttled", "throttled by the board: under-voltage")
    assert told.hears(600, 50, "under-voltage") == THROTTLED_SLOWEST, "no slower: it may be the supply"
    assert told.hears(30) == THROTTLED_SLOWEST
    assert told.hears(600) == 0


def test_flags_of_earlier_do_not_count() -> None:
    governor = Governor(GovernorSettings(), 80.0)
    assert governor.take(Reading(S, NO_WATTS, (), Throttling(since_boot=("throttled",))), S).level == 0


def test_a_flag_that_flickers_for_ever_finds_its_level() -> None:
    told = Told()
    levels = []
    for _ in range(4 * 60):
        told.hears(2, 50, "frequency-capped")
        levels.append(told.hears(58))
    assert sum(after != before for before, after in pairwise(levels[120:])) <= 6


def test_heat_near_the_throttle_point_is_answered_within_seconds() -> None:
    told = Told()
    assert told.hears(24, 79.0) == SLOWEST


def test_a_short_peak_is_no_heat() -> None:
    told = Told()
    told.hears(60, 70.0)
    told.hears(2, 79.0)
    assert told.hears(10, 70.0) == 0


def test_unknown_heat_keeps_the_level_and_says_so_until_it_is_known() -> None:
    told = Told()
    assert told.hears(10, 76.0) == 1
    assert told.hears(20, None) == 1
    assert "unknown" not in told.governor.held.reason, "a reading or two may fail"
    assert told.hears(6 * HOUR_S, None) == 1
    assert told.governor.blind
    assert told.governor.held.reason == (
        "cpu-thermal at 76.0 °C, limit 75 °C; temperature unknown (was 76.0 °C): the level stays until it is known"
    )
    assert told.hears(40, 60.0) == 1
    assert told.governor.held.reason == "cpu-thermal at 76.0 °C, limit 75 °C"
    assert told.hears(60, 60.0) == 0
    assert told.governor.held.reason == "within all limits: cpu-thermal at 60.0 °C, limit 75 °C"


def test_a_sensor_thread_that_hangs_is_unknown_heat() -> None:
    told = Told()
    level = told.hears(10, 76.0)
    assert told.hears_nothing(HOUR_S) == level == 1
    assert told.governor.blind


def test_a_temperature_that_was_lost_while_hot_slows_nothing_down_further() -> None:
    told = Told()
    told.hears(6, 79.0)
    level = told.governor.held.level
    assert told.hears(HOUR_S, None) == level


def test_throttling_still_slows_down_when_the_heat_is_unknown() -> None:
    told = Told()
    told.hears(10, 50.0)
    told.hears(60, None)
    assert told.hears(2, None, "throttled") == 1


def test_watts_that_are_not_measured_any_more_limit_nothing_after_ten_minutes() -> None:
    told = Told(GovernorSettings(max_power_w=5.0))
    level = told.hears(60, watts=7.5)
    assert level > 0
    assert told.hears(590) == level
    assert told.hears(600) == 0


def test_a_board_that_tells_nothing_is_never_slowed() -> None:
    assert Told(GovernorSettings(max_power_w=5.0, max_temperature_c=40)).hears(HOUR_S, None) == 0
    assert Governor(GovernorSettings()).take(None, 0) == (0, "none", "within all limits")


@pytest.mark.parametrize(("throttle_c", "limit_c"), [(97.0, 97.0 - MARGIN_C), (None, 90.0)])
def test_the_limit_is_a_little_below_where_the_kernel_throttles(throttle_c: float | None, limit_c: float) -> None:
    assert Governor(GovernorSettings(), throttle_c).limit_c == limit_c


def stuck(second: float, others_c: float, stuck_c: float = 120.0) -> Reading:
    zones = (Temperature("broken", stuck_c), Temperature("cpu-thermal", others_c))
    return Reading(round(second * S), NO_WATTS, zones)


def test_a_sensor_that_is_stuck_hot_slows_it_down_for_minutes_not_for_ever() -> None:
    governor = Governor(GovernorSettings(), 80.0)
    levels = [
        governor.take(stuck(second, 50.0 + second // 2 % 2), second * S).level for second in range(0, 3 * 3600, 2)
    ]
    assert max(levels) == SLOWEST, "it might be true"
    assert levels[-1] == 0
    assert sum(level == SLOWEST for level in levels) * 2 <= 15 * 60
    assert sum(after != before for before, after in pairwise([0, *levels])) == 2 * SLOWEST, "once down, once up"
    assert governor.stuck == "broken at 120.0 °C"


def test_the_other_zones_still_count_when_one_is_stuck_and_it_counts_again_when_it_moves() -> None:
    governor = Governor(GovernorSettings(), 80.0)
    second = 0
    while governor.stuck == "" or governor.held.level:
        governor.take(stuck(second, 50.0 + second // 2 % 2), second * S)
        second += 2
    for later in range(second, second + 60, 2):
        governor.take(stuck(later, 79.0), later * S)
    assert governor.held.level > 0
    assert governor.held.reason.startswith("cpu-thermal at 7")
    for later in range(second + 60, second + 120, 2):
        governor.take(stuck(later, 50.0, 119.0), later * S)
    assert governor.stuck == ""
    assert governor.held.level == SLOWEST


def test_a_board_that_is_too_hot_whatever_is_done_is_believed() -> None:
    """In steps of a whole degree, without noise: its temperature stands still for hours at the slowest level."""
    site = Site(BOARDS[0], 52.0, step_c=1.0).passes(6 * HOUR_S)
    assert site.governor.held.level == SLOWEST
    assert site.governor.stuck == ""


@pytest.mark.parametrize(("key", "celsius"), [("generic-arm64", 85.0), ("generic-amd64", 95.0), ("unknown", 95.0)])
def test_a_board_that_does_not_tell_where_it_throttles_is_taken_for_one_of_its_kind(key: str, celsius: float) -> None:
    assert assumed_throttle_c(Board(key, key)) == celsius


def test_switched_off_while_it_runs_it_is_at_full_rate_at_once() -> None:
    told = Told()
    assert told.hears(60, 79.0) == SLOWEST
    told.governor.use(GovernorSettings(enabled=False))
    assert told.hears(2, 79.0) == 0
    assert told.hears(HOUR_S, 79.0) == 0


def test_another_limit_counts_at_once_and_forgives_what_failed_before() -> None:
    told = Told()
    told.hears(40, 76.0)
    level = told.governor.held.level
    told.governor.use(GovernorSettings(max_temperature_c=90))
    assert told.hears(70, 76.0) == level - 1

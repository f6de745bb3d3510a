"""Energy out of watts and timestamps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_fer.sensors.energy import EnergyMeter, usage
from edge_fer.sensors.readings import PowerReading, Reading

S = 1_000_000_000


def watts(time_s: float, power_w: float | None) -> Reading:
    source = "unavailable" if power_w is None else "measured"
    return Reading(round(time_s * S), PowerReading(source, power_w))  # type: ignore[arg-type]


def counter(time_s: float, energy_j: float, power_w: float | None) -> Reading:
    return Reading(round(time_s * S), PowerReading("measured", power_w, energy_j=energy_j))


def integrated(*readings: Reading) -> EnergyMeter:
    meter = EnergyMeter()
    for reading in readings:
        meter.add(reading)
    return meter


def test_a_trapezoid_by_hand() -> None:
    # 0 to 1 s: (4 + 6) / 2 * 1 = 5 J; 1 to 4 s: (6 + 10) / 2 * 3 = 24 J. Mean of samples times 4 s: 26.7 J, wrong.
    meter = integrated(watts(0, 4), watts(1, 6), watts(4, 10))
    assert (meter.energy_j, meter.seconds, meter.gap_s) == (pytest.approx(29.0), 4.0, 0.0)


def test_no_watts_no_energy() -> None:
    assert integrated(watts(0, None), watts(1, None)).energy_j is None
    assert integrated(watts(0, None), watts(1, 5)).energy_j == 0.0


def test_a_gap_is_told_and_not_guessed() -> None:
    meter = integrated(watts(0, 5), watts(2, 5), watts(60, 5), watts(62, 5))
    assert (meter.energy_j, meter.seconds, meter.gap_s) == (pytest.approx(20.0), 4.0, 58.0)


def test_one_reading_that_failed_is_bridged() -> None:
    meter = integrated(watts(0, 5), watts(2, None), watts(4, 7))
    assert (meter.energy_j, meter.gap_s) == (pytest.approx(24.0), 0.0)


def test_a_clock_that_goes_back_takes_no_energy_away() -> None:
    meter = integrated(watts(10, 5), watts(8, 5), watts(10, 5), watts(12, 5))
    assert (meter.energy_j, meter.seconds) == (pytest.approx(10.0), 2.0)


def test_a_counter_is_believed_over_its_watts_and_over_gaps() -> None:
    meter = integrated(counter(0, 0.0, None), counter(2, 9.0, 4.5), counter(100, 500.0, 5.01))
    assert (meter.energy_j, meter.seconds, meter.gap_s) == (pytest.approx(500.0), 100.0, 0.0)


def test_the_energy_of_a_window() -> None:
    readings = [watts(0, 4), watts(2, 8), watts(4, 8)]
    # 1 to 3 s: 6 W at 1 s, 8 W at 2 s: 7 J; then 8 W for 1 s: 8 J
    used = usage(readings, 1 * S, 3 * S)
    assert (used.energy_j, used.seconds, used.missing_s) == (pytest.approx(15.0), 2.0, 0.0)
    assert used.mean_w == pytest.approx(7.5)


def test_a_window_that_the_readings_do_not_cover_says_so() -> None:
    used = usage([watts(0, 5), watts(1, 5)], -1 * S, 4 * S)
    assert (used.energy_j, used.seconds, used.missing_s) == (pytest.approx(5.0), 1.0, 4.0)
    empty = usage([watts(0, 5)], 0, S)
    assert (empty.energy_j, empty.mean_w, empty.missing_s) == (0.0, None, 1.0)


def test_the_window_of_a_counter_is_shared_out_evenly() -> None:
    used = usage([counter(0, 0, None), counter(4, 20, 5.0)], 1 * S, 2 * S)
    assert (used.energy_j, used.mean_w) == (pytest.approx(5.0), pytest.approx(5.0))


samples = st.lists(st.tuples(st.integers(1, 5 * S), st.floats(0.0, 100.0)), min_size=2, max_size=30)


def _in_order(steps: list[tuple[int, float]]) -> list[Reading]:
    now_ns, readings = 0, []
    for step_ns, power_w in steps:
        now_ns += step_ns
        readings.append(watts(now_ns / S, power_w))
    return readings


@given(samples, st.floats(0.0, 1.0))
def test_two_halves_make_the_whole(steps: list[tuple[int, float]], share: float) -> None:
    readings = _in_order(steps)
    start, end = readings[0].time_ns, readings[-1].time_ns
    cut = start + round(share * (end - start))
    halves = usage(readings, start, cut).energy_j + usage(readings, cut, end).energy_j
    assert halves == pytest.approx(usage(readings, start, end).energy_j, abs=1e-6)


@given(samples)
def test_the_meter_and_the_window_agree(steps: list[tuple[int, float]]) -> None:
    readings = _in_order(steps)
    meter = integrated(*readings)
    whole = usage(readings, readings[0].time_ns, readings[-1].time_ns)
    assert whole.energy_j == pytest.approx(meter.energy_j, abs=1e-6)
    lowest, highest = (pick(reading.power.total_w for reading in readings) for pick in (min, max))
    assert lowest * whole.seconds - 1e-6 <= whole.energy_j <= highest * whole.seconds + 1e-6

"""The thread that reads sensors, with those of a board and with made-up ones."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fixture import TOTAL_W, board_tree

from edge_fer.sensors.energy import usage
from edge_fer.sensors.readings import PowerReading, Reading
from edge_fer.sensors.sensors import Sensors
from edge_fer.sensors.thread import PROBLEMS_TOLD, SensorThread

S = 1_000_000_000
PATIENCE_S = 60.0


class Counting:
    """A second passes with each reading."""

    def __init__(self, power_w: float | None = 5.0, problems: Callable[[int], tuple[str, ...]] = lambda _: ()) -> None:
        self.times = 0
        self._power_w, self._problems = power_w, problems

    def clock_ns(self) -> int:
        return self.times * S

    def read(self) -> Reading:
        self.times += 1
        source = "unavailable" if self._power_w is None else "measured"
        return Reading(
            self.times * S,
            PowerReading(source, self._power_w),  # type: ignore[arg-type]
            problems=self._problems(self.times),
        )


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, "did not happen"
        time.sleep(0.005)


def test_it_reads_at_once_and_again(tmp_path: Path) -> None:
    with SensorThread(Sensors(board_tree("jetson-orin-nano", tmp_path)), sample_s=0.01) as thread:
        until(lambda: (thread.energy_j or 0.0) > 0.0)
        assert thread.alive
        assert thread.newest is not None
        assert thread.newest.power.total_w == pytest.approx(TOTAL_W["jetson-orin-nano"])
    assert not thread.alive


def test_one_that_hung_when_it_was_stopped_goes_on_when_it_is_started_again() -> None:
    free = threading.Event()

    class Hanging(Counting):
        def read(self) -> Reading:
            free.wait(PATIENCE_S)
            return super().read()

    sensors = Hanging()
    thread = SensorThread(sensors, sample_s=0.01, clock_ns=sensors.clock_ns)
    thread.start()
    thread.stop(timeout_s=0.05)
    assert thread.alive
    thread.start()
    free.set()
    until(lambda: sensors.times > 2)
    thread.stop()


def test_energy_is_watts_over_the_time_of_the_readings() -> None:
    sensors = Counting(power_w=5.0)
    thread = SensorThread(sensors, 0.001, sensors.clock_ns)
    with thread:
        until(lambda: sensors.times >= 10)
    assert thread.energy_j == pytest.approx(5.0 * (sensors.times - 1))
    assert thread.gap_s == 0.0


def test_a_sensor_that_disappears_midway_keeps_what_was_measured(tmp_path: Path) -> None:
    machine = board_tree("jetson-xavier-nx", tmp_path)
    with SensorThread(Sensors(machine), sample_s=0.01) as thread:
        until(lambda: (thread.energy_j or 0.0) > 0.0)
        (machine.sys / "bus" / "i2c" / "devices" / "7-0040").unlink()
        (machine.sys / "class" / "hwmon" / "hwmon4").resolve().rename(tmp_path / "away")
        until(lambda: thread.newest is not None and thread.newest.power.source == "unavailable")
        assert thread.newest is not None
        assert thread.newest.problems != ()
        assert thread.newest.hottest is not None  # the others are still read
        assert thread.alive
    assert thread.energy_j is not None
    assert thread.energy_j > 0.0


def test_no_watts_no_energy() -> None:
    sensors = Counting(power_w=None)
    with SensorThread(sensors, 0.001, sensors.clock_ns) as thread:
        until(lambda: sensors.times >= 3)
        assert thread.energy_j is None


def test_readings_are_handed_out_once() -> None:
    sensors = Counting()
    with SensorThread(sensors, 0.001, sensors.clock_ns) as thread:
        until(lambda: sensors.times >= 3)
        first = thread.readings()
        until(lambda: sensors.times >= len(first) + 3)
    rest = thread.readings()
    assert [reading.time_ns // S for reading in first + rest] == list(range(1, sensors.times + 1))
    assert thread.readings() == []


def test_a_reading_out_of_turn_begins_after_it_was_asked_for() -> None:
    """With a period of a minute: only a wake-up can give it."""
    with SensorThread(clocked := Clocked(), 60.0, clocked.clock_ns) as thread:
        until(lambda: thread.newest is not None)
        for _ in range(5):
            asked_ns = clocked.clock_ns()
            reading = thread.read_now(PATIENCE_S)
            assert reading is not None
            assert reading.time_ns >= asked_ns


def test_the_ends_of_a_measurement() -> None:
    with SensorThread(clocked := Clocked(), 60.0, clocked.clock_ns) as thread:
        start, end = thread.read_now(PATIENCE_S), thread.read_now(PATIENCE_S)
        assert start is not None
        assert end is not None
        used = usage(thread.readings(), start.time_ns, end.time_ns)
        assert (used.mean_w, used.missing_s) == (pytest.approx(3.0), 0.0)


def test_a_thread_that_does_not_run_gives_no_reading() -> None:
    thread = SensorThread(Counting(), 1.0)
    assert thread.read_now(PATIENCE_S) is None
    thread.stop()
    assert not thread.alive


def test_stopping_does_not_wait_for_the_period() -> None:
    thread = SensorThread(Counting(), 3600.0)
    thread.start()
    until(lambda: thread.newest is not None)
    thread.stop()
    assert not thread.alive


def test_a_problem_is_logged_once_and_many_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    sensors = Counting(problems=lambda times: ("temp: is empty", f"reading {times}"))
    with caplog.at_level(logging.WARNING), SensorThread(sensors, 0.001, sensors.clock_ns):
        until(lambda: sensors.times >= PROBLEMS_TOLD * 2)
    assert len(caplog.records) == PROBLEMS_TOLD
    assert sum("temp: is empty" in record.getMessage() for record in caplog.records) == 1


class Clocked:
    """3 W, by a clock that moves on whenever it is looked at."""

    def __init__(self) -> None:
        self._now_ns = 0
        self._lock = threading.Lock()

    def clock_ns(self) -> int:
        with self._lock:
            self._now_ns += 1000
            return self._now_ns

    def read(self) -> Reading:
        return Reading(self.clock_ns(), PowerReading("measured", 3.0))

"""How fast something is, and the window that it runs in, on a clock that only work moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from edge_fer.bench.speed import measure_idle, measure_speed, percentile
from edge_fer.bench.window import Busy, Clocks
from edge_fer.sensors.readings import PowerReading, Reading, Temperature, ThrottleFlag, Throttling

STEP_NS = 500_000_000


def no_news(_time_ns: int) -> tuple[ThrottleFlag, ...]:
    return ()


@dataclass
class Bench:
    """Clock, sensor and kernel in one."""

    watts: Callable[[int], float | None] = lambda _time_ns: 10.0
    celsius: Callable[[int], float] = lambda _time_ns: 50.0
    now: Callable[[int], tuple[ThrottleFlag, ...]] = no_news
    since_boot: Callable[[int], tuple[ThrottleFlag, ...]] = no_news
    others_cores: float = 0.0
    stolen_cores: float = 0.0
    time_ns: int = 0
    taken: list[Reading] = field(default_factory=list)

    def advance(self, milliseconds: float) -> None:
        until_ns = self.time_ns + int(milliseconds * 1e6)
        while (next_ns := self.time_ns - self.time_ns % STEP_NS + STEP_NS) <= until_ns:
            self.time_ns = next_ns
            self.read_now()
        self.time_ns = until_ns

    def read_now(self) -> Reading:
        watts = self.watts(self.time_ns)
        power = PowerReading("unavailable", reason="it fell off") if watts is None else PowerReading("measured", watts)
        throttling = Throttling(self.now(self.time_ns), self.since_boot(self.time_ns))
        reading = Reading(self.time_ns, power, (Temperature("CPU", self.celsius(self.time_ns)),), throttling)
        self.taken.append(reading)
        return reading

    def readings(self) -> Sequence[Reading]:
        taken, self.taken = self.taken, []
        return taken

    @property
    def clocks(self) -> Clocks:
        return Clocks(
            wall_ns=lambda: self.time_ns,
            cpu_ns=lambda: self.time_ns // 2,
            busy=lambda: Busy(
                self.time_ns / 1e9 * (0.5 + self.others_cores),
                self.time_ns / 1e9 * 0.5,
                self.time_ns / 1e9 * self.stolen_cores,
            ),
            sleep=lambda seconds: self.advance(seconds * 1000),
        )


def test_images_are_counted_and_timed() -> None:
    bench = Bench()
    speed = measure_speed(lambda: bench.advance(4), seconds=2, watch=bench, idle_w=6.0, clocks=bench.clocks)
    assert (speed.images, speed.seconds, speed.fps) == (500, 2.0, 250.0)
    assert (speed.p50_ms, speed.p99_ms, speed.cpu_ms) == (4.0, 4.0, 2.0)
    assert speed.disturbed == ""
    assert speed.temperature_c == 50


def test_energy_is_watts_over_images_and_the_margin_is_what_is_above_idle() -> None:
    """10 W for 2 s are 20 J; 500 images: 40 mJ each, 4 of 10 W of it above the floor of 6 W: 16 mJ."""
    bench = Bench()
    speed = measure_speed(lambda: bench.advance(4), seconds=2, watch=bench, idle_w=6.0, clocks=bench.clocks)
    assert speed.energy is not None
    assert speed.energy.total_w == pytest.approx(10)
    assert speed.energy.marginal_w == pytest.approx(4)
    assert speed.energy.joules_per_image == pytest.approx(0.04)
    assert speed.energy.marginal_joules_per_image == pytest.approx(0.016)


def test_watts_that_rise_are_integrated_as_trapezoids() -> None:
    """In a straight line from the start of the window (80 ms of warm-up): the mean is that of its ends."""
    bench = Bench(watts=lambda time_ns: 10 + time_ns / 1e9)
    speed = measure_speed(lambda: bench.advance(4), seconds=2, watch=bench, idle_w=6.0, clocks=bench.clocks)
    assert speed.energy is not None
    assert speed.energy.total_w == pytest.approx((10.08 + 12.08) / 2)


def test_the_idle_floor_is_what_is_drawn_while_nothing_runs() -> None:
    bench = Bench(watts=lambda _time_ns: 6.25)
    assert measure_idle(bench, 2, bench.clocks).watts.total_w == pytest.approx(6.25)


def test_a_run_shorter_than_two_samples_has_no_energy() -> None:
    bench = Bench()
    speed = measure_speed(lambda: bench.advance(4), seconds=0.1, watch=bench, idle_w=6.0, clocks=bench.clocks)
    assert speed.energy is None
    assert "--seconds 10" in speed.energy_missing


def test_a_sensor_that_is_lost_midway_is_named_and_the_speed_stays() -> None:
    bench = Bench(watts=lambda time_ns: None if time_ns > 1_200_000_000 else 10.0)
    speed = measure_speed(lambda: bench.advance(4), seconds=2, watch=bench, idle_w=6.0, clocks=bench.clocks)
    assert speed.energy is None
    assert speed.energy_missing == "the power sensor was lost while it ran: it fell off"
    assert speed.fps == 250


def test_without_a_sensor_the_reason_is_told() -> None:
    bench = Bench()
    assert measure_speed(lambda: bench.advance(4), seconds=1, clocks=bench.clocks).energy_missing
    told = measure_speed(lambda: bench.advance(4), seconds=1, watch=bench, no_energy="none here", clocks=bench.clocks)
    assert told.energy_missing == "none here"
    assert told.temperature_c == 50


def test_without_an_idle_floor_there_is_no_energy() -> None:
    bench = Bench()
    speed = measure_speed(lambda: bench.advance(4), seconds=2, watch=bench, clocks=bench.clocks)
    assert speed.energy_missing == "the idle floor was not measured"


def test_other_programs_and_the_host_are_told() -> None:
    bench = Bench(others_cores=0.75, stolen_cores=0.03)
    speed = measure_speed(lambda: bench.advance(4), seconds=2, watch=bench, clocks=bench.clocks)
    assert speed.disturbed == "other programs used 0.8 cores; the host took 3% of a core"


def test_the_time_that_asking_the_kernel_takes_is_not_booked_on_others() -> None:
    """One other core, and a kernel that takes half a second to tell: still one core, not one and a half."""
    bench = Bench(others_cores=1.0)

    def slow() -> Busy:
        bench.advance(500)
        return bench.clocks.busy()

    clocks = bench.clocks._replace(busy=slow)
    speed = measure_speed(lambda: bench.advance(4), seconds=1, watch=bench, clocks=clocks)
    assert speed.disturbed == "other programs used 1.0 cores"


def test_throttling_meanwhile_is_told_and_that_of_before_is_not() -> None:
    bench = Bench(since_boot=lambda time_ns: ("under-voltage", "throttled") if time_ns > 1e9 else ("under-voltage",))
    speed = measure_speed(lambda: bench.advance(4), seconds=2, watch=bench, clocks=bench.clocks)
    assert speed.throttled == ("throttled",)
    assert speed.disturbed == "the board was held back: throttled"


def test_the_first_throttling_since_the_boot_is_told_too() -> None:
    bench = Bench(since_boot=lambda time_ns: ("throttled",) if time_ns > 1e9 else ())
    speed = measure_speed(lambda: bench.advance(4), seconds=2, watch=bench, clocks=bench.clocks)
    assert speed.throttled == ("throttled",)


def test_throttling_now_is_told_although_it_began_before() -> None:
    bench = Bench(now=lambda _time_ns: ("throttled",), since_boot=lambda _time_ns: ("throttled",))
    speed = measure_speed(lambda: bench.advance(4), seconds=2, watch=bench, clocks=bench.clocks)
    assert speed.throttled == ("throttled",)


def test_the_highest_temperature_counts() -> None:
    bench = Bench(celsius=lambda time_ns: 50 + 10 * (time_ns == 1_000_000_000))
    speed = measure_speed(lambda: bench.advance(4), seconds=2, watch=bench, clocks=bench.clocks)
    assert speed.temperature_c == 60


def test_few_images_are_told_and_one_is_always_done() -> None:
    bench = Bench()
    speed = measure_speed(lambda: bench.advance(3000), seconds=1, clocks=bench.clocks)
    assert speed.images == 1
    assert speed.disturbed.startswith("only 1 images")


@pytest.mark.parametrize(("share", "rank"), [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100)])
def test_percentiles_are_nearest_ranks(share: float, rank: int) -> None:
    assert percentile(range(1, 101), share) == rank
    assert percentile([7], share) == 7

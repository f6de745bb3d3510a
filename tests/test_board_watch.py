"""What the node tells of its board, from scripted readings: no sensor, no sleep."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from edge_fer.board_watch import HOLD_NS, MODE_PERIOD_NS, SILENT_S, BoardWatch, Senses
from edge_fer.errors import SensorError
from edge_fer.events import Power
from edge_fer.power_modes.mode import PowerMode
from edge_fer.sensors.readings import Core, PowerReading, Rail, Reading, Temperature, ThrottleFlag, Throttling

S = 1_000_000_000
START_NS = 1000 * S
CALM = Throttling()
JETSON = Reading(
    0,
    PowerReading("measured", 5.0, (Rail("VDD_IN", 5.0, in_total=True), Rail("VDD_SOC", 1.2, in_total=False))),
    (Temperature("cpu-thermal", 50.94), Temperature("tj-thermal", 51.31)),
    CALM,
    (Core(0, online=True, mhz=1000.0), Core(1, online=True, mhz=1500.0), Core(2, online=False)),
)
BARE = Reading(0, PowerReading("unavailable", reason="no sensor"), cores=(Core(0, online=True),))
MODE = PowerMode("nvpmodel", 0, "15W", 15.0)


@dataclass
class Board:
    """A board whose sensors say what they are told to, and its time."""

    ask_mode: Callable[[], PowerMode | None] | None = None
    now_ns: int = START_NS
    alive: bool = True
    waiting: list[Reading] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watch = BoardWatch(
            self, boot_id="b", sample_s=2, ask_mode=self.ask_mode, clock_ns=lambda: self.now_ns, unix_ns=lambda: 0
        )

    def readings(self) -> list[Reading]:
        taken, self.waiting = self.waiting, []
        return taken

    def pass_s(self, seconds: float) -> None:
        self.now_ns += round(seconds * S)
        self.watch.turn()

    def reads(self, reading: Reading, after_s: float = 0.0, **power: Any) -> None:
        """The sensors are read after some time, and the main loop turns."""
        self.now_ns += round(after_s * S)
        changed = replace(reading, time_ns=self.now_ns, power=replace(reading.power, **power))
        self.waiting.append(changed)
        self.watch.turn()

    def throttled_by(self, *flags: ThrottleFlag, after_s: float = 2.0) -> None:
        self.reads(replace(JETSON, throttling=Throttling(flags, flags)), after_s)


def test_watts_are_energy_over_time_and_not_the_mean_of_the_samples() -> None:
    board = Board()
    # Trapezoids: (4 + 8) / 2 * 2 s = 12 J, (8 + 6) / 2 * 8 s = 56 J; 68 J in 10 s are 6.8 W. The samples' mean is 6.
    for watts, after_s in ((4.0, 0), (8.0, 2), (6.0, 8)):
        board.reads(JETSON, after_s, total_w=watts)
    told = board.watch.sample()
    assert (told.total_w, told.energy_j, told.period_s) == (6.8, 68.0, 10.0)
    # The next period begins where this one has ended: (6 + 10) / 2 * 2 s = 16 J, 8 W.
    board.reads(JETSON, 2, total_w=10.0)
    told = board.watch.sample()
    assert (told.total_w, told.energy_j, told.period_s) == (8.0, 84.0, 2.0)


def test_a_period_shorter_than_a_sample_tells_the_newest_watts() -> None:
    board = Board()
    board.reads(JETSON, total_w=4.5)
    assert board.watch.sample().total_w == 4.5
    board.pass_s(0.5)
    assert board.watch.sample().total_w == 4.5


def test_all_that_a_jetson_tells_is_in_the_message() -> None:
    board = Board(ask_mode=lambda: MODE)
    board.reads(JETSON, 1)
    settled(board, lambda: board.watch.mode == MODE)
    assert board.watch.sample() == Power(
        source="measured",
        reason="",
        total_w=5.0,
        rails_w={"VDD_IN": 5.0, "VDD_SOC": 1.2},
        energy_j=0.0,
        mode="15W",
        mode_id=0,
        temperature_c=51.3,
        temperatures_c={"cpu-thermal": 50.9, "tj-thermal": 51.3},
        throttled=[],
        throttled_since_boot=[],
        throttling_known=True,
        cpu_mhz=1250.0,
        cores_online=2,
        period_s=1.0,
        occurred_at="1970-01-01T00:00:00.000Z",
        boot_id="b",
    )


def test_what_a_board_does_not_tell_is_null_and_never_0() -> None:
    board = Board()
    board.reads(BARE, 2)
    told = board.watch.sample()
    assert (told.source, told.reason) == ("unavailable", "no sensor")
    assert (told.total_w, told.energy_j, told.temperature_c, told.cpu_mhz, told.mode) == (None,) * 5
    assert (told.rails_w, told.temperatures_c, told.throttling_known) == ({}, {}, False)
    assert board.watch.problems == board.watch.problems.__class__()


def test_before_the_first_reading_nothing_is_known() -> None:
    board = Board()
    board.pass_s(1)
    told = board.watch.sample()
    assert (told.source, told.reason, told.total_w, told.cores_online) == ("unavailable", "not read yet", None, None)
    assert board.watch.problems.sensor == ""


def test_a_sensor_that_breaks_is_a_problem_and_its_energy_is_kept() -> None:
    board = Board()
    board.reads(JETSON)
    board.reads(JETSON, 2)
    broken = PowerReading("unavailable", reason="hwmon3/in1_input: Resource temporarily unavailable")
    board.reads(replace(JETSON, power=broken, problems=("hwmon3/in1_input: EAGAIN", "zone 4: EINVAL")), 2)
    told = board.watch.sample()
    assert (told.source, told.total_w, told.energy_j, told.temperature_c) == ("unavailable", None, 10.0, 51.3)
    assert board.watch.problems.sensor == "hwmon3/in1_input: EAGAIN (and 1 more)"
    board.reads(JETSON, 2)
    assert board.watch.sample().total_w == 5.0
    board.reads(JETSON, HOLD_NS / S)
    assert board.watch.problems.sensor == ""


def test_a_sensor_that_fails_now_and_then_is_one_problem_and_does_not_flutter() -> None:
    board, told = Board(), set()
    for _ in range(100):
        board.reads(replace(JETSON, problems=("zone 4: EAGAIN",)), 2)
        told.add(board.watch.problems.sensor)
        board.reads(JETSON, 2)
        told.add(board.watch.problems.sensor)
    assert told == {"zone 4: EAGAIN"}


def test_sensors_that_hang_are_told_and_nothing_old_is_believed() -> None:
    board = Board()
    board.reads(JETSON)
    board.pass_s(SILENT_S - 1)
    assert board.watch.reading is not None
    board.pass_s(2)
    assert board.watch.reading is None
    assert board.watch.problems.sensor == "the sensors have not answered for some seconds"
    told = board.watch.sample()
    assert (told.source, told.total_w, told.temperature_c) == ("unavailable", None, None)
    assert told.reason == board.watch.problems.sensor
    board.pass_s(120)
    assert board.watch.problems.sensor == "the sensors have not answered for 2 min"
    board.reads(JETSON, 1)
    assert (board.watch.problems.sensor, board.watch.sample().source) == ("", "measured")


def test_a_board_that_is_held_back_now_and_then_is_one_lasting_problem() -> None:
    board = Board()
    for flags in (("throttled",), (), ("throttled", "over-current"), ()):
        board.throttled_by(*flags)  # type: ignore[arg-type]
        assert board.watch.problems.throttled.startswith("the board was held back within the last minute: ")
    assert board.watch.problems.throttled.endswith("over-current, throttled")
    assert board.watch.problems.under_voltage == ""
    assert board.watch.sample().throttled == []  # of this moment
    board.throttled_by(after_s=HOLD_NS / S)
    assert board.watch.problems.throttled == ""


def test_under_voltage_is_a_problem_of_its_own() -> None:
    board = Board()
    board.throttled_by("under-voltage")
    assert board.watch.problems.throttled == ""
    assert "take a stronger one" in board.watch.problems.under_voltage
    assert board.watch.sample().throttled == ["under-voltage"]


def test_what_held_it_back_before_the_daemon_came_is_no_problem_of_now() -> None:
    board = Board()
    board.reads(replace(JETSON, throttling=Throttling((), ("under-voltage",))))
    assert (board.watch.problems.throttled, board.watch.problems.under_voltage) == ("", "")
    assert board.watch.sample().throttled_since_boot == ["under-voltage"]


def test_what_the_board_has_told_once_is_known_for_ever() -> None:
    board = Board()
    assert board.watch.senses == Senses()
    board.reads(BARE)
    assert board.watch.senses == Senses()
    board.reads(JETSON, 2)
    board.reads(BARE, 2)
    assert board.watch.senses == Senses(power=True, temperature=True, throttling=True, clock=True)


def test_the_power_mode_is_asked_once_a_minute_beside_the_main_thread_and_after_it_was_set() -> None:
    asked: list[str] = []

    def ask() -> PowerMode:
        asked.append(threading.current_thread().name)
        return replace(MODE, id=len(asked))

    board = Board(ask_mode=ask)
    assert board.watch.senses.mode
    settled(board, lambda: board.watch.mode is not None)
    for _ in range(5):
        board.pass_s(MODE_PERIOD_NS / S / 10)
    assert asked == ["power mode"]
    board.watch.ask_mode_again()
    settled(board, lambda: board.watch.mode == replace(MODE, id=2))
    board.pass_s(MODE_PERIOD_NS / S)
    settled(board, lambda: board.watch.mode == replace(MODE, id=3))


def test_a_mode_that_cannot_be_asked_for_is_not_known() -> None:
    answers: list[PowerMode | Exception | None] = [MODE, SensorError("nvpmodel: it failed"), MODE, None]

    def ask() -> PowerMode | None:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    board = Board(ask_mode=ask)
    for expected in (MODE, None, MODE, None):
        board.watch.ask_mode_again()
        settled(board, lambda expected=expected: board.watch.mode == expected)
    assert answers == []


def test_a_program_that_hangs_holds_nothing_up() -> None:
    gate = threading.Event()

    def ask() -> PowerMode:
        gate.wait(60)
        return MODE

    board = Board(ask_mode=ask)
    for _ in range(3):
        board.reads(JETSON, MODE_PERIOD_NS / S)
    assert (board.watch.mode, board.watch.sample().mode) == (None, None)
    gate.set()
    settled(board, lambda: board.watch.mode == MODE)


def test_a_thread_that_has_crashed_is_a_problem_at_once() -> None:
    board = Board()
    board.reads(JETSON)
    assert board.watch.problems.sensor == ""
    board.alive = False
    assert board.watch.problems.sensor.startswith("the thread of the sensors has crashed")


def settled(board: Board, reached: Callable[[], bool]) -> None:
    """The thread that asks has ended, and its answer was taken."""
    waiting = threading.Event()
    for _ in range(6000):
        board.watch.turn()
        if reached():
            return
        waiting.wait(0.01)
    pytest.fail("waited in vain")

"""What the governor tells, and when."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np
import pytest

from edge_fer.events import GovernorState
from edge_fer.frame import Frame
from edge_fer.governor.levels import SLOWEST
from edge_fer.governor.pacing import Pacing
from edge_fer.governor.settings import GovernorSettings
from edge_fer.governor.turn import IDLE_TOLD_NS, GovernorTurn
from edge_fer.sensors.readings import PowerReading, Reading, Temperature

S = 1_000_000_000
PICTURE = np.zeros((48, 48, 3), np.uint8)


@dataclass
class Watch:
    """The thread of the sensors."""

    newest: Reading | None = None
    energy_j: float | None = None


@dataclass
class Node:
    """A governor in its daemon, turned ten times a second; sensors are read every 2 s."""

    table: GovernorSettings = field(default_factory=GovernorSettings)
    celsius: float | None = 50.0
    told: list[GovernorState] = field(default_factory=list)
    limits: dict[str, float | None] = field(default_factory=dict)
    now_ns: int = 100 * S

    def __post_init__(self) -> None:
        self.watch = Watch()
        self.pacing = Pacing(self.table, self.limits.__setitem__)
        self.turn = GovernorTurn(
            self.table,
            self.pacing,
            self.told.append,
            boot_id="boot",
            watch=self.watch,
            throttle_point_c=80.0,
            wall_ns=lambda: self.now_ns,
        )

    def passes(self, seconds: float) -> Node:
        for tenth in range(round(seconds * 10)):
            self.now_ns += S // 10
            if tenth % 20 == 0 and self.celsius is not None:
                zones = (Temperature("cpu-thermal", self.celsius),)
                self.watch.newest = Reading(self.now_ns, PowerReading("unavailable"), zones)
            self.turn.turn(self.now_ns)
        return self

    def looks(self, camera: str, seconds: int, *, followed: bool = False) -> None:
        """One frame a second."""
        for _ in range(seconds):
            frame = Frame(camera, 0, self.now_ns, 0, PICTURE)
            self.pacing.note(frame, followed=followed, glimpsed=followed)
            self.passes(1)


def test_the_state_is_told_at_the_start_and_then_only_when_it_changes() -> None:
    node = Node().passes(600)
    assert [(state.level, state.cause, state.max_fps, state.idle_cameras) for state in node.told] == [
        (0, "none", None, [])
    ]
    assert node.told[0].levels == SLOWEST
    assert node.told[0].boot_id == "boot"


def test_each_level_is_told_with_its_cause_and_reaches_all_cameras() -> None:
    node = Node()
    node.looks("hall", 2)
    node.celsius = 76.0
    node.passes(40)
    assert [(state.level, state.cause) for state in node.told] == [(0, "none"), (1, "temperature"), (2, "temperature")]
    assert node.told[-1].reason == "cpu-thermal at 76.0 °C, limit 75 °C"
    assert (node.told[-1].max_fps, node.told[-1].detect_every_frames) == (10.0, 3)
    assert node.limits == {"hall": 10.0}
    node.looks("front", 1)
    assert node.limits["front"] == 10.0, "a camera that comes later too"


def test_a_level_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    node = Node(celsius=76.0).passes(5)
    node.celsius = 60.0
    node.passes(100)
    assert [record.getMessage() for record in caplog.records] == [
        "governor: level 1 of 5, looks less often: cpu-thermal at 76.0 °C, limit 75 °C",
        "governor: level 0 of 5, looks more often: within all limits: cpu-thermal at 60.0 °C, limit 75 °C",
    ]


def test_idle_cameras_are_told_and_the_level_keeps_its_time() -> None:
    node = Node()
    node.looks("hall", 30)
    assert [state.idle_cameras for state in node.told] == [[], ["hall"]]
    assert node.told[0].since == node.told[1].since
    assert node.limits == {"hall": 5.0}


def test_a_camera_that_wakes_up_again_and_again_is_told_now_and_then_and_at_last() -> None:
    node = Node(GovernorSettings(idle_after_s=1))
    node.looks("hall", 5)
    before = len(node.told)
    for _ in range(10):
        node.looks("hall", 1, followed=True)
        node.looks("hall", 2)
    node.passes(IDLE_TOLD_NS / S)
    assert len(node.told) - before <= 30 * S / IDLE_TOLD_NS + 1
    assert node.told[-1].idle_cameras == node.pacing.idle_cameras


def test_a_limit_of_a_level_is_told_even_to_idle_cameras_and_lifted_again() -> None:
    node = Node(GovernorSettings(idle_fps=5), celsius=79.0)
    node.looks("hall", 30)
    assert node.limits == {"hall": 2.0}
    node.celsius = 50.0
    node.passes(600)
    assert node.limits == {"hall": 5.0}


def test_people_are_told_when_it_can_go_no_slower_or_does_not_know_the_heat() -> None:
    node = Node(celsius=76.0).passes(5)
    assert node.turn.problem == ""
    node.celsius = None
    node.passes(60)
    assert node.turn.problem == node.told[-1].reason
    assert "temperature unknown (was 76.0 °C)" in node.turn.problem
    node.celsius = 79.0
    node.passes(60)
    assert node.turn.problem.startswith("looked at as rarely as possible: cpu-thermal at 7")
    node.celsius = 50.0
    node.passes(600)
    assert node.turn.problem == ""


def test_people_are_told_of_a_sensor_that_is_stuck_and_cameras_are_looked_at_as_before() -> None:
    node = Node(celsius=120.0).passes(3600)
    assert node.turn.problem == (
        "a sensor of temperature is stuck (cpu-thermal at 120.0 °C, whatever the load): the governor does not go by it"
    )
    assert node.told[-1].level == 0
    node.celsius = 60.0
    node.passes(4)
    assert node.turn.problem == ""


def test_without_sensors_there_is_only_idling() -> None:
    pacing = Pacing(GovernorSettings(), lambda _camera, _fps: None)
    told: list[GovernorState] = []
    turn = GovernorTurn(GovernorSettings(), pacing, told.append, boot_id="boot")
    turn.turn(0)
    turn.turn(3600 * S)
    assert [(state.level, state.reason) for state in told] == [(0, "within all limits")]


def test_settings_that_are_read_again_count_for_both() -> None:
    node = Node(celsius=76.0)
    node.looks("hall", 30)
    assert node.turn.held.level > 0
    node.turn.use(GovernorSettings(enabled=False, idle=False))
    node.passes(1)
    assert node.told[-1].level == 0
    assert node.limits == {"hall": None}

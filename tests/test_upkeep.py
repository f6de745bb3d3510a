from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from drawn_faces import landmarks

from edge_fer.board_watch import BoardWatch
from edge_fer.capture.inbox import Inbox
from edge_fer.events import Health, Payload, Power, Privacy, SelfTest, Throughput
from edge_fer.frame import Face
from edge_fer.health.drawn_face import drawn_face_box
from edge_fer.health.monitor import HealthMonitor
from edge_fer.health.selftest import FRAME_PX, SelfTester
from edge_fer.labels import EXPRESSIONS
from edge_fer.memory.pause import PauseControl
from edge_fer.memory.pause_file import Moment, ask_pause, ask_resume
from edge_fer.memory.state_folder import StateFolder
from edge_fer.outbox.database import DATABASE_FILE
from edge_fer.outbox.store import Store
from edge_fer.sensors.readings import PowerReading, Reading, ThrottleFlag, Throttling
from edge_fer.telemetry import LatencyMeter, ThroughputMeter
from edge_fer.upkeep import PAUSED, Memory, PausableReader, Upkeep
from edge_fer.workload import Workload

S = 1_000_000_000
FACE = Face(drawn_face_box(*FRAME_PX), landmarks(140, 105, 180, 105), 0.9)


class Networks:
    """A detector and a network that work until they are broken."""

    broken = False

    def detect(self, _bgr: npt.NDArray[np.uint8]) -> list[Face]:
        return [FACE]

    def read(self, _crop: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        if self.broken:
            return np.full(len(EXPRESSIONS), np.nan, np.float32)
        return np.array([0.93 if name == "happiness" else 0.01 for name in EXPRESSIONS], np.float32)


class Reader:
    """A camera's reader; one that hangs does not close."""

    def __init__(self, camera: str, *, hangs: bool = False) -> None:
        self.camera, self.restarts, self._hangs = camera, 0, hangs
        self.closed = threading.Event()
        self.checked: list[int] = []
        self.asked: list[str] = []

    def check(self, now_ns: int) -> None:
        self.checked.append(now_ns)

    def disable(self, reason: str) -> None:
        self.asked.append(reason)
        if not self._hangs:
            self.closed.set()

    def enable(self) -> None:
        self.closed.clear()


@dataclass
class Way:
    """The way to the broker."""

    connected: bool = True
    pending: int = 0
    acknowledged: int = 0
    refused: int = 0
    problems: dict[str, str] = field(default_factory=dict)


@dataclass
class Waiting:
    """The outbox."""

    pending: int = 0
    bytes: int = 0
    oldest_s: float = 0.0
    telemetry_lost: int = 0
    losses: dict[str, int] = field(default_factory=dict)

    @property
    def dropped(self) -> int:
        return sum(self.losses.values())


@dataclass
class Recorder:
    problem: str | None = None


@dataclass
class Sensors:
    """A board of 5 W."""

    alive: bool = True
    problems: tuple[str, ...] = ()
    flags: tuple[ThrottleFlag, ...] = ()
    waiting: list[Reading] = field(default_factory=list)

    def read(self, now_ns: int) -> None:
        power = PowerReading("measured", 5.0)
        self.waiting.append(Reading(now_ns, power, throttling=Throttling(self.flags), problems=self.problems))

    def readings(self) -> list[Reading]:
        taken, self.waiting = self.waiting, []
        return taken


@dataclass
class Node:
    """What the main loop sees of one node, its time and all that it publishes."""

    folder: Path
    readers: list[Reader] = field(default_factory=lambda: [Reader("front"), Reader("hall")])
    way: Way = field(default_factory=Way)
    outbox: Waiting = field(default_factory=Waiting)
    recorder: Recorder = field(default_factory=Recorder)
    networks: Networks = field(default_factory=Networks)
    sensors: Sensors | None = None
    work: Workload = field(default_factory=Workload)
    published: list[Payload] = field(default_factory=list)
    now_ns: int = 100 * S

    def __post_init__(self) -> None:
        state = StateFolder(self.folder)
        self.store = None if state.problem else Store(self.folder)
        names = [reader.camera for reader in self.readers]
        pause = PauseControl(self.folder, names, node="lab", boot_id="b", clock=self.moment)
        self.memory = Memory(state, self.store, pause, ())
        board = None
        if self.sensors:
            board = BoardWatch(self.sensors, boot_id="b", sample_s=2, clock_ns=lambda: self.now_ns)
        parts: dict[str, Any] = {"board": board, "mqtt": self.way, "outbox": self.outbox, "recorder": self.recorder}
        self.upkeep = Upkeep(
            self.readers,  # type: ignore[arg-type]
            Inbox(),
            self.published.append,
            health=HealthMonitor(boot_id="b", started_ns=self.now_ns),
            tester=SelfTester(self.networks, self.networks, boot_id="b", period_s=300),
            outbox_patience_s=600,
            meter=ThroughputMeter(3600, workload=self.work, clock_s=lambda: self.now_ns / S),
            latency=LatencyMeter(),
            memory=self.memory,
            clock_ns=lambda: self.now_ns,
            clock_synced=lambda: False,
            **parts,
        )

    def moment(self) -> Moment:
        return Moment(10**18 + self.now_ns, self.now_ns, "run")

    def pass_s(self, seconds: float, turns: int = 1) -> None:
        for _ in range(turns):
            self.now_ns += round(seconds * S / turns)
            if self.sensors:
                self.sensors.read(self.now_ns)
            self.upkeep.turn()

    def of(self, kind: type) -> list[Any]:
        return [payload for payload in self.published if isinstance(payload, kind)]

    def problems(self) -> dict[str, str]:
        return {problem.code: problem.text for problem in self.of(Health)[-1].problems}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    if node.store:
        node.store.stop()
    node.memory.folder.close()


def test_the_first_turn_tests_the_node_and_tells_that_it_is_well(node: Node) -> None:
    node.pass_s(0.1)
    (test,), (health,), (privacy,) = node.of(SelfTest), node.of(Health), node.of(Privacy)
    assert (test.passed, health.ok, privacy.paused) == (True, True, False)
    assert health.self_test_at == test.occurred_at
    assert node.of(Throughput) == []  # its period has not passed


def test_hundreds_of_turns_a_second_cost_ten_looks_at_the_cameras(node: Node) -> None:
    node.pass_s(1, turns=500)
    assert len(node.readers[0].checked) == pytest.approx(10, abs=1)


def test_a_network_that_breaks_is_told_in_health_and_in_the_log_and_so_is_its_recovery(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    node.pass_s(1)
    node.networks.broken = True
    node.pass_s(300, turns=300)
    assert not node.of(SelfTest)[-1].passed
    assert "no probabilities" in node.problems()["self-test"]
    assert node.of(Health)[-1].self_test_at == node.of(SelfTest)[0].occurred_at
    node.networks.broken = False
    node.pass_s(300, turns=300)
    assert node.of(Health)[-1].ok
    said = [record.getMessage() for record in caplog.records if "self-test" in record.getMessage()]
    assert len(said) == 2
    assert said[0].startswith("self-test: the network gave")
    assert said[1] == "self-test: all is well again"


def test_a_broker_that_takes_nothing_and_lost_events_are_problems(node: Node) -> None:
    node.way.pending = 4
    node.outbox.pending, node.outbox.bytes, node.outbox.oldest_s, node.outbox.telemetry_lost = 4, 4000, 1800.04, 12
    node.outbox.losses = {"too many": 5, "too old": 2}
    node.way.refused = 3
    node.pass_s(700, turns=70)
    assert "4 events wait" in node.problems()["outbox"]
    lost = "10 events since the start: 5 too many, 2 too old, 3 the broker can never take them"
    assert node.problems()["events-lost"] == lost
    told = node.of(Health)[-1]
    assert (told.outbox_events, told.events_lost, told.telemetry_lost) == (4, 10, 12)
    assert (told.outbox_bytes, told.outbox_oldest_s, told.clock_synced) == (4000, 1800.0, False)


def test_what_keeps_messages_from_the_broker_is_a_problem_until_it_is_cured(node: Node) -> None:
    node.way.problems = {"broker-tls": "its certificate has expired"}
    node.pass_s(1)
    assert node.problems() == {"broker-tls": "its certificate has expired"}
    node.way.problems = {}
    node.pass_s(2, turns=20)
    assert node.problems() == {}


def test_a_recording_that_has_ended_is_a_problem(node: Node) -> None:
    node.recorder.problem = "scores.jsonl: scores are recorded no more (No space left on device)"
    node.pass_s(1)
    assert node.problems() == {"recording": node.recorder.problem}


def test_watts_and_throughput_are_told_together_and_an_image_has_its_joules(tmp_path: Path) -> None:
    node = Node(tmp_path, sensors=Sensors())
    node.pass_s(3500, turns=350)
    assert (node.of(Power), node.of(Throughput)) == ([], [])
    node.work.images = 7200
    node.pass_s(100, turns=10)
    (power,), (throughput,) = node.of(Power), node.of(Throughput)
    assert [type(payload) for payload in node.published[-2:]] == [Power, Throughput]
    assert (power.total_w, power.period_s, throughput.period_s) == (5.0, 3600.0, 3600.0)
    # 2 a second at 5 W: 0.4 per joule, 2.5 J each.
    assert (throughput.images_per_s, throughput.images_per_s_per_w, throughput.joules_per_image) == (2.0, 0.4, 2.5)


def test_without_sensors_no_watts_are_told(node: Node) -> None:
    node.pass_s(3600, turns=10)
    assert node.of(Power) == []
    assert node.of(Throughput)[-1].images_per_s_per_w is None


def test_what_the_board_suffers_from_is_a_problem_until_it_is_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sensors = Sensors(problems=("/sys/class/hwmon/hwmon3/curr1_input: Permission denied",))
    node = Node(tmp_path, sensors=sensors)
    node.pass_s(2, turns=20)
    assert node.problems() == {"sensor": sensors.problems[0]}
    sensors.problems, sensors.flags = (), ("throttled", "under-voltage")
    node.pass_s(2, turns=20)
    assert set(node.problems()) == {"sensor", "throttled", "under-voltage"}  # each is kept for a minute
    sensors.flags = ()
    node.pass_s(59, turns=59)
    assert set(node.problems()) == {"throttled", "under-voltage"}
    node.pass_s(4, turns=40)
    assert node.problems() == {}
    assert caplog.text.count("the supply gave too little voltage") == 1


def test_without_a_state_folder_it_works_on_and_says_what_is_forgotten(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    occupied = tmp_path / "state"
    occupied.write_text("no folder")
    node = Node(occupied)
    node.pass_s(2, turns=20)
    assert "forgotten at a restart" in node.problems()["state-folder"]
    assert "forgotten at a restart" in caplog.text
    assert all(reader.checked for reader in node.readers)


def test_a_camera_that_is_paused_already_is_never_opened(tmp_path: Path) -> None:
    ask_pause(tmp_path, ["hall"], None, by="test", known=None, now=Moment(10**18, S, "run"))
    node = Node(tmp_path)
    node.upkeep.start()
    assert [reader.asked for reader in node.readers] == [[], [PAUSED]]


def test_a_pause_is_proven_and_taken_back(node: Node) -> None:
    node.pass_s(1)
    ask_pause(node.folder, [], None, by="test", known=None, now=node.moment())
    node.pass_s(1, turns=10)
    assert (node.of(Privacy)[-1].paused, node.of(Privacy)[-1].cameras) == (True, ["front", "hall"])
    ask_resume(node.folder, [], known=None, now=node.moment())
    node.pass_s(1, turns=10)
    assert not node.of(Privacy)[-1].paused
    assert not any(reader.closed.is_set() for reader in node.readers)


def test_a_camera_that_hangs_is_never_said_to_be_closed(tmp_path: Path) -> None:
    node = Node(tmp_path, readers=[Reader("front", hangs=True)])
    node.pass_s(1)
    ask_pause(tmp_path, [], None, by="test", known=None, now=node.moment())
    node.pass_s(10, turns=100)
    assert not any(privacy.paused for privacy in node.of(Privacy))
    assert PAUSED in node.readers[0].asked


def test_a_store_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / DATABASE_FILE).mkdir()
    node = Node(tmp_path)
    node.pass_s(2, turns=20)
    assert f"{tmp_path / DATABASE_FILE}: cannot be written" in node.problems()["store"]


def test_a_reader_is_paused_by_its_name_and_for_its_reason() -> None:
    reader = Reader("front")
    pausable = PausableReader(reader)  # type: ignore[arg-type]
    pausable.disable()
    assert (pausable.camera, pausable.closed, reader.asked) == ("front", True, [PAUSED])
    pausable.enable()
    assert not pausable.closed

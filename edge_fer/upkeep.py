"""What the daemon does between its turns: looks after cameras, pause, self-test, sensors, health and telemetry.

Nothing here waits. A camera that hangs, a disk that is full or a broker that is away becomes a state or a problem.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edge_fer.board_watch import BoardWatch
from edge_fer.capture.inbox import Inbox
from edge_fer.capture.reader import CameraReader
from edge_fer.events import Payload, Problem
from edge_fer.health.monitor import Counters, HealthMonitor
from edge_fer.health.selftest import OutboxWatch, SelfTester
from edge_fer.memory.pause import PAUSED, PauseControl
from edge_fer.memory.state_folder import StateFolder
from edge_fer.mqtt.problems import BROKER_PROBLEMS
from edge_fer.mqtt.publisher import MqttPublisher
from edge_fer.outbox.open_tracks import OpenTrack
from edge_fer.outbox.outbox import Outbox
from edge_fer.outbox.store import Store
from edge_fer.scores.record import ScoreRecorder
from edge_fer.telemetry import LatencyMeter, ThroughputMeter

log = logging.getLogger(__name__)

PERIOD_NS = 100_000_000
"""Turns may come hundreds of times a second; nothing here is that urgent."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What survives a restart."""

    folder: StateFolder
    store: Store | None  # None where the folder is of no use
    pause: PauseControl
    left_open: tuple[OpenTrack, ...]  # what the run before did not end


class PausableReader:
    """A camera's reader as the pause sees it."""

    def __init__(self, reader: CameraReader, still_open: Callable[[str], bool] = lambda _camera: False) -> None:
        """`still_open`: whether an earlier reader of the camera may hold its device."""
        self._reader, self._still_open = reader, still_open

    @property
    def camera(self) -> str:
        """Its name."""
        return self._reader.camera

    @property
    def closed(self) -> bool:
        """Whether its device is proven to be closed."""
        return self._reader.closed.is_set() and not self._still_open(self._reader.camera)

    def disable(self) -> None:
        """Ask it to close its device."""
        self._reader.disable(PAUSED)

    def enable(self) -> None:
        """Let it open its device."""
        self._reader.enable()


class Upkeep:
    """Everything that is due now and then. Main thread only."""

    def __init__(
        self,
        readers: Sequence[CameraReader],
        inbox: Inbox,
        publish: Callable[[Payload], None],
        *,
        health: HealthMonitor,
        tester: SelfTester,
        outbox_patience_s: float,
        meter: ThroughputMeter,
        latency: LatencyMeter,
        mqtt: MqttPublisher | None = None,
        outbox: Outbox | None = None,
        clock_synced: Callable[[], bool | None] = lambda: None,
        memory: Memory | None = None,
        recorder: ScoreRecorder | None = None,
        board: BoardWatch | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`memory` None: a run that leaves nothing behind, such as a demonstration; `board` None: no sensor is read."""
        self._clock_ns = clock_ns
        self._readers, self._inbox, self._publish = readers, inbox, publish
        self._health, self._tester, self._meter, self._latency = health, tester, meter, latency
        self._delivery = OutboxWatch(outbox_patience_s)
        self._outbox, self._clock_synced = outbox, clock_synced
        self._mqtt, self._memory, self._recorder, self._board = mqtt, memory, recorder, board
        self._pausable = [PausableReader(reader) for reader in readers]
        self._also: Callable[[], Mapping[str, str]] = dict
        self._next_ns = 0

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Those of now, the oldest first."""
        return self._health.problems

    def start(self) -> None:
        """Before any camera is opened: one that is paused never is."""
        self._disable_paused()

    def use(
        self, readers: Sequence[CameraReader], still_open: Callable[[str], bool], *, outbox_patience_s: float
    ) -> None:
        """Look after these cameras from now on, none of which is opened yet if it is new; one that is paused never is.

        `still_open`: whether an earlier reader of a camera may hold its device, which is then not proven to be closed.
        """
        self._readers = readers
        self._pausable = [PausableReader(reader, still_open) for reader in readers]
        self._delivery.use(outbox_patience_s)
        if self._memory:
            self._memory.pause.use_cameras([reader.camera for reader in readers])
        self._disable_paused()

    def also(self, turn: Callable[[], Mapping[str, str]]) -> None:
        """Do this too in each turn; it returns problems for health, code -> text, "" where all is well."""
        self._also = turn

    def _disable_paused(self) -> None:
        if self._memory:
            wanted = self._memory.pause.wanted.cameras
            for camera in self._pausable:
                if camera.camera in wanted:
                    camera.disable()

    def turn(self) -> None:
        """Do what is due."""
        now_ns = self._clock_ns()
        if now_ns < self._next_ns:
            return
        self._next_ns = now_ns + PERIOD_NS
        if self._board:
            self._board.turn()
        for code, text in self._also().items():
            self._health.keep(code, text)
        for reader in self._readers:
            reader.check(now_ns)
        if self._memory and (privacy := self._memory.pause.turn(self._pausable)):
            self._publish(privacy)
        if result := self._tester.run_due(now_ns):
            self._publish(result)
        self._look_for_problems(now_ns)
        if self._health.due(now_ns):
            self._publish(self._health.sample(self._counters(), now_ns))
        if self._meter.due():
            self._tell_telemetry()

    def _tell_telemetry(self) -> None:
        total_w = None
        if self._board:
            power = self._board.sample()
            total_w = power.total_w
            self._publish(power)
        self._publish(self._meter.sample(self._inbox.counts(), self._latency.take(), total_w))

    def _look_for_problems(self, now_ns: int) -> None:
        keep = self._health.keep
        self._keep_and_log("self-test", self._tester.problem)
        if self._memory:
            self._look_after_memory(self._memory)
        if self._recorder:
            keep("recording", self._recorder.problem or "")
        if self._board:
            self._look_after_board(self._board)
        if self._mqtt:
            self._keep_and_log("outbox", self._delivery.problem(self._mqtt, now_ns))
            problems = self._mqtt.problems  # it has logged them itself
            for code in BROKER_PROBLEMS:
                keep(code, problems.get(code, ""))
        keep("events-lost", self._losses())

    def _look_after_memory(self, memory: Memory) -> None:
        self._keep_and_log("state-folder", memory.folder.problem)
        self._health.keep("store", memory.store.problem if memory.store else "")
        self._health.keep("pause", memory.pause.problem)

    def _look_after_board(self, board: BoardWatch) -> None:
        problems = board.problems
        self._health.keep("sensor", problems.sensor)  # whoever reads the sensors has logged it
        self._keep_and_log("throttled", problems.throttled)
        self._keep_and_log("under-voltage", problems.under_voltage)

    def _keep_and_log(self, code: str, text: str) -> None:
        """For problems that whoever finds them does not log."""
        was = any(problem.code == code for problem in self._health.problems)
        if text and not was:
            log.warning("%s: %s", code, text)
        elif was and not text:
            log.info("%s: all is well again", code)
        self._health.keep(code, text)

    def _losses(self) -> str:
        """Events that nobody will get, by reason; since the start."""
        losses = dict(self._outbox.losses) if self._outbox else {}
        if self._mqtt and self._mqtt.refused:
            losses["the broker can never take them"] = self._mqtt.refused
        if not losses:
            return ""
        return f"{sum(losses.values())} events since the start: " + ", ".join(
            f"{count} {reason}" for reason, count in losses.items()
        )

    def _counters(self) -> Counters:
        outbox = self._outbox
        return Counters(
            outbox_events=outbox.pending if outbox else 0,
            events_lost=(outbox.dropped if outbox else 0) + (self._mqtt.refused if self._mqtt else 0),
            outbox_bytes=outbox.bytes if outbox else 0,
            outbox_oldest_s=outbox.oldest_s if outbox else 0.0,
            telemetry_lost=outbox.telemetry_lost if outbox else 0,
            clock_synced=self._clock_synced(),
            camera_restarts={reader.camera: reader.restarts for reader in self._readers},
            frames_dropped={camera: counts.dropped for camera, counts in self._inbox.counts().items()},
            self_test_at=self._tester.passed_at,
        )

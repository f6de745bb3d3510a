"""What the daemon does between its turns: looks after cameras, pause, self-test, health and telemetry.

Nothing here waits. A camera that hangs, a disk that is full or a broker that is away becomes a state or a problem.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_fer.capture.inbox import Inbox
from edge_fer.capture.reader import CameraReader
from edge_fer.events import Payload
from edge_fer.health.monitor import Counters, HealthMonitor
from edge_fer.health.selftest import OutboxWatch, SelfTester
from edge_fer.memory.journal import Journal, OpenTrack
from edge_fer.memory.pause import PauseControl
from edge_fer.memory.state_folder import StateFolder
from edge_fer.mqtt import MqttPublisher
from edge_fer.scores.record import ScoreRecorder
from edge_fer.telemetry import LatencyMeter, ThroughputMeter

log = logging.getLogger(__name__)

PERIOD_NS = 100_000_000
"""Turns may come hundreds of times a second; nothing here is that urgent."""

PAUSED = "privacy pause"


@dataclass(frozen=True, slots=True)
class Memory:
    """What survives a restart."""

    folder: StateFolder
    journal: Journal
    pause: PauseControl
    left_open: tuple[OpenTrack, ...]  # what the run before did not end


class PausableReader:
    """A camera's reader as the pause sees it."""

    def __init__(self, reader: CameraReader) -> None:
        self._reader = reader

    @property
    def camera(self) -> str:
        """Its name."""
        return self._reader.camera

    @property
    def closed(self) -> bool:
        """Whether its device is proven to be closed."""
        return self._reader.closed.is_set()

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
        memory: Memory | None = None,
        recorder: ScoreRecorder | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`memory` None: a run that leaves nothing behind, such as a demonstration."""
        self._clock_ns = clock_ns
        self._readers, self._inbox, self._publish = readers, inbox, publish
        self._health, self._tester, self._meter, self._latency = health, tester, meter, latency
        self._outbox = OutboxWatch(outbox_patience_s)
        self._mqtt, self._memory, self._recorder = mqtt, memory, recorder
        self._pausable = [PausableReader(reader) for reader in readers]
        self._next_ns = 0
        self._ends_owed = memory is not None  # of what a restart left open; the broker may not have them yet

    def start(self) -> None:
        """Before any camera is opened: one that is paused never is."""
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
            self._publish(self._meter.sample(self._inbox.counts(), self._latency.take()))

    def _look_for_problems(self, now_ns: int) -> None:
        keep = self._health.keep
        self._keep_and_log("self-test", self._tester.problem)
        if self._memory:
            self._look_after_memory(self._memory)
        if self._recorder:
            keep("recording", self._recorder.problem or "")
        if self._mqtt:
            self._keep_and_log("outbox", self._outbox.problem(self._mqtt, now_ns))
            lost = self._mqtt.dropped
            keep("events-lost", f"{lost} events since the start: too many waited for the broker" if lost else "")

    def _look_after_memory(self, memory: Memory) -> None:
        if self._ends_owed and not (self._mqtt and self._mqtt.pending):
            self._ends_owed = False
            memory.journal.forget_left_open()
        self._keep_and_log("state-folder", memory.folder.problem)
        self._health.keep("journal", memory.journal.problem)
        self._health.keep("pause", memory.pause.problem)

    def _keep_and_log(self, code: str, text: str) -> None:
        """For problems that whoever finds them does not log."""
        was = any(problem.code == code for problem in self._health.problems)
        if text and not was:
            log.warning("%s: %s", code, text)
        elif was and not text:
            log.info("%s: all is well again", code)
        self._health.keep(code, text)

    def _counters(self) -> Counters:
        return Counters(
            outbox_events=self._mqtt.pending if self._mqtt else 0,
            events_lost=self._mqtt.dropped if self._mqtt else 0,
            camera_restarts={reader.camera: reader.restarts for reader in self._readers},
            frames_dropped={camera: counts.dropped for camera, counts in self._inbox.counts().items()},
            self_test_at=self._tester.passed_at,
        )

"""The daemon: readers, pipeline and upkeep, from the first camera to the orderly end."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from dataclasses import dataclass

from edge_fer.capture.inbox import CameraChange, Inbox
from edge_fer.capture.reader import CameraReader
from edge_fer.capture.uri import parse_camera_uri
from edge_fer.config import Config
from edge_fer.errors import CameraError, UnavailableError
from edge_fer.events import Payload, Publisher, message
from edge_fer.health.monitor import HealthMonitor
from edge_fer.health.selftest import SelfTester
from edge_fer.judge import Judge
from edge_fer.loaded import Models, with_card_threshold
from edge_fer.mqtt import MqttPublisher
from edge_fer.perceive import Perception
from edge_fer.pipeline import Pipeline
from edge_fer.scores.record import ScoreRecorder
from edge_fer.telemetry import ThroughputMeter
from edge_fer.tracking.follow import FaceFollower
from edge_fer.upkeep import Memory, Upkeep

log = logging.getLogger(__name__)

TURN_TIMEOUT_S = 0.2
"""How long a request to stop may wait for the next frame."""

READER_STOP_S = 0.3
"""With the broker's second well under the 2 s in which the daemon ends: a camera may hang in its driver."""

DELIVER_S = 10.0
"""How long the end of all clips waits for a broker to take the last events; a request to stop does not wait."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where everything goes."""

    publisher: Publisher
    mqtt: MqttPublisher | None = None  # the part of it that may be late
    memory: Memory | None = None
    recorder: ScoreRecorder | None = None


class Daemon:
    """Readers, pipeline and upkeep around one publisher."""

    def __init__(self, config: Config, models: Models, outputs: Outputs, boot_id: str) -> None:
        """Nothing is opened yet."""
        self._outputs, self._boot_id, self._node = outputs, boot_id, config.node
        uris = {name: parse_camera_uri(camera.uri) for name, camera in config.camera.items()}
        self.inbox = Inbox()
        self._number = itertools.count(1).__next__
        self.pipeline = Pipeline(
            {name: _perception(config, models) for name in uris},
            Judge(
                list(uris),
                decide=with_card_threshold(config.decide, models.reader),
                rules=config.rule,
                boot_id=boot_id,
                number=self._number,
            ),
            node=config.node,
            inbox=self.inbox,
            publisher=outputs.publisher,
            on_observation=[outputs.recorder.put] if outputs.recorder else [],
            on_event=[outputs.memory.journal.note] if outputs.memory else [],
        )
        self.readers = [CameraReader(name, uri, self.inbox, config.camera[name]) for name, uri in uris.items()]
        self._upkeep = self._make_upkeep(config, models)
        # A stream's server may start later than this; a device or a file that is not there is a mistake.
        self._expected = {name for name, uri in uris.items() if uri.scheme != "url" and config.camera[name].enabled}
        self._unopened = set(self._expected)
        self._running = set(uris)
        self._reasons: dict[str, str] = {}
        self._ever_online = len(self._expected) < len(uris)

    def run(self, stop: threading.Event, seconds: float | None = None) -> None:
        """Work until `stop`, for some seconds, or to the end of all clips; then end all tracks.

        CameraError where a clip cannot be read, or where no device at all could be opened at the start;
        UnavailableError where the clips have ended and the broker did not take their events.
        """
        until_s = None if seconds is None else time.monotonic() + seconds
        self._start()
        try:
            while self._running and not stop.is_set() and (until_s is None or time.monotonic() < until_s):
                if change := self.pipeline.turn(TURN_TIMEOUT_S):
                    self._note(change)
                self._upkeep.turn()
                self._check_threads()
        finally:
            for reader in self.readers:
                reader.stop()
            self.inbox.close()
            self.pipeline.stop()
        if not self._running:
            self._deliver(stop)

    def close(self) -> None:
        """Wait a little for the readers, which give their cameras back; one that hangs ends with the process."""
        until_s = time.monotonic() + READER_STOP_S
        for reader in self.readers:
            if reader.ident is not None:
                reader.join(max(0.0, until_s - time.monotonic()))

    def _make_upkeep(self, config: Config, models: Models) -> Upkeep:
        def publish(payload: Payload) -> None:
            self._outputs.publisher.publish(message(payload, config.node))

        period_s = config.self_test.period_s
        return Upkeep(
            self.readers,
            self.inbox,
            publish,
            health=HealthMonitor(boot_id=self._boot_id, started_ns=time.monotonic_ns()),
            tester=SelfTester(models.search.main, models.reader, boot_id=self._boot_id, period_s=period_s),
            outbox_patience_s=2 * period_s,
            meter=ThroughputMeter(config.telemetry_s),
            latency=self.pipeline.latency,
            mqtt=self._outputs.mqtt,
            memory=self._outputs.memory,
            recorder=self._outputs.recorder,
        )

    def _start(self) -> None:
        """Tell what a restart left open, and only then open cameras that are not paused."""
        memory = self._outputs.memory
        ends = []
        for track in memory.left_open if memory else ():
            seq = self._number()
            ends.append(track.end(event_id=f"{self._boot_id}-{seq}", seq=seq, boot_id=self._boot_id))
        self.pipeline.start(time.time_ns(), left_open=ends)
        if memory:
            memory.journal.start()
        self._upkeep.start()
        for reader in self.readers:
            reader.start()

    def _check_threads(self) -> None:
        """A thread that is missing would be missed by nobody else."""
        memory = self._outputs.memory
        for what, part in (
            ("MQTT client", self._outputs.mqtt),
            ("recording of scores", self._outputs.recorder),
            ("journal", memory.journal if memory and not memory.folder.problem else None),
        ):
            if part and not part.alive:
                raise RuntimeError(f"the thread of the {what} has crashed; its error stands above")

    def _note(self, change: CameraChange) -> None:
        """Log a camera's change once, and see whether there is anything left to do."""
        camera, was = change.camera, self._reasons.get(change.camera)
        if change.state in ("connecting", "disabled"):
            self._ever_online = self._ever_online or change.state == "disabled"
            log.info("camera %s %s: %s", camera, change.state, change.reason)
            return
        self._reasons[camera] = change.reason
        self._unopened.discard(camera)
        if change.state == "online":
            self._ever_online = True
            log.info("camera %s %s", camera, "online" if was is None else "is back")
            return
        if change.finished:
            self._running.discard(camera)
            if change.failed:
                raise CameraError(f"camera {camera}: {change.reason}")
            log.info("camera %s: %s", camera, change.reason)
            return
        if not self._ever_online and not self._unopened:
            raise CameraError("no camera can be opened: " + "; ".join(self._reasons.values()))
        # A frozen or dark camera still delivers: it is not opened again.
        again = "" if change.state in ("frozen", "dark") else "; trying again until it is back"
        log.warning("camera %s %s: %s%s", camera, change.state, change.reason, again)

    def _deliver(self, stop: threading.Event) -> None:
        """Nobody asked to stop, so the broker gets time to take what is left."""
        mqtt, until_s = self._outputs.mqtt, time.monotonic() + DELIVER_S
        while mqtt and mqtt.pending and time.monotonic() < until_s and not stop.wait(0.02):
            pass
        if mqtt and mqtt.pending and not stop.is_set():
            raise UnavailableError(f"the broker did not take {mqtt.pending} events within {DELIVER_S:.0f} s")


def _perception(config: Config, models: Models) -> Perception:
    follower = FaceFollower(models.search, config.detector)
    return Perception(follower, models.reader, config.quality, config.model.max_faces_per_frame)

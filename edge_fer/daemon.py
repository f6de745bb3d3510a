"""The daemon: readers, pipeline and upkeep, from the first camera to the orderly end."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from edge_fer.attendance import Attendance
from edge_fer.board_watch import BoardWatch
from edge_fer.capture.inbox import Inbox
from edge_fer.capture.reader import CameraReader
from edge_fer.capture.readers import CameraReaders
from edge_fer.capture.uri import parse_camera_uri
from edge_fer.clock import SyncWatch
from edge_fer.config import Config
from edge_fer.errors import UnavailableError
from edge_fer.events import CameraCondition, NodeInfo, Payload
from edge_fer.governor.pacing import Pacing
from edge_fer.governor.turn import GovernorTurn
from edge_fer.health.monitor import HealthMonitor
from edge_fer.health.selftest import SelfTester
from edge_fer.homeassistant.presence import HomeAssistant
from edge_fer.judge import Judge
from edge_fer.loaded import Models, node_info, with_card_threshold
from edge_fer.messages import Publisher, message
from edge_fer.mqtt.incoming import Handler
from edge_fer.mqtt.publisher import MqttPublisher
from edge_fer.notify import Notifier
from edge_fer.outbox.outbox import Outbox
from edge_fer.perceive import Perception
from edge_fer.pipeline import Pipeline
from edge_fer.power_modes.ask import ask_power_mode
from edge_fer.remote.commands import Remote
from edge_fer.remote.queue import CommandQueue
from edge_fer.remote.reload import ConfigSource, Hangup, NewConfig, Reloader
from edge_fer.remote.replies import Replies
from edge_fer.scores.record import ScoreRecorder
from edge_fer.status_line import FrameRate, status_line
from edge_fer.telemetry import ThroughputMeter
from edge_fer.tracking.follow import FaceFollower
from edge_fer.upkeep import Memory, Upkeep
from edge_fer.workload import Workload

log = logging.getLogger(__name__)

TURN_TIMEOUT_S = 0.2
"""How long a request to stop may wait for the next frame."""

READER_STOP_S = 0.3
"""With the broker's second well under the 2 s in which the daemon ends: a camera may hang in its driver."""

ERRAND_STOP_S = 0.2
"""For a pause that is being written, and once more for a configuration that is being read."""

DELIVER_S = 10.0
"""How long the end of all clips waits for a broker to take the last events; a request to stop does not wait."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where everything goes."""

    publisher: Publisher
    mqtt: MqttPublisher | None = None  # the part of it that may be late
    outbox: Outbox | None = None  # what waits for it
    presence: HomeAssistant | None = None
    memory: Memory | None = None
    recorder: ScoreRecorder | None = None


@dataclass(frozen=True, slots=True)
class Orders:
    """How somebody may change the daemon while it runs; by default nobody may."""

    source: ConfigSource | None = None  # of the configuration, to read it again
    hangup: Hangup = field(default_factory=Hangup)
    queue: CommandQueue | None = None
    on_reload: Callable[[Literal["start", "end"]], None] = lambda _phase: None
    on_applied: Callable[[Config, NodeInfo], None] = lambda _config, _info: None
    """Called in the main thread with the configuration that runs from now on, and what `info` tells of it."""

    set_power_mode: Callable[[str], str] = ask_power_mode
    """Has a power mode set, and says for people what was done; blocks meanwhile."""


class Daemon:
    """Readers, pipeline and upkeep around one publisher."""

    def __init__(
        self,
        config: Config,
        models: Models,
        outputs: Outputs,
        boot_id: str,
        orders: Orders | None = None,
        board: BoardWatch | None = None,
        *,
        notifier: Notifier | None = None,
        wait_for_cameras: bool = False,
    ) -> None:
        """Nothing is opened yet. `board` None: no sensor is read; `notifier` None: nobody is told of finished turns.

        `wait_for_cameras`: a device that is missing at the start is waited for, as a stream is.
        """
        self._outputs, self._boot_id, self._node = outputs, boot_id, config.node
        self._notifier, self._frame_rate = notifier or Notifier(), FrameRate()
        uris = {name: parse_camera_uri(camera.uri) for name, camera in config.camera.items()}
        self._config, self._on_applied = config, (orders or Orders()).on_applied
        self._clock_synced, self._board, self._workload = SyncWatch(), board, Workload()
        self.inbox = Inbox()
        pacing = Pacing(config.governor, self.inbox.pace)
        self._governor = GovernorTurn(
            config.governor,
            pacing,
            self._publish,
            boot_id=boot_id,
            watch=board,
            throttle_point_c=board.throttle_point_c if board else None,
        )
        self._number = itertools.count(1).__next__
        self.pipeline = Pipeline(
            {name: self._perception(config, models) for name in uris},
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
            clock_synced=self._clock_synced,
            pacing=pacing,
        )
        self._readers = CameraReaders(config.camera, self.inbox)
        self._tester = SelfTester(
            models.search.main, models.reader, boot_id=boot_id, period_s=config.self_test.period_s
        )
        self._meter = ThroughputMeter(config.telemetry_s, workload=self._workload)
        self._upkeep = self._make_upkeep(config)
        self._remote = self._make_remote(config, models, orders or Orders())
        self._upkeep.also(self._obey)
        self._subscriptions = orders.queue.subscriptions if orders and orders.queue else {}
        # A stream's server may start later than this; a device or a file that is not there is a mistake.
        expected = {name for name, uri in uris.items() if uri.scheme != "url" and config.camera[name].enabled}
        self._attendance = Attendance(uris, set() if wait_for_cameras else expected)

    @property
    def readers(self) -> list[CameraReader]:
        """Of all cameras, in the order of the configuration."""
        return self._readers.all

    @property
    def subscriptions(self) -> Mapping[str, Handler]:
        """Topic filter -> handler of what this daemon wants to hear."""
        return self._subscriptions

    @property
    def conditions(self) -> dict[str, CameraCondition]:
        """State of each camera, in the order of the configuration."""
        return {name: self.pipeline.views[name].state for name in self._config.camera}

    def detect_now(self, cameras: Sequence[str]) -> None:
        """Search the whole next frame of these cameras."""
        self.pipeline.detect_now(cameras)

    def run(self, stop: threading.Event, seconds: float | None = None) -> None:
        """Work until `stop`, for some seconds, or to the end of all clips; then end all tracks.

        CameraError where a clip cannot be read, or where no device at all could be opened at the start;
        UnavailableError where the clips have ended and the broker did not take their events.
        """
        until_s = None if seconds is None else time.monotonic() + seconds
        self._start()
        try:
            while self._attendance.any_left and not stop.is_set() and (until_s is None or time.monotonic() < until_s):
                if change := self.pipeline.turn(TURN_TIMEOUT_S):
                    self._attendance.note(change)
                self._upkeep.turn()
                self._check_threads()
                self._notifier.turn_finished(self._status)
        finally:
            self._readers.stop()
            self.inbox.close()
            self.pipeline.stop()
        if not self._attendance.any_left:
            self._deliver(stop)

    def close(self) -> None:
        """Wait a little for the readers, which give their cameras back; one that hangs ends with the process."""
        self._readers.close(READER_STOP_S)
        self._remote.close(ERRAND_STOP_S)

    def _perception(self, config: Config, models: Models) -> Perception:
        follower = FaceFollower(self._workload.counting_search(models.search), config.detector)
        reader = self._workload.counting_reader(models.reader)
        return Perception(follower, reader, config.quality, config.model.max_faces_per_frame)

    def _publish(self, payload: Payload) -> None:
        self._outputs.publisher.publish(message(payload, self._node))

    def _make_upkeep(self, config: Config) -> Upkeep:
        return Upkeep(
            self.readers,
            self.inbox,
            self._publish,
            health=HealthMonitor(boot_id=self._boot_id, started_ns=time.monotonic_ns()),
            tester=self._tester,
            outbox_patience_s=_outbox_patience_s(config),
            meter=self._meter,
            latency=self.pipeline.latency,
            mqtt=self._outputs.mqtt,
            outbox=self._outputs.outbox,
            clock_synced=self._clock_synced,
            memory=self._outputs.memory,
            recorder=self._outputs.recorder,
            board=self._board,
        )

    def _make_remote(self, config: Config, models: Models, orders: Orders) -> Remote:
        outputs = self._outputs
        reloader = Reloader(
            orders.source,
            config,
            models,
            self._apply,
            recording=outputs.recorder is not None,
            on_reload=orders.on_reload,
        )
        return Remote(
            self,
            reloader,
            queue=orders.queue,
            replies=Replies(outputs.publisher.publish, node=config.node, boot_id=self._boot_id),
            pause_folder=outputs.memory.folder.path if outputs.memory else None,
            hangup=orders.hangup,
            ask_mode=lambda wanted: self._set_power_mode(wanted, orders),
        )

    def _set_power_mode(self, wanted: str, orders: Orders) -> str:
        """In a thread of its own."""
        try:
            return orders.set_power_mode(wanted)
        finally:
            if self._board:
                self._board.ask_mode_again()

    def _obey(self) -> Mapping[str, str]:
        """Between two turns: what others ask for."""
        self._readers.turn()
        self._remote.turn()
        self._governor.turn(time.monotonic_ns())
        if self._outputs.presence:
            if self._board:
                self._outputs.presence.use_senses(self._board.senses)
            self._outputs.presence.turn(time.monotonic_ns())
        return {
            "config-error": self._remote.problem,
            "camera-held": self._readers.problem,
            "governor": self._governor.problem,
        }

    def _apply(self, new: NewConfig) -> None:
        """Work by another configuration from the next turn on; cameras and rules that are the same notice nothing."""
        config, models, changes = new.config, new.models, new.changes
        if changes.tables:
            self._use_settings(new)
        for name in changes.removed:
            self._readers.remove(name)
            self.pipeline.remove(name)
            self._attendance.forget(name)
        for name in changes.restarted:
            self._readers.replace(name, config.camera[name])
            self.pipeline.restart(name)
        for name in changes.added:
            self._readers.add(name, config.camera[name])
            self.pipeline.add(name, lambda: self._perception(config, models))
        self._readers.order(config.camera)
        # Those without a list of cameras are about others now.
        if changes.added or changes.removed or self._config.rule != config.rule:
            self.pipeline.use_rules(config.rule)
        self._config = config
        self._upkeep.use(self._readers.all, self._readers.still_open, outbox_patience_s=_outbox_patience_s(config))
        for name in (*changes.restarted, *changes.added):
            self._attendance.add(name)
        self._readers.turn()
        if str(changes):
            info = node_info(config, models, self._boot_id)
            self._publish(info)
            self._on_applied(config, info)

    def _use_settings(self, new: NewConfig) -> None:
        config, models = new.config, new.models
        self.pipeline.use(
            lambda perception: perception.use(
                self._workload.counting_search(models.search),
                config.detector,
                self._workload.counting_reader(models.reader),
                config.quality,
                config.model.max_faces_per_frame,
            ),
            with_card_threshold(config.decide, models.reader),
        )
        if new.changes.networks or "self_test" in new.changes.tables:
            self._tester.use(models.search.main, models.reader, config.self_test.period_s)
        self._meter.period_s = config.telemetry_s
        self._governor.use(config.governor)

    def _start(self) -> None:
        """Tell what a restart left open, and only then open cameras that are not paused."""
        memory = self._outputs.memory
        ends = []
        for track in memory.left_open if memory else ():
            seq = self._number()
            ends.append(track.end(event_id=f"{self._boot_id}-{seq}", seq=seq, boot_id=self._boot_id))
        self.pipeline.start(time.time_ns(), left_open=ends)
        self._upkeep.start()
        if self._outputs.presence:
            self._outputs.presence.start()
        self._readers.turn()

    def _check_threads(self) -> None:
        """A thread that is missing would be missed by nobody else. UnavailableError where this node is another's.

        That of the sensors is a problem of health: a board that cannot be read must not end the watch of its cameras.
        """
        mqtt, memory = self._outputs.mqtt, self._outputs.memory
        if mqtt and mqtt.fatal:
            raise UnavailableError(mqtt.fatal)
        for what, part in (
            ("MQTT client", mqtt),
            ("recording of scores", self._outputs.recorder),
            ("outbox", memory.store if memory else None),
        ):
            if part and not part.alive:
                raise RuntimeError(f"the thread of the {what} has crashed; its error stands above")

    def _status(self) -> str:
        """How it is, for `systemctl status`."""
        mqtt, views = self._outputs.mqtt, self.pipeline.views
        return status_line(
            broker=mqtt.why_not_connected if mqtt else None,
            cameras={name: views[name] for name in self._config.camera},
            frames_per_s=self._frame_rate.take(sum(counts.looked_at for counts in self.inbox.counts().values())),
            problems=self._upkeep.problems,
        )

    def _deliver(self, stop: threading.Event) -> None:
        """Nobody asked to stop, so the broker gets time to take what is left."""
        mqtt, until_s = self._outputs.mqtt, time.monotonic() + DELIVER_S
        while mqtt and mqtt.pending and time.monotonic() < until_s and not stop.is_set():
            self._check_threads()
            self._notifier.turn_finished(self._status)
            time.sleep(0.02)  # not stop.wait(): a signal that sets it would meet its lock in this very thread
        if mqtt and mqtt.pending and not stop.is_set():
            raise UnavailableError(f"the broker did not take {mqtt.pending} events within {DELIVER_S:.0f} s")


def _outbox_patience_s(config: Config) -> float:
    """Two periods of the self-test, each of which leaves something to be acknowledged."""
    return 2.0 * config.self_test.period_s

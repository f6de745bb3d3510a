"""Wiring: from a configuration to a running daemon, and its orderly end."""

from __future__ import annotations

import logging
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import cv2
import numpy as np

import edge_fer
from edge_fer.align import CROP_PX
from edge_fer.capture.inbox import CameraChange, Inbox
from edge_fer.capture.reader import CameraReader
from edge_fer.capture.uri import parse_camera_uri
from edge_fer.classify import ExpressionReader, load_reader, require_xnnpack
from edge_fer.config import BrokerSettings, Config
from edge_fer.decide import DecideSettings
from edge_fer.detect import FaceDetector
from edge_fer.errors import CameraError, UnavailableError
from edge_fer.events import ModelInfo, NodeInfo, Publisher, message
from edge_fer.labels import EXPRESSIONS
from edge_fer.login import parse_broker_url, read_password
from edge_fer.mqtt import MqttPublisher
from edge_fer.pipeline import Pipeline
from edge_fer.publishers import EveryPublisher
from edge_fer.telemetry import ThroughputMeter, board_name
from edge_fer.tflite import Graph

log = logging.getLogger(__name__)

TURN_TIMEOUT_S = 0.2
"""How long a request to stop may wait for the next frame."""

BROKER_STOP_S, READER_STOP_S = 1.0, 0.3
"""Together well under the 2 s in which the daemon ends: a broker may be gone, a camera may hang in its driver."""

DELIVER_S = 10.0
"""How long the end of all clips waits for a broker to take the last events; a request to stop does not wait."""


@dataclass(frozen=True, slots=True)
class Models:
    """The networks, loaded and warm."""

    detector: FaceDetector
    reader: ExpressionReader


class Daemon:
    """Readers, pipeline and telemetry around one publisher."""

    def __init__(
        self,
        config: Config,
        models: Models,
        publisher: Publisher,
        boot_id: str,
        mqtt: MqttPublisher | None = None,
    ) -> None:
        """Nothing is opened yet. `publisher` gets all messages; `mqtt`, if any, is the part of it that may be late."""
        self._config, self._publisher, self._mqtt = config, publisher, mqtt
        uris = {name: parse_camera_uri(camera.uri) for name, camera in config.camera.items()}
        self.inbox = Inbox()
        self.pipeline = Pipeline(
            {name: str(uri) for name, uri in uris.items()},
            node=config.node,
            boot_id=boot_id,
            inbox=self.inbox,
            detector=models.detector,
            reader=models.reader,
            publisher=publisher,
            detector_settings=config.detector,
            decide_settings=_with_card_threshold(config.decide, models.reader),
        )
        self.readers = [CameraReader(name, uri, self.inbox) for name, uri in uris.items()]
        self._meter = ThroughputMeter(config.telemetry_s)
        self._unopened = {name for name, uri in uris.items()}  # no picture yet, and not failed either
        self._running = set(uris)
        self._reasons: dict[str, str] = {}
        self._ever_online = False

    def run(self, stop: threading.Event, seconds: float | None = None) -> None:
        """Work until `stop`, for some seconds, or to the end of all clips; then end all tracks.

        CameraError where a clip cannot be read, or where no camera at all could be opened at the start;
        UnavailableError where the clips have ended and the broker did not take their events.
        """
        until_s = None if seconds is None else time.monotonic() + seconds
        for reader in self.readers:
            reader.start()
        try:
            while self._running and not stop.is_set() and (until_s is None or time.monotonic() < until_s):
                if change := self.pipeline.turn(TURN_TIMEOUT_S):
                    self._note(change)
                if self._meter.due():
                    self._publish_throughput()
                if self._mqtt and not self._mqtt.alive:
                    raise RuntimeError("the thread of the MQTT client has crashed; its error stands above")
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

    def _note(self, change: CameraChange) -> None:
        """Log a camera's change once, and see whether there is anything left to do."""
        camera, was = change.camera, self._reasons.get(change.camera)
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
        log.warning("camera %s: %s; trying again until it is back", camera, change.reason)

    def _publish_throughput(self) -> None:
        frames = {name: view.frames for name, view in self.pipeline.views.items()}
        self._publisher.publish(message(self._meter.sample(frames, self.inbox.dropped), self._config.node))

    def _deliver(self, stop: threading.Event) -> None:
        """Nobody asked to stop, so the broker gets time to take what is left."""
        until_s = time.monotonic() + DELIVER_S
        while self._mqtt and self._mqtt.pending and time.monotonic() < until_s and not stop.wait(0.02):
            pass
        if self._mqtt and self._mqtt.pending and not stop.is_set():
            raise UnavailableError(f"the broker did not take {self._mqtt.pending} events within {DELIVER_S:.0f} s")


def load_models(config: Config) -> Models:
    """Load and warm the networks; ModelError where one is missing, damaged or slow here."""
    # OpenCV's own threads cost more CPU than they save time on pictures of this size.
    cv2.setNumThreads(1)
    find, read = config.detector, config.model
    detector = FaceDetector(find.model, min_score=find.min_score, runtime=read.runtime, threads=read.threads)
    require_xnnpack(detector.graph)
    reader = load_reader(
        read.network, read.precision, path=read.path, runtime=read.runtime, threads=read.threads, prior=read.prior
    )
    detector.detect(np.zeros((CROP_PX, CROP_PX, 3), np.uint8))
    reader.read(np.zeros((CROP_PX, CROP_PX), np.uint8))
    for graph in (detector.graph, reader.graph):
        log.info(
            "%s on %s, %d thread(s), XNNPACK takes %d of %d operators",
            *(Path(graph.name).name, graph.runtime, graph.threads, graph.xnnpack.taken, graph.xnnpack.total),
        )
    point = reader.point
    log.info(
        'reads at operating point %s, temperature %.2f; "uncertain" below %.2f',
        *(reader.point_name, point.temperature, _with_card_threshold(config.decide, reader).min_confidence),
    )
    return Models(detector, reader)


def _with_card_threshold(settings: DecideSettings, reader: ExpressionReader) -> DecideSettings:
    """The configured min_confidence, or the one of the operating point that the reader reads at."""
    if settings.min_confidence is not None:
        return settings
    return settings.model_copy(update={"min_confidence": reader.point.min_confidence})


def node_info(config: Config, models: Models, boot_id: str) -> NodeInfo:
    """What `/info` tells about this node."""

    def told(graph: Graph, point: str | None = None) -> ModelInfo:
        return ModelInfo(
            name=Path(graph.name).stem,
            sha256=graph.sha256,
            runtime=graph.runtime,
            threads=graph.threads,
            xnnpack_operators=graph.xnnpack.taken,
            operators=graph.xnnpack.total,
            operating_point=point,
        )

    return NodeInfo(
        version=edge_fer.__version__,
        boot_id=boot_id,
        board=board_name(),
        labels=list(EXPRESSIONS),
        models=[told(models.detector.graph), told(models.reader.graph, models.reader.point_name)],
        cameras=list(config.camera),
        config_sha256=config.sha256,
    )


@contextmanager
def running(
    config: Config, extra: Sequence[Publisher] = (), on_broker: Callable[[str], None] | None = None
) -> Iterator[Daemon]:
    """A daemon ready to run, connected to its broker if it has one; `offline` is published at the end."""
    with ExitStack() as stack:
        boot_id = uuid.uuid4().hex[:12]
        # Wrong settings are found before anything is loaded or connected.
        mqtt = _mqtt(config.broker, config.node, boot_id, on_broker) if config.broker else None
        models = load_models(config)
        publisher = EveryPublisher([*([mqtt] if mqtt else []), *extra])
        daemon = Daemon(config, models, publisher, boot_id, mqtt)
        stack.callback(daemon.close)
        if mqtt:
            mqtt.start()
            stack.callback(mqtt.stop, BROKER_STOP_S)
        publisher.publish(message(node_info(config, models, boot_id), config.node))
        yield daemon


def _mqtt(settings: BrokerSettings, node: str, boot_id: str, on_change: Callable[[str], None] | None) -> MqttPublisher:
    return MqttPublisher(
        parse_broker_url(settings.url),
        node=node,
        boot_id=boot_id,
        password=read_password(settings.password_file),
        ca_file=settings.ca_file,
        on_change=on_change,
    )


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set."""
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

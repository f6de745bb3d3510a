"""Wiring: from a configuration to a running daemon, and the signals that end it."""

from __future__ import annotations

import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from edge_fer.config import BrokerSettings, Config
from edge_fer.daemon import Daemon, Outputs
from edge_fer.events import Publisher, message
from edge_fer.loaded import load_models, node_info, with_card_threshold
from edge_fer.login import parse_broker_url, read_password
from edge_fer.memory.journal import Journal
from edge_fer.memory.pause import PauseControl
from edge_fer.memory.state_folder import StateFolder, state_folder
from edge_fer.mqtt import MqttPublisher
from edge_fer.publishers import EveryPublisher
from edge_fer.scores.record import ScoreRecorder, open_recording, recording_header
from edge_fer.upkeep import Memory

BROKER_STOP_S = 1.0
"""How long a request to stop waits for the broker, which may be gone."""


@contextmanager
def running(
    config: Config,
    extra: Sequence[Publisher] = (),
    on_broker: Callable[[str], None] | None = None,
    *,
    remember: bool = False,
    record_to: Path | None = None,
) -> Iterator[Daemon]:
    """A daemon ready to run, connected to its broker if it has one; `offline` is published at the end.

    `remember` keeps open tracks and a pause across restarts, in the state folder; `record_to` records scores.
    """
    with ExitStack() as stack:
        boot_id = uuid.uuid4().hex[:12]
        # Wrong settings are found before anything is loaded or connected.
        mqtt = _mqtt(config.broker, config.node, boot_id, on_broker) if config.broker else None
        memory = _memory(config, boot_id, stack) if remember else None
        models = load_models(config)
        recorder = None
        if record_to:
            header = recording_header(
                node=config.node,
                boot_id=boot_id,
                cameras=list(config.camera),
                decide=with_card_threshold(config.decide, models.reader),
                started_unix_ns=time.time_ns(),
                first_seq=1 + (len(memory.left_open) if memory else 0),
            )
            recorder = _recorder(record_to, header, stack)
        publisher = EveryPublisher([*([mqtt] if mqtt else []), *extra])
        daemon = Daemon(config, models, Outputs(publisher, mqtt, memory, recorder), boot_id)
        stack.callback(daemon.close)
        if mqtt:
            mqtt.start()
            stack.callback(mqtt.stop, BROKER_STOP_S)
        publisher.publish(message(node_info(config, models, boot_id), config.node))
        yield daemon


def _memory(config: Config, boot_id: str, stack: ExitStack) -> Memory:
    folder = StateFolder(state_folder(config.state_dir, config.node))
    stack.callback(folder.close)
    journal = Journal(None if folder.problem else folder.path)
    stack.callback(journal.stop)
    pause = PauseControl(folder.path, list(config.camera), node=config.node, boot_id=boot_id)
    return Memory(folder, journal, pause, tuple(journal.left_open()))


def _recorder(path: Path, header: Mapping[str, Any], stack: ExitStack) -> ScoreRecorder:
    recorder = ScoreRecorder(open_recording(path), header)
    recorder.start()
    stack.callback(recorder.close)
    return recorder


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

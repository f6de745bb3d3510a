"""Wiring: from a configuration to a running daemon, and the signals that end it."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from edge_fer.board_watch import BoardWatch, Senses
from edge_fer.config import BrokerSettings, Config
from edge_fer.daemon import Daemon, Orders, Outputs
from edge_fer.events import NodeInfo
from edge_fer.governor.findings import assumed_throttle_c
from edge_fer.homeassistant.presence import HomeAssistant
from edge_fer.loaded import Models, load_models, node_info, with_card_threshold
from edge_fer.login import Login, parse_broker_url
from edge_fer.memory.pause import PauseControl
from edge_fer.memory.state_folder import StateFolder, state_folder
from edge_fer.messages import Publisher, message
from edge_fer.metrics.settings import MetricsSettings
from edge_fer.mqtt.incoming import Handler
from edge_fer.mqtt.publisher import MqttPublisher
from edge_fer.notify import Notifier
from edge_fer.outbox.outbox import Outbox
from edge_fer.outbox.store import Store
from edge_fer.power_modes.ask import ask_power_mode
from edge_fer.power_modes.modes import open_power_modes
from edge_fer.publishers import EveryPublisher
from edge_fer.remote.queue import CommandQueue
from edge_fer.remote.reload import ConfigSource, Hangup
from edge_fer.retained import Leftovers
from edge_fer.scores.record import ScoreRecorder, open_recording, recording_header
from edge_fer.sensors.machine import Machine
from edge_fer.sensors.sensors import Sensors
from edge_fer.sensors.settings import PowerSettings
from edge_fer.sensors.thread import SensorThread
from edge_fer.upkeep import Memory

BROKER_STOP_S = 1.0
"""How long a request to stop waits for the broker, which may be gone."""

SENSOR_STOP_S = 0.1
"""How long it waits for a sensor, or a program that reads one, which may hang; the thread ends with the process."""

FIRST_READING_S = 1.0
"""How long the start waits for the sensors before it tells Home Assistant which there are."""


@contextmanager
def running(
    config: Config,
    extra: Sequence[Publisher] = (),
    on_broker: Callable[[str], None] | None = None,
    *,
    remember: bool = False,
    record_to: Path | None = None,
    source: ConfigSource | None = None,
    hangup: Hangup | None = None,
    machine: Machine | None = None,
    notifier: Notifier | None = None,
    wait_for_cameras: bool = False,
) -> Iterator[Daemon]:
    """A daemon ready to run, connected to its broker if it has one; `offline` is published at the end.

    `remember` keeps open tracks and a pause across restarts, in the state folder, and retained topics and Home
    Assistant in step with the configuration; `record_to` records scores.
    `source` is where the configuration is read again when a `hangup` was noted or a command asks for it; `machine` is
    whose sensors are read; `notifier` tells systemd how it goes. `wait_for_cameras` as in `Daemon`.
    """
    machine, notifier = machine or Machine(), notifier or Notifier()
    with ExitStack() as stack:
        boot_id = uuid.uuid4().hex[:12]
        commands = CommandQueue(config.commands, config.node, reserved=[config.homeassistant.prefix])
        subscriptions: dict[str, Handler] = dict(commands.subscriptions)
        # Wrong settings are found before anything is loaded or connected.
        memory = _memory(config, boot_id, stack) if remember else None
        outbox = Outbox(config.outbox, memory.store if memory else None, deliver=config.broker is not None)
        stack.callback(outbox.stop)
        mqtt = _mqtt(config.broker, config.node, boot_id, outbox, subscriptions, on_broker) if config.broker else None
        metrics = _metrics(config.metrics, stack)
        board = _board(config.power, boot_id, machine, stack)
        outbox.start()
        models = load_models(config)
        recorder = _recorder(record_to, config, models, boot_id, memory, stack) if record_to else None
        publisher = EveryPublisher([mqtt or outbox, *metrics, *extra])
        info = node_info(config, models, boot_id)
        orders = Orders(
            source,
            hangup or Hangup(),
            commands,
            on_reload=notifier.reload,
            set_power_mode=_mode_setter(machine),
        )
        presence = None
        if mqtt and remember:  # what a demonstration shows must not stay, nor take back what the daemon shows
            presence, leftovers = _at_the_broker(config, info, mqtt, board)
            subscriptions |= {**presence.subscriptions, **leftovers.subscriptions}
            orders = replace(orders, on_applied=_followers(presence, leftovers))
        outputs = Outputs(publisher, mqtt, outbox, presence, memory, recorder)
        daemon = Daemon(
            config, models, outputs, boot_id, orders, board, notifier=notifier, wait_for_cameras=wait_for_cameras
        )
        stack.callback(daemon.close)
        if mqtt:
            mqtt.start()
            stack.callback(mqtt.stop, BROKER_STOP_S)
        publisher.publish(message(info, config.node))
        stack.callback(notifier.stopping)  # before all that is closed above
        yield daemon


def _memory(config: Config, boot_id: str, stack: ExitStack) -> Memory:
    folder = StateFolder(state_folder(config.state_dir, config.node))
    stack.callback(folder.close)
    store = None if folder.problem else Store(folder.path)
    pause = PauseControl(folder.path, list(config.camera), node=config.node, boot_id=boot_id)
    return Memory(folder, store, pause, store.left_open if store else ())


def _recorder(
    path: Path, config: Config, models: Models, boot_id: str, memory: Memory | None, stack: ExitStack
) -> ScoreRecorder:
    header = recording_header(
        node=config.node,
        boot_id=boot_id,
        cameras=list(config.camera),
        decide=with_card_threshold(config.decide, models.reader),
        started_unix_ns=time.time_ns(),
        first_seq=1 + (len(memory.left_open) if memory else 0),
    )
    recorder = ScoreRecorder(open_recording(path), header)
    recorder.start()
    stack.callback(recorder.close)
    return recorder


def _metrics(settings: MetricsSettings, stack: ExitStack) -> list[Publisher]:
    """Who answers Prometheus, if anybody is to."""
    if settings.port is None:
        return []
    from edge_fer.metrics.collector import Metrics
    from edge_fer.metrics.server import MetricsServer

    metrics = Metrics()
    stack.callback(MetricsServer(metrics.registry, settings.host, settings.port).stop)
    return [metrics]


def _board(settings: PowerSettings, boot_id: str, machine: Machine, stack: ExitStack) -> BoardWatch | None:
    """The sensors, read in a thread from now on: what there is to show is known once it has read them."""
    if not settings.enabled:
        return None
    modes, sensors = open_power_modes(machine), Sensors(machine)
    thread = SensorThread(sensors, settings.sample_s)
    thread.start()
    stack.callback(thread.stop, SENSOR_STOP_S)
    return BoardWatch(
        thread,
        boot_id=boot_id,
        sample_s=settings.sample_s,
        ask_mode=modes.current if modes.kind else None,
        throttle_point_c=sensors.throttle_point_c or assumed_throttle_c(sensors.board),
    )


def _mode_setter(machine: Machine) -> Callable[[str], str]:
    """Asks the board's helper for a power mode."""
    return lambda wanted: ask_power_mode(wanted, machine)


def _first_senses(board: BoardWatch | None) -> Senses:
    """What the board tells at its first reading, which is mostly there by now; a sensor that is late shows up late."""
    if board is None:
        return Senses()
    until_s = time.monotonic() + FIRST_READING_S
    board.turn()
    while board.reading is None and time.monotonic() < until_s:
        time.sleep(0.02)
        board.turn()
    return board.senses


def _at_the_broker(
    config: Config, info: NodeInfo, mqtt: MqttPublisher, board: BoardWatch | None
) -> tuple[HomeAssistant, Leftovers]:
    """Those who keep in step with the configuration what the broker retains."""
    presence = HomeAssistant(config, info, mqtt.publish, mqtt.refresh, _first_senses(board))
    leftovers = Leftovers(config.node, config.camera, config.rule, mqtt.take_back)
    mqtt.on_connected = leftovers.opened
    return presence, leftovers


def _followers(presence: HomeAssistant, leftovers: Leftovers) -> Callable[[Config, NodeInfo], None]:
    """Those at the broker who must hear of another configuration."""

    def follow(config: Config, info: NodeInfo) -> None:
        leftovers.reload(config.camera, config.rule)
        presence.reload(config, info)

    return follow


def _mqtt(
    settings: BrokerSettings,
    node: str,
    boot_id: str,
    outbox: Outbox,
    subscriptions: Mapping[str, Handler],
    on_change: Callable[[str], None] | None,
) -> MqttPublisher:
    address = parse_broker_url(settings.url)
    return MqttPublisher(
        address,
        node=node,
        boot_id=boot_id,
        login=Login(address, user_file=settings.user_file, password_file=settings.password_file),
        tls_files=settings.tls_files,
        keepalive_s=settings.keepalive_s,
        outbox=outbox,
        subscriptions=subscriptions,
        envelope=settings.envelope,
        on_change=on_change,
    )


@contextmanager
def reload_on_hangup(stop: threading.Event) -> Iterator[Hangup]:
    """Notes each SIGHUP; sets `stop` where it came because the terminal was closed, which a daemon must not outlive."""
    hangup, on_terminal = Hangup(), _has_terminal()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if on_terminal and not _has_terminal():
            stop.set()
        else:
            hangup.note()

    before = signal.signal(signal.SIGHUP, handle)
    try:
        yield hangup
    finally:
        signal.signal(signal.SIGHUP, before)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


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

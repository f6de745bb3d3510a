"""Many boards on one mosquitto: python tests/system/fleet.py --nodes 200 --seconds 60.

The broker has the configuration of deploy/mosquitto/: TLS, passwords, access list, saving on changes. Every board is a
real publisher in this process, with payloads made from the daemon's own types; one subscriber sees everything. Boards
and subscriber share one interpreter and the broker's machine, so the times are an upper limit of what a broker adds.
"""

from __future__ import annotations

import json
import logging
import random
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "broker"), str(HERE.parents[1])]

from fleet_board import Board, Rates  # noqa: E402
from realbrokers import wait_until  # noqa: E402
from securedbroker import SecuredMosquitto, missing_programs  # noqa: E402

from edge_fer.login import PASSWORD_VARIABLE, BrokerAddress, Login, TlsFiles  # noqa: E402
from edge_fer.mqtt.control import Patience  # noqa: E402
from edge_fer.mqtt.publisher import MqttPublisher  # noqa: E402

SETTLE_S = 5.0
"""After all have connected, before anything is measured."""


@dataclass
class Heard:
    """What the subscriber got, each message with the time from its publishing."""

    latencies_ms: list[float] = field(default_factory=list)
    bytes_of: Counter[str] = field(default_factory=Counter)
    count_of: Counter[str] = field(default_factory=Counter)
    online: set[str] = field(default_factory=set)
    measuring: bool = False

    def on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        now_ns = time.monotonic_ns()
        _, node, below = message.topic.split("/", 2)
        if below == "status":
            (self.online.add if message.payload == b"online" else self.online.discard)(node)
        if not self.measuring:
            return
        kind = "camera/+/" + below.rsplit("/", 1)[1] if below.startswith("camera/") else below
        self.count_of[kind] += 1
        self.bytes_of[kind] += len(message.topic) + len(message.payload)
        if sent_ns := json.loads(message.payload).get("sent_ns") if message.payload[:1] == b"{" else None:
            self.latencies_ms.append((now_ns - sent_ns) / 1e6)


@dataclass(frozen=True)
class Figures:
    """What came of it."""

    nodes: int
    seconds: float
    connect_s: float  # until every board was online, at the start
    storm_s: float  # the same after the broker was killed and started again
    messages: int
    published: int
    payload_bytes: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    broker_cpu_percent: float
    broker_rss_bytes: int
    broker_db_bytes: int
    per_kind: dict[str, tuple[int, float]]  # messages, mean bytes of topic and payload

    def __str__(self) -> str:
        rows = [
            f"  {kind:24} {count / self.seconds:8.1f}/s {size:8.0f} bytes"
            for kind, (count, size) in self.per_kind.items()
        ]
        return "\n".join(
            [
                f"{self.nodes} boards for {self.seconds:.0f} s: {self.published} published, {self.messages} received",
                f"publish to receive: p50 {self.p50_ms:.1f} ms, p95 {self.p95_ms:.1f} ms, p99 {self.p99_ms:.1f} ms",
                f"{self.messages / self.seconds:.1f} messages/s, {self.payload_bytes / self.seconds:.0f} bytes/s",
                *rows,
                f"broker: {self.broker_cpu_percent:.0f} % of a core, RSS {self.broker_rss_bytes / 1e6:.1f} MB",
                f"its database: {self.broker_db_bytes / 1e3:.0f} kB",
                f"all online {self.connect_s:.1f} s after the start, {self.storm_s:.1f} s after a restart",
            ]
        )


def measure(nodes: int, seconds: float, rates: Rates, interval: int, tell: Callable[[str], None]) -> Figures:
    """Connect all, publish for so long, then kill the broker and see all come back."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="edge-fer-fleet-"))
        stack.callback(shutil.rmtree, folder)
        broker = SecuredMosquitto(folder, replaced={"autosave_interval 1\n": f"autosave_interval {interval}\n"})
        names = [f"board-{number:04}" for number in range(nodes)]
        _add_users(broker, names)
        broker.start()
        stack.callback(broker.kill)
        heard = Heard()
        stack.enter_context(_subscribed(broker, heard))
        began_s = time.monotonic()
        boards = [Board(name, _publisher(broker, name), rates, random.Random(name)) for name in names]  # noqa: S311
        for board in boards:
            stack.callback(board.publisher.stop, 0.0)
            board.publisher.start()
        wait_until(lambda: len(heard.online) == nodes, 120)
        connect_s = time.monotonic() - began_s
        tell(f"{nodes} boards online after {connect_s:.1f} s")
        for board in boards:
            board.say_hello()
        time.sleep(SETTLE_S)
        cpu_s, published = _run(boards, heard, broker, seconds)
        rss, database = broker.process.memory_info().rss, folder / "data" / "mosquitto.db"
        size = database.stat().st_size if database.exists() else 0
        tell("measured; the broker is killed and started again")
        heard.measuring = False
        storm_s = _storm(broker, heard, nodes)
    return _figures(heard, nodes, seconds, connect_s, storm_s, published, cpu_s, rss, size)


def _run(boards: list[Board], heard: Heard, broker: SecuredMosquitto, seconds: float) -> tuple[float, int]:
    """Let every board publish what is due; CPU seconds of the broker, and how many were published."""
    heard.measuring = True
    times, published = broker.process.cpu_times(), 0
    start_s = time.monotonic()
    while (now_s := time.monotonic()) < start_s + seconds:
        published += sum(board.turn(now_s) for board in boards)
        time.sleep(0.005)
    wait_until(lambda: not any(board.publisher.pending for board in boards), 30)
    time.sleep(1)  # samples on their way, which nobody acknowledges
    after = broker.process.cpu_times()
    return after.user + after.system - times.user - times.system, published


def _storm(broker: SecuredMosquitto, heard: Heard, nodes: int) -> float:
    """From the start of a broker that was killed until every board has said that it is online again."""
    broker.kill()
    wait_until(lambda: not heard.online, 30)
    broker.start()
    began_s = time.monotonic()
    wait_until(lambda: len(heard.online) == nodes, 180)
    return time.monotonic() - began_s


def _publisher(broker: SecuredMosquitto, name: str) -> MqttPublisher:
    address = BrokerAddress("localhost", broker.port, name, tls=True)
    return MqttPublisher(
        address,
        node=name,
        boot_id=f"{name}-boot",
        login=Login(address, environ={PASSWORD_VARIABLE: f"password-of-{name}"}),
        tls_files=TlsFiles(ca=broker.ca_file),
        patience=Patience(answer_s=30.0),
    )


def _add_users(broker: SecuredMosquitto, names: list[str]) -> None:
    """As setup.sh adds them, but all at once."""
    new = broker.folder / "new"
    new.write_text("".join(f"{name}:password-of-{name}\n" for name in names))
    subprocess.run(["mosquitto_passwd", "-U", str(new)], check=True)
    with (broker.keys / "passwords").open("a") as passwords:
        passwords.write(new.read_text())


@contextmanager
def _subscribed(broker: SecuredMosquitto, heard: Heard) -> Iterator[None]:
    """One who sees everything below edge-fer/, for as long as the context lasts."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.username_pw_set("watcher", broker.password("watcher"))
    client.tls_set_context(ssl.create_default_context(cafile=str(broker.ca_file)))
    ready = threading.Event()
    client.on_connect = lambda *_: client.subscribe("edge-fer/#", 1)
    client.on_subscribe = lambda *_: ready.set()
    # What was online before is not known any more.
    client.on_disconnect = lambda *_: heard.online.clear()
    client.on_message = heard.on_message
    client.reconnect_delay_set(1, 1)
    client.connect("localhost", broker.port)
    client.loop_start()
    try:
        wait_until(ready.is_set, 30)
        yield
    finally:
        client.disconnect()
        client.loop_stop()


def _figures(
    heard: Heard,
    nodes: int,
    seconds: float,
    connect_s: float,
    storm_s: float,
    published: int,
    cpu_s: float,
    rss_bytes: int,
    db_bytes: int,
) -> Figures:
    ordered = sorted(heard.latencies_ms)

    def quantile(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    return Figures(
        nodes=nodes,
        seconds=seconds,
        connect_s=connect_s,
        storm_s=storm_s,
        messages=sum(heard.count_of.values()),
        published=published,
        payload_bytes=sum(heard.bytes_of.values()),
        p50_ms=quantile(0.5),
        p95_ms=quantile(0.95),
        p99_ms=quantile(0.99),
        broker_cpu_percent=100 * cpu_s / seconds,
        broker_rss_bytes=rss_bytes,
        broker_db_bytes=db_bytes,
        per_kind={kind: (count, heard.bytes_of[kind] / count) for kind, count in sorted(heard.count_of.items())},
    )


@click.command()
@click.option("--nodes", default=200, show_default=True)
@click.option("--seconds", default=60.0, show_default=True)
@click.option("--events-per-s", default=0.2, show_default=True, help="Of each board.")
@click.option("--autosave-interval", default=1, show_default=True, help="Of the broker, in changes.")
def main(nodes: int, seconds: float, events_per_s: float, autosave_interval: int) -> None:
    """Measure a fleet on one mosquitto."""
    if missing := missing_programs():
        raise click.ClickException(missing)
    logging.getLogger("edge_fer").setLevel(logging.ERROR)  # each board would tell that the broker was killed
    figures = measure(nodes, seconds, Rates(events_per_s=events_per_s), autosave_interval, click.echo)
    click.echo(str(figures))


if __name__ == "__main__":
    main()

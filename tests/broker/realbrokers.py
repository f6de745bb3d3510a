"""A real mosquitto, a client that records what a broker delivers, and messages to publish."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, Union

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from ports import free_port

from edge_fer.broker import EmbeddedBroker
from edge_fer.messages import Message
from edge_fer.mqtt.control import Patience

T_co = TypeVar("T_co", covariant=True)
AnyBroker = Union["Mosquitto", EmbeddedBroker]


class Make(Protocol[T_co]):
    """A fixture that makes things with the given properties."""

    def __call__(self, *args: object, **more: object) -> T_co: ...


MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
NODE = "node-1"
SECRET = "correct-horse-battery"  # noqa: S105
STATUS_TOPIC = f"edge-fer/{NODE}/status"
EVENTS_TOPIC = f"edge-fer/{NODE}/camera/door/events"
STATE_TOPIC = f"edge-fer/{NODE}/camera/door/state"
QUICK = Patience(
    retry_min_s=0.05,
    retry_max_s=0.3,
    answer_s=20.0,
    claim_s=0.05,
    hold_min_s=0.2,
    hold_max_s=0.5,
    heal_s=0.1,
    told_s=0.2,
)


def wait_until(condition: Callable[[], Any], timeout_s: float = 60) -> None:
    """Fails when the condition has not come true in time, which is for machines that are slow and busy."""
    until_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until_s, "waited in vain"
        time.sleep(0.01)


def event(seq: int) -> Message:
    body = {"id": f"boot-{seq}", "seq": seq, "published_at": "", "replayed": False}
    return Message(EVENTS_TOPIC, qos=1, retain=False, body=body, kept="every")


def state(expression: str) -> Message:
    return Message(STATE_TOPIC, qos=1, retain=True, body={"expression": expression}, kept="newest")


@dataclass
class Mosquitto:
    """A mosquitto of its own; the same port at each start."""

    folder: Path
    options: str = "allow_anonymous true"
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Mosquitto:
        config = self.folder / "mosquitto.conf"
        # As root it would drop to a user that cannot read this folder.
        user = "user root\n" if os.geteuid() == 0 else ""
        config.write_text(f"listener {self.port} 127.0.0.1\npersistence false\n{user}{self.options}\n")
        with (self.folder / "mosquitto.log").open("ab") as out:
            self.process = subprocess.Popen([str(MOSQUITTO), "-v", "-c", str(config)], stdout=out, stderr=out)
        wait_until(self._answers)
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"mosquitto ended: {self.log()}"
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def log(self) -> str:
        return (self.folder / "mosquitto.log").read_text(errors="replace")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@dataclass
class Received:
    topic: str
    payload: bytes
    retained: bool  # it was there before the subscription
    qos: int
    properties: Any

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.payload)


class Subscriber:
    """Records everything below edge-fer/; connects again by itself, its QoS as given."""

    def __init__(self, port: int, qos: int = 1, user: str | None = None, password: str | None = None) -> None:
        self.messages: list[Received] = []
        self.on_message: Callable[[Received], None] = lambda _message: None
        self.subscriptions = 0
        self._qos = qos
        # amqtt speaks nothing newer; mosquitto sends properties only to clients of MQTT 5.
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
        self._port = port
        if user:
            self._client.username_pw_set(user, password)
        self._connect()

    def _connect(self) -> None:
        client = self._client
        client.on_connect = lambda *_: client.subscribe("edge-fer/#", self._qos)
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.reconnect_delay_set(1, 1)
        client.connect("127.0.0.1", self._port)
        client.loop_start()
        wait_until(lambda: self.subscriptions)

    def _on_subscribe(self, *_: object) -> None:
        self.subscriptions += 1

    def _on_message(self, _client: paho.Client, _data: object, got: paho.MQTTMessage) -> None:
        message = Received(got.topic, got.payload, got.retain, got.qos, got.properties)
        self.messages.append(message)
        self.on_message(message)

    def on(self, topic: str) -> list[Received]:
        return [message for message in list(self.messages) if message.topic == topic]

    def payloads(self, topic: str) -> list[bytes]:
        return [message.payload for message in self.on(topic)]

    def seqs(self) -> list[int]:
        """Of events, repetitions left out."""
        return list(dict.fromkeys(message.body["seq"] for message in self.on(EVENTS_TOPIC)))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def plain_port(broker: Mosquitto) -> int:
    """Of its second listener."""
    return int(broker.options.split("listener ")[1].split()[0])


def set_password(passwords: Path, password: str) -> None:
    """Of the user `cam`."""
    subprocess.run(["mosquitto_passwd", "-b", str(passwords), "cam", password], check=True)


@dataclass
class Authority:
    """A certificate authority: ca.pem; signs NAME.pem with NAME.key."""

    folder: Path

    def __post_init__(self) -> None:
        self.make("ca")

    def make(self, name: str) -> None:
        """An authority. From Python 3.13 on, its certificate must say what it may be used for."""
        usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self._openssl(*_NEW_KEY, "-x509", "-days", "2", "-subj", f"/CN={name}", *usage, *_to(name, "pem"))

    def sign(self, name: str, subject: str = "IP:127.0.0.1", by: str = "ca", *, days: str = "2") -> None:
        """A certificate; with -1 days it has expired."""
        # From Python 3.13 on, certificates must say whose key signed them.
        (self.folder / "names").write_text(f"subjectAltName={subject}\nauthorityKeyIdentifier=keyid\n")
        self._openssl(*_NEW_KEY, "-subj", f"/CN={name}", *_to(name, "csr"))
        signer = ("-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-CAcreateserial", "-days", days, "-extfile", "names")
        self._openssl("x509", "-req", "-in", f"{name}.csr", *signer, "-out", f"{name}.pem")

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=self.folder)


_NEW_KEY = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _to(name: str, what: str) -> tuple[str, ...]:
    return ("-keyout", f"{name}.key", "-out", f"{name}.{what}")


def said(caplog: pytest.LogCaptureFixture, part: str) -> list[str]:
    """What the publisher logged that holds this text."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("edge_fer.mqtt.") and part in record.getMessage()
    ]

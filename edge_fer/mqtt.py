"""The only importer of paho: a publisher that outlives its connections."""

from __future__ import annotations

import logging
import random
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt import MQTTException
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_fer.channels import STATUS, topic
from edge_fer.events import Message
from edge_fer.login import BrokerAddress, tls_context
from edge_fer.outbox import WINDOW, Outbox, Sent

log = logging.getLogger(__name__)

_LOSS = "has taken nothing for so long that events are lost, the oldest first"
_MQTT5, _MQTT311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
_NAMES = {_MQTT5: "MQTT 5", _MQTT311: "MQTT 3.1.1"}
_PASSWORD_CODES = ("Bad user name or password", "Not authorized")
# What paho before 2.2 lets through when the other end does not speak MQTT.
_NOT_MQTT = (MQTTException, struct.error, IndexError, KeyError, TypeError, ValueError)


@dataclass(frozen=True)
class Patience:
    """How long the publisher waits for what."""

    retry_min_s: float = 1.0
    retry_max_s: float = 30.0
    answer_s: float = 5.0
    """For a connection, and then for the broker's answer to CONNECT."""

    def pause_s(self, failures: int) -> float:
        """Before the next attempt: doubles with each failure, with jitter, so that a fleet does not return at once."""
        longest_s = min(self.retry_max_s, self.retry_min_s * 2.0 ** min(failures, 16))
        return max(self.retry_min_s, random.uniform(longest_s / 2, longest_s))  # noqa: S311


class _Link:
    """One connection, from CONNECT to its end, used by one thread; a new one is made for the next."""

    def __init__(self, client: paho.Client, acknowledged: Callable[[int, ReasonCode], None]) -> None:
        self._client = client
        self._acknowledged = acknowledged
        self.accepted = False
        self.refusal: ReasonCode | None = None
        self.end = ""  # why it ended; "" while it lasts
        self.window = WINDOW
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish

    def open(self, address: BrokerAddress, keepalive_s: int) -> None:
        """Connect and send CONNECT; OSError or UnicodeError (of the host name) where there is no way to the broker."""
        self._client.connect(address.host, address.port, keepalive_s)

    def step(self, waker: socket.socket, timeout_s: float) -> None:
        """Read and write what is possible; returns after the timeout, or as soon as there was something to do."""
        sock = self._client.socket()
        if sock is None:
            self.end = self.end or "connection closed"
            return
        # select() does not see what TLS has already read.
        decrypted = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        writers = [sock] if self._client.want_write() else []
        readable, writable, _ = select.select([sock, waker], writers, [], 0 if decrypted else max(0.0, timeout_s))
        if waker in readable:
            waker.recv(4096)
        try:
            if decrypted or sock in readable:
                self._client.loop_read()
        except _NOT_MQTT:
            self.abandon("the answer is not MQTT")
            return
        if writable:
            self._client.loop_write()
        self._client.loop_misc()

    def publish(self, where: str, payload: bytes, *, qos: int, retain: bool, properties: Properties | None) -> int:
        """Hand over to paho, which writes at once where the socket allows it; the message id."""
        return self._client.publish(where, payload, qos, retain, properties).mid

    def disconnect(self) -> None:
        """Say goodbye: the broker forgets the last will."""
        self._client.disconnect()

    def abandon(self, why: str) -> None:
        """Close without a goodbye: the broker publishes the last will."""
        self.end = self.end or why
        if (sock := self._client.socket()) is not None:
            sock.close()

    def _on_connect(self, _client: paho.Client, _data: object, _flags: object, code: ReasonCode, props: object) -> None:
        if code.is_failure:
            self.refusal = code
            return
        self.accepted = True
        self.window = min(WINDOW, getattr(props, "ReceiveMaximum", WINDOW))

    def _on_disconnect(
        self, _client: paho.Client, _data: object, flags: paho.DisconnectFlags, code: ReasonCode, _props: object
    ) -> None:
        told = flags.is_disconnect_packet_from_server or code == "Keep alive timeout"
        self.end = self.end or (str(code) if told else "connection closed")

    def _on_publish(self, _client: paho.Client, _data: object, mid: int, code: ReasonCode, _props: object) -> None:
        self._acknowledged(mid, code)


class MqttPublisher:
    """Publishes to a broker that may be away; one thread of its own does all network work.

    Events are kept in memory until acknowledged (at most `capacity`, then the oldest are dropped and counted) and sent
    in order; of a state the newest is kept, and sent again at each connection; samples are lost without connection.
    MQTT 5, or 3.1.1 where the broker refuses 5, does not answer it or closes. `on_change` gets each change of state as
    text, from the thread of the publisher. ConfigError for a `ca_file` that is of no use.
    """

    def __init__(
        self,
        address: BrokerAddress,
        *,
        node: str,
        boot_id: str,
        password: str | None = None,
        ca_file: Path | None = None,
        keepalive_s: int = 30,
        capacity: int = 10_000,
        on_change: Callable[[str], None] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._address = address
        self._node = node
        self._boot_id = boot_id
        self._password = password if address.user else None
        self._tls = tls_context(address, ca_file)
        self._keepalive_s = keepalive_s
        self._on_change = on_change
        self._patience = patience or Patience()
        self._outbox = Outbox(capacity)
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._waker, self._wake_end = socket.socketpair()
        self._waker.settimeout(0)
        self._wake_end.settimeout(0)
        self._wake_lock = threading.Lock()
        self._stopping = threading.Event()
        self._stop_at_s = float("inf")  # of time.monotonic()
        self._speaks_mqtt5 = False
        self._without_since_s = time.monotonic()
        self._reported: set[str] = set()
        self._refused_topics: set[str] = set()
        self.refused = 0
        if password and not address.user:
            log.warning("broker password is not used: %s names no user (mqtt://user@host)", address)

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted a connection that still lasts."""
        return self._outbox.open

    @property
    def alive(self) -> bool:
        """Whether the thread runs; False after start() and before stop() means that it crashed."""
        return self._thread.is_alive()

    @property
    def pending(self) -> int:
        """Events that the broker has not acknowledged yet."""
        return self._outbox.pending

    @property
    def acknowledged(self) -> int:
        """Events that the broker has acknowledged."""
        return self._outbox.acknowledged_events

    @property
    def dropped(self) -> int:
        """Events that were thrown away because too many waited."""
        return self._outbox.dropped

    def start(self) -> None:
        """Connect, in the background, for as long as it takes; once."""
        self._without_since_s = time.monotonic()
        self._thread.start()

    def publish(self, message: Message) -> None:
        """Take over a message; any thread, never blocks."""
        dropped = self._outbox.dropped
        self._outbox.put(message)
        if self._outbox.dropped > dropped and _LOSS not in self._reported:
            # Only logged: on_change belongs to the other thread, and may block.
            self._reported.add(_LOSS)
            log.warning("broker %s %s", self._address, _LOSS)
        self._wake()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Deliver what waits, then the status `offline`, then disconnect; returns within the timeout in any case.

        Without connection it tries once more if events wait. Where the timeout cuts it short, the connection is closed
        without a goodbye, so that the last will still says `offline`.
        """
        end_s = time.monotonic() + timeout_s
        self._stop_at_s = end_s - timeout_s / 10  # the rest is for closing
        self._stopping.set()
        self._wake()
        if self._thread.ident is not None:
            self._thread.join(max(0.0, end_s - time.monotonic()))
        if not self._thread.is_alive():
            self._close_waker()
        if waiting := self.pending:
            log.warning("broker %s: %d events were not delivered", self._address, waiting)

    def _wake(self) -> None:
        with self._wake_lock:
            if self._wake_end.fileno() >= 0:
                try:
                    self._wake_end.send(b"\0")
                except BlockingIOError:
                    return  # full of wake-ups already

    def _close_waker(self) -> None:
        with self._wake_lock:
            self._wake_end.close()
            self._waker.close()

    def _run(self) -> None:
        failures = 0
        try:
            while time.monotonic() < self._stop_at_s:
                is_last = self._stopping.is_set()
                if is_last and not self._outbox.pending:
                    return
                began_s = time.monotonic()
                link = self._connect()
                if link is not None:
                    self._serve(link)
                if is_last:
                    return
                # A connection that breaks at once (two nodes of one name) is as good as a failure.
                lasted = link is not None and time.monotonic() - began_s > self._patience.retry_max_s
                failures = 1 if lasted else failures + 1
                self._stopping.wait(self._patience.pause_s(failures))
        finally:
            self._close_waker()

    def _connect(self) -> _Link | None:
        """A connection that the broker has accepted; None, with the cause reported, where there is none.

        MQTT 3.1.1 is tried where MQTT 5 is refused as such, but also on silence and a closed connection, since old
        brokers do that. A broker that restarts does too: so after MQTT 5 has worked once nothing else is tried, and
        3.1.1 is never remembered beyond its connection. A refused password ends the attempt.
        """
        problem = ""
        for protocol in (_MQTT5,) if self._speaks_mqtt5 else (_MQTT5, _MQTT311):
            link = _Link(self._client(protocol), self._acknowledged)
            try:
                link.open(self._address, self._keepalive_s)
            except (OSError, UnicodeError) as err:
                self._report(f"not reachable ({_cause(err)}); retrying")
                return None
            self._await_answer(link)
            if link.accepted and not link.end:
                self._speaks_mqtt5 = protocol is _MQTT5
                self._reported.clear()
                self._tell(f"connected to {self._address} ({_NAMES[protocol]}){self._outage()}", logging.INFO)
                return link
            if link.refusal is not None and link.refusal != "Unsupported protocol version":
                self._report(_refusal(link.refusal))
                return None
            problem = f"does not answer as an MQTT broker ({link.refusal or link.end}); retrying"
        if time.monotonic() < self._stop_at_s:
            self._report(problem)
        return None

    def _client(self, protocol: MQTTProtocolVersion) -> paho.Client:
        """A fresh client, so each connection is a clean start."""
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            f"edge-fer-{self._node}",
            clean_session=None if protocol is _MQTT5 else True,
            protocol=protocol,
            reconnect_on_failure=False,
        )
        client.connect_timeout = self._patience.answer_s
        if self._address.user:
            client.username_pw_set(self._address.user, self._password)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        will_properties = self._boot_property(PacketTypes.WILLMESSAGE) if protocol is _MQTT5 else None
        client.will_set(topic(STATUS, self._node), b"offline", STATUS.qos, STATUS.retain, will_properties)
        return client

    def _boot_property(self, packet_type: int) -> Properties:
        """Tells which run a status is of: a late last will of the run before is not about this one."""
        properties = Properties(packet_type)  # type: ignore[no-untyped-call]
        properties.UserProperty = ("boot_id", self._boot_id)
        return properties

    def _await_answer(self, link: _Link) -> None:
        patience_s = self._patience.answer_s
        until_s = time.monotonic() + patience_s
        while not (link.accepted or link.end):
            left_s = min(until_s, self._stop_at_s) - time.monotonic()
            if left_s <= 0:
                link.abandon(f"no answer within {patience_s:.0f} s")
            else:
                link.step(self._waker, min(1.0, left_s))

    def _serve(self, link: _Link) -> None:
        """Send what there is to send until the connection ends, or stop() and the outbox is empty."""
        self._outbox.opened()
        try:
            self._send_status(link, b"online")
            while not link.end:
                self._send_waiting(link)
                if self._stopping.is_set() and self._outbox.idle:
                    self._say_goodbye(link)
                    return
                self._step(link)
        finally:
            self._outbox.closed()
        self._without_since_s = time.monotonic()
        if not self._stopping.is_set():
            self._tell(f"broker {self._address} lost ({_loss(link.end)}); retrying", logging.WARNING)

    def _say_goodbye(self, link: _Link) -> None:
        self._send_status(link, b"offline")
        while not (link.end or self._outbox.idle):
            self._step(link)
        if not link.end:
            link.disconnect()
        while not link.end:
            self._step(link)

    def _step(self, link: _Link) -> None:
        # A second at most, because paho looks after the keep-alive only when it is called.
        left_s = self._stop_at_s - time.monotonic()
        if left_s <= 0:
            link.abandon("stopped")
        else:
            link.step(self._waker, min(1.0, left_s))

    def _send_waiting(self, link: _Link) -> None:
        while not link.end and (what := self._outbox.next(link.window)):
            message, event = what
            payload = message.to_json()
            number = link.publish(message.topic, payload, qos=message.qos, retain=message.retain, properties=None)
            if message.qos:
                self._outbox.sent(number, Sent(message.topic, event))

    def _send_status(self, link: _Link, status: bytes) -> None:
        where = topic(STATUS, self._node)
        properties = self._boot_property(PacketTypes.PUBLISH) if self._speaks_mqtt5 else None
        number = link.publish(where, status, qos=STATUS.qos, retain=STATUS.retain, properties=properties)
        self._outbox.sent(number, Sent(where, None))

    def _acknowledged(self, message_id: int, code: ReasonCode) -> None:
        sent = self._outbox.acknowledged(message_id)
        if sent is None or not code.is_failure:
            return
        # Sending it again would be refused again. MQTT 3.1.1 has no way to tell: there it is lost silently.
        self.refused += 1
        if sent.topic not in self._refused_topics:
            self._refused_topics.add(sent.topic)
            user = f"user {self._address.user!r}" if self._address.user else "anonymous clients"
            log.error(
                "broker %s refuses messages on %s (%s): check what it allows to %s",
                self._address, sent.topic, code, user,
            )  # fmt: skip

    def _outage(self) -> str:
        without_s = time.monotonic() - self._without_since_s
        lost = f"; {self._outbox.dropped} events were lost since the start" if self._outbox.dropped else ""
        return (
            f", after {without_s:.1f} s without a connection{lost}" if without_s >= self._patience.retry_min_s else lost
        )

    def _report(self, problem: str) -> None:
        """Once per cause and outage."""
        if problem not in self._reported:
            self._reported.add(problem)
            self._tell(f"broker {self._address} {problem}", logging.WARNING)

    def _tell(self, text: str, level: int) -> None:
        log.log(level, "%s", text)
        if self._on_change is not None:
            self._on_change(text)


def _cause(err: OSError | UnicodeError) -> str:
    if isinstance(err, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted, {err.verify_message}: check broker.ca_file"
    return str(getattr(err, "strerror", None) or err)


def _refusal(code: ReasonCode) -> str:
    cure = ": check broker user and password" if str(code) in _PASSWORD_CODES else ""
    return f"refused the connection ({code}){cure}; retrying"


def _loss(why: str) -> str:
    return f"{why}: does another node have this name?" if why == "Session taken over" else why

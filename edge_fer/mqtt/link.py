"""One connection to a broker, from CONNECT to its end."""

from __future__ import annotations

import logging
import re
import select
import socket
import ssl
import struct
from collections.abc import Sequence
from typing import Protocol

import paho.mqtt.client as paho
from paho.mqtt import MQTTException
from paho.mqtt.enums import LogLevel
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_fer.channels import WINDOW
from edge_fer.login import BrokerAddress
from edge_fer.mqtt.incoming import Incoming

log = logging.getLogger(__name__)

LARGEST_PACKET = 268_435_455
"""What MQTT itself allows, in bytes."""

LARGEST_RECEIVED = 1024 * 1024
"""What the broker is asked to deliver at most, in bytes: a message of 200 MB must not fill a board's memory. Only
MQTT 5 can say so."""

# What paho before 2.2 lets through when the other end does not speak MQTT.
_NOT_MQTT = (MQTTException, struct.error, IndexError, KeyError, TypeError, ValueError)


class Listener(Protocol):
    """Who serves a connection that was accepted. Called in step()."""

    def acknowledged(self, message_id: int, code: ReasonCode) -> None:
        """The broker has taken, or refused, a message."""

    def granted(self, message_id: int, codes: Sequence[ReasonCode]) -> None:
        """The broker has answered a subscription."""

    def received(self, message: Incoming) -> None:
        """The broker has delivered a message."""


class Link:
    """One connection, from CONNECT to its end, used by one thread; a new one is made for the next."""

    def __init__(self, client: paho.Client) -> None:
        self._client = client
        self.listener: Listener | None = None
        self.accepted = False
        self.refusal: ReasonCode | None = None
        self.end = ""  # why it ended; "" while it lasts
        self.told: ReasonCode | None = None  # why the broker ended it, if it said so
        self.tls_alert = ""  # OpenSSL's name of what ended it, such as TLSV13_ALERT_CERTIFICATE_REQUIRED
        self.garbled = False  # whether it ended because of an answer that paho could not read
        self.window = WINDOW
        self.largest_packet = LARGEST_PACKET
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_log = self._on_log
        client.on_socket_close = self._on_socket_close

    @property
    def is_mqtt5(self) -> bool:
        """Whether it speaks MQTT 5, not 3.1.1."""
        return self._client.protocol == paho.MQTTv5

    def open(self, address: BrokerAddress, keepalive_s: int) -> None:
        """Connect and send CONNECT; OSError or UnicodeError (of the host name) where there is no way to the broker."""
        properties = None
        if self.is_mqtt5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.MaximumPacketSize = LARGEST_RECEIVED
        self._client.connect(address.host, address.port, keepalive_s, properties=properties)

    def step(self, waker: socket.socket, timeout_s: float) -> None:
        """Read and write what is possible; returns after the timeout, or as soon as there was something to do."""
        sock = self._client.socket()
        if sock is None:
            self.end = self.end or "connection closed"
            return
        # select() does not see what TLS has already read.
        pending = getattr(sock, "pending", None)
        decrypted = bool(pending and pending())
        writers = [sock] if self._client.want_write() else []
        readable, writable, _ = select.select([sock, waker], writers, [], 0 if decrypted else max(0.0, timeout_s))
        if waker in readable:
            waker.recv(4096)
        try:
            if decrypted or sock in readable:
                self._client.loop_read()
        except _NOT_MQTT:
            self.garbled = True
            self.abandon("the answer is not MQTT")
            return
        if writable:
            self._client.loop_write()
        self._client.loop_misc()

    def publish(self, where: str, payload: bytes, *, qos: int, retain: bool, properties: Properties | None) -> int:
        """Hand over to paho, which writes at once where the socket allows it; the message id."""
        return self._client.publish(where, payload, qos, retain, properties).mid

    def subscribe(self, where: str, *, as_published: bool = False) -> int:
        """Ask for a topic, at QoS 1; the message id. 0 where the connection has ended meanwhile.

        `as_published`: under MQTT 5, `retained` tells how it was published, not only what there was before.
        """
        if as_published and self.is_mqtt5:
            return self._client.subscribe(where, options=SubscribeOptions(1, retainAsPublished=True))[1] or 0
        return self._client.subscribe(where, 1)[1] or 0

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
        self.largest_packet = min(LARGEST_PACKET, getattr(props, "MaximumPacketSize", LARGEST_PACKET))

    def _on_disconnect(
        self, _client: paho.Client, _data: object, flags: paho.DisconnectFlags, code: ReasonCode, _props: object
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self.told = code
        told = flags.is_disconnect_packet_from_server or code == "Keep alive timeout"
        self.end = self.end or (str(code) if told else "connection closed")

    def _on_publish(self, _client: paho.Client, _data: object, mid: int, code: ReasonCode, _props: object) -> None:
        if self.listener:
            self.listener.acknowledged(mid, code)

    def _on_subscribe(
        self, _client: paho.Client, _data: object, mid: int, codes: list[ReasonCode], _props: object
    ) -> None:
        if self.listener:
            self.listener.granted(mid, codes)

    def _on_message(self, _client: paho.Client, _data: object, got: paho.MQTTMessage) -> None:
        if self.listener:
            try:
                where = got.topic
            except UnicodeDecodeError:
                return  # of no subscription of ours
            properties = got.properties
            self.listener.received(
                Incoming(
                    where,
                    bytes(got.payload),
                    got.retain,
                    getattr(properties, "ResponseTopic", None),
                    getattr(properties, "CorrelationData", None),
                    dict(getattr(properties, "UserProperty", ())),
                )
            )

    def _on_log(self, _client: paho.Client, _data: object, level: int, text: str) -> None:
        # paho tells nowhere else why a connection that was made broke: under TLS 1.3 the broker looks at a client's
        # certificate after the handshake.
        if level == LogLevel.MQTT_LOG_ERR and (found := re.search(r"\[SSL: (\w+)\]", text)):
            self.tls_alert = found[1]
        if "malformed packet" in text:
            self.garbled = True

    def _on_socket_close(self, _client: paho.Client, _data: object, sock: object) -> None:
        # Where a board is slower than the broker's refusal, already CONNECT finds the connection reset; why is still
        # there to be read.
        if self.accepted or self.tls_alert or not isinstance(sock, ssl.SSLSocket):
            return
        try:
            sock.recv(1)
        except OSError as err:  # as are those of TLS
            reason = str(getattr(err, "reason", None))
            self.tls_alert = reason if "_ALERT_" in reason else ""

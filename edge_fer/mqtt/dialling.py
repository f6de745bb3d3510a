"""From an address to a broker's answer: the version of MQTT that it speaks, or why there is no connection."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from edge_fer.login import BrokerAddress, Credentials
from edge_fer.mqtt.link import Link, Listener
from edge_fer.mqtt.problems import TLS, UNREACHABLE
from edge_fer.mqtt.tls_causes import other_cause, tls_alert, tls_cause

MQTT5, MQTT311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
NAMES = {True: "MQTT 5", False: "MQTT 3.1.1"}  # by whether it is 5

LOGIN_CODES = ("Bad user name or password", "Not authorized", "Bad authentication method", "Banned")

_UNSUPPORTED = "Unsupported protocol version"


class NoConnectionError(Exception):
    """Why there is none; for log and health."""

    def __init__(self, code: str, text: str) -> None:
        """`code` of the problem; `text` goes on after the broker's address, and is empty where stop() ended it."""
        super().__init__(text)
        self.code = code


class RefusedError(Exception):
    """The broker has answered, and does not want this client."""

    def __init__(self, reason: ReasonCode, protocols: Sequence[MQTTProtocolVersion]) -> None:
        """`protocols` from the one in which it answered."""
        super().__init__(str(reason))
        self.reason, self.protocols = reason, protocols


@dataclass(frozen=True)
class Dialler:
    """Calls one broker; each connection is a clean start."""

    address: BrokerAddress
    keepalive_s: int
    answer_s: float  # for a connection, and then for the broker's answer to CONNECT
    waker: socket.socket
    left_s: Callable[[], float]  # that stop() allows
    listener: Listener | None = None

    def client(
        self, protocol: MQTTProtocolVersion, name: str, credentials: Credentials, tls: ssl.SSLContext | None
    ) -> paho.Client:
        """For one connection."""
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            name,
            clean_session=None if protocol is MQTT5 else True,
            protocol=protocol,
            transport="websockets" if self.address.path else "tcp",
            reconnect_on_failure=False,
        )
        client.connect_timeout = self.answer_s
        if self.address.path:
            client.ws_set_options(self.address.path, _websocket_headers(self.address))
        if credentials.user:
            client.username_pw_set(*credentials)
        if tls is not None:
            client.tls_set_context(tls)
        return client

    def connect(
        self, protocols: Sequence[MQTTProtocolVersion], new_client: Callable[[MQTTProtocolVersion], paho.Client]
    ) -> Link:
        """A connection that the broker has accepted; RefusedError or NoConnectionError otherwise.

        The next protocol is tried where one is refused as such, but also on silence and a closed connection, since old
        brokers do that.
        """
        problem = ""
        for number, protocol in enumerate(protocols):
            link = self._call(new_client(protocol))
            if link.accepted and not link.end:
                return link
            if link.tls_alert:
                raise NoConnectionError(TLS, f"refuses TLS: {tls_alert(link.tls_alert)}; retrying")
            if link.refusal is not None and link.refusal != _UNSUPPORTED:
                raise RefusedError(link.refusal, protocols[number:])
            problem = f"does not answer as an MQTT broker ({link.refusal or link.end}); retrying"
        raise NoConnectionError(UNREACHABLE, problem if self.left_s() > 0 else "")

    def _call(self, client: paho.Client) -> Link:
        link = Link(client)
        link.listener = self.listener
        try:
            link.open(self.address, self.keepalive_s)
        except ssl.SSLError as err:
            raise NoConnectionError(TLS, f"not reachable ({tls_cause(err, self.address)}); retrying") from err
        except (OSError, UnicodeError) as err:
            cause = other_cause(err, self.address)
            raise NoConnectionError(UNREACHABLE, f"not reachable ({cause}); retrying") from err
        until_s = time.monotonic() + self.answer_s
        while not (link.accepted or link.end):
            left_s = min(until_s - time.monotonic(), self.left_s())
            if left_s <= 0:
                link.abandon(f"no answer within {self.answer_s:.0f} s")
            else:
                link.step(self.waker, min(1.0, left_s))
        return link


def _websocket_headers(address: BrokerAddress) -> dict[str, str] | None:
    """Paho writes an IPv6 address without its brackets."""
    return {"Host": f"[{address.host}]:{address.port}"} if ":" in address.host else None

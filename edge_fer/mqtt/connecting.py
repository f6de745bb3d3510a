"""From an address to a connection that the broker has accepted, or to the reason why there is none."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_fer.channels import STATUS, topic
from edge_fer.errors import ConfigError
from edge_fer.login import BrokerAddress, Credentials, Login, TlsFiles, tls_context
from edge_fer.mqtt.control import Control
from edge_fer.mqtt.dialling import LOGIN_CODES, MQTT5, MQTT311, Dialler, NoConnectionError, RefusedError
from edge_fer.mqtt.link import Link
from edge_fer.mqtt.problems import LOGIN, QUOTA, TLS, UNREACHABLE

log = logging.getLogger(__name__)

_LONGEST_OLD_ID = 23  # what a broker of MQTT 3.1.1 must accept


class Connector:
    """Makes connections to one broker, each a clean start with the last will of this node."""

    def __init__(
        self,
        address: BrokerAddress,
        *,
        node: str,
        boot_id: str,
        login: Login,
        tls_files: TlsFiles,
        keepalive_s: int,
        answer_s: float,
        control: Control,
    ) -> None:
        """ConfigError for files that are of no use."""
        self._address, self._node, self._boot_id = address, node, boot_id
        self._login, self._tls_files = login, tls_files
        self._dialler = Dialler(address, keepalive_s, answer_s, control.socket, lambda: control.left_s)
        self._speaks_mqtt5 = False
        self._short_id = False
        self._tls = tls_context(address, tls_files)
        self._credentials = login.read()
        if self._credentials.password and not self._credentials.user:
            log.warning("broker password is not used: %s names no user (mqtt://user@host, broker.user_file)", address)

    @property
    def user(self) -> str:
        """As whom the broker knows this node, for messages."""
        if name := self._credentials.user:
            return f"user {name!r}"
        return "this node's certificate" if self._tls_files.cert else "anonymous clients"

    def connect(self) -> Link:
        """A connection that the broker has accepted; NoConnectionError otherwise.

        MQTT 3.1.1 is tried where MQTT 5 is refused as such, but also on silence and a closed connection. A broker that
        restarts does that too: so after MQTT 5 has worked once nothing else is tried, and 3.1.1 is never remembered
        beyond its connection. A refused password ends the attempt. Passwords and certificates are read again, because
        they may have been renewed.
        """
        self._read_files()
        try:
            link = self._dial((MQTT5,) if self._speaks_mqtt5 else (MQTT5, MQTT311))
        except RefusedError as err:
            raise refusal(err.reason, self._credentials) from err
        self._speaks_mqtt5 = link.is_mqtt5
        return link

    def _dial(self, protocols: Sequence[MQTTProtocolVersion]) -> Link:
        try:
            return self._dialler.connect(protocols, self._client)
        except RefusedError as err:
            if self._short_id or err.reason != "Client identifier not valid":
                raise
            self._short_id = True
            return self._dialler.connect(err.protocols, self._client)

    def _read_files(self) -> None:
        try:
            self._credentials = self._login.read()
        except ConfigError as err:
            raise NoConnectionError(LOGIN, f"cannot be logged in to: {err}; retrying") from err
        try:
            self._tls = tls_context(self._address, self._tls_files)
        except ConfigError as err:
            raise NoConnectionError(TLS, f"cannot be connected to: {err}; retrying") from err

    def _client(self, protocol: MQTTProtocolVersion) -> paho.Client:
        client = self._dialler.client(protocol, self._client_id(), self._credentials, self._tls)
        will_properties = boot_property(self._boot_id, PacketTypes.WILLMESSAGE) if protocol is MQTT5 else None
        client.will_set(topic(STATUS, self._node), b"offline", STATUS.qos, STATUS.retain, will_properties)
        return client

    def _client_id(self) -> str:
        """Of this run: a second instance of the node must not throw this one out, for the claims decide who stays."""
        name = f"edge-fer-{self._node}-{self._boot_id}"
        return hashlib.sha256(name.encode()).hexdigest()[:_LONGEST_OLD_ID] if self._short_id else name


def boot_property(boot_id: str, packet_type: int) -> Properties:
    """Tells which run a status is of: a late last will of the run before is not about this one."""
    properties = Properties(packet_type)  # type: ignore[no-untyped-call]
    properties.UserProperty = ("boot_id", boot_id)
    return properties


def refusal(reason: ReasonCode, credentials: Credentials) -> NoConnectionError:
    """What a broker's refusal means, and what to do about it."""
    code = str(reason)
    if code not in LOGIN_CODES:
        return NoConnectionError(
            QUOTA if code == "Quota exceeded" else UNREACHABLE, f"refused the connection ({code}); retrying"
        )
    user = f"user {credentials.user!r}" if credentials.user else "no user"
    password = "a password" if credentials.password else "no password"
    return NoConnectionError(
        LOGIN, f"refused the connection ({code}; {user}, {password}): check broker user and password; retrying"
    )

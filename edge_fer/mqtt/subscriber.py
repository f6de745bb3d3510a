"""Listens to nodes, and outlives its connections."""

from __future__ import annotations

import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from edge_fer.capture.backoff import Backoff
from edge_fer.channels import BASE
from edge_fer.login import BrokerAddress, Credentials
from edge_fer.mqtt.dialling import LOGIN_CODES, MQTT5, MQTT311, NAMES, Dialler, NoConnectionError, RefusedError
from edge_fer.mqtt.incoming import Handler, Incoming
from edge_fer.mqtt.link import Link

KEEPALIVE_S = 30
ANSWER_S = 5.0
"""For a connection, and then for the broker's answer to CONNECT."""


class Connection(NamedTuple):
    """How it stands with the broker."""

    connected: bool
    text: str  # one sentence, without credentials
    refused: bool = False  # the broker answers, but not to this user: waiting does not cure that


class Subscriber:
    """Receives what nodes publish; one thread of its own does all network work, until stop().

    MQTT 5, or 3.1.1 where the broker refuses 5, does not answer it or closes. Both callbacks are called in that thread
    and must neither block nor raise; `on_change` gets each change of the connection, a problem once until it changes.
    """

    def __init__(
        self,
        address: BrokerAddress,
        *,
        on_message: Handler,
        on_change: Callable[[Connection], None],
        nodes: Sequence[str] = (),
        credentials: Credentials = Credentials(),  # noqa: B008 - frozen
        tls: ssl.SSLContext | None = None,
        backoff: Backoff | None = None,
        answer_s: float = ANSWER_S,
    ) -> None:
        """All nodes where none is named; `tls` is for an address with TLS."""
        self._on_message, self._on_change = on_message, on_change
        self._filters = [f"{BASE}/{node}/#" for node in nodes or ("+",)]
        self._credentials, self._tls = credentials, tls
        self._backoff = backoff or Backoff(first_s=1.0)
        self._client_id = f"edge-fer-watch-{secrets.token_hex(6)}"
        self._thread = threading.Thread(target=self._run, name="mqtt-watch", daemon=True)
        self._waker, self._wake_end = socket.socketpair()
        self._waker.settimeout(0)
        self._stopping = threading.Event()
        self._dialler = Dialler(address, KEEPALIVE_S, answer_s, self._waker, self._left_s, listener=self)
        self._asked: dict[int, str] = {}  # subscriptions without an answer yet, by message id
        self._refused: list[str] = []
        self._told: Connection | None = None
        self._protocol = ""

    @property
    def alive(self) -> bool:
        """Whether the thread runs; False between start() and stop() means that it crashed."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Connect, in the background, for as long as it takes; once."""
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Say goodbye and end; returns within the timeout in any case."""
        self._stopping.set()
        self._wake_end.send(b"\0")
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        if not self._thread.is_alive():
            self._waker.close()
            self._wake_end.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            began_s = time.monotonic()
            link = self._connect()
            if link is not None:
                self._serve(link)
                self._backoff.worked(time.monotonic() - began_s)
            self._stopping.wait(self._backoff.next_s())

    def _connect(self) -> Link | None:
        """A connection that the broker has accepted; None, with the cause told, where there is none."""
        try:
            link = self._dialler.connect((MQTT5, MQTT311), self._client)
        except RefusedError as err:
            self._tell(_refusal(err.reason))
            return None
        except NoConnectionError as err:
            if text := str(err):
                self._tell(Connection(connected=False, text=text))
            return None
        self._protocol = NAMES[link.is_mqtt5]
        self._asked = {link.subscribe(where): where for where in self._filters}
        self._refused = []
        return link

    def _client(self, protocol: MQTTProtocolVersion) -> paho.Client:
        """A fresh one, so each connection is a clean start, and what is retained comes anew."""
        return self._dialler.client(protocol, self._client_id, self._credentials, self._tls)

    def _left_s(self) -> float:
        return 0.0 if self._stopping.is_set() else float("inf")

    def _serve(self, link: Link) -> None:
        while not (link.end or self._stopping.is_set()):
            link.step(self._waker, 1.0)  # no longer: paho looks after the keep-alive only when it is called
        if not link.end:
            link.disconnect()
            link.step(self._waker, 0)
            link.abandon("stopped")
            return
        self._tell(Connection(connected=False, text=f"lost ({link.end}); retrying"))

    def received(self, message: Incoming) -> None:
        """See Listener."""
        self._on_message(message)

    def granted(self, message_id: int, codes: Sequence[ReasonCode]) -> None:
        """See Listener."""
        where = self._asked.pop(message_id, "")
        self._refused += [f"{where} ({code})" for code in codes if code.is_failure]
        if self._asked:
            return
        text = f"connected ({self._protocol})"
        if self._refused:
            shown = ", ".join(self._refused[:3]) + (" ..." if len(self._refused) > 3 else "")  # noqa: PLR2004 - one line
            text += f", but this user may not read {shown}: check what the broker allows to it"
        self._tell(Connection(connected=True, text=text, refused=len(self._refused) == len(self._filters)))

    def acknowledged(self, message_id: int, code: ReasonCode) -> None:
        """See Listener; nothing is published here."""

    def _tell(self, connection: Connection) -> None:
        if connection != self._told:
            self._told = connection
            self._on_change(connection)


def _refusal(code: ReasonCode) -> Connection:
    of_login = str(code) in LOGIN_CODES
    cure = ": check user and password" if of_login else "; retrying"
    return Connection(connected=False, text=f"refuses the connection ({code}){cure}", refused=of_login)

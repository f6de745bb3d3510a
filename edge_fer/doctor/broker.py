"""Is the broker there, and does it let this node in? Logged in as somebody else, silent, gone at once."""

from __future__ import annotations

import secrets
import socket
import time

from edge_fer.doctor.finding import Finding, failed, ok, skipped, warning
from edge_fer.doctor.patient import Patient
from edge_fer.errors import ConfigError
from edge_fer.login import Credentials, Login, parse_broker_url, tls_context
from edge_fer.mqtt.connecting import refusal
from edge_fer.mqtt.dialling import LOGIN_CODES, MQTT5, MQTT311, NAMES, Dialler, NoConnectionError, RefusedError
from edge_fer.mqtt.link import Link
from edge_fer.mqtt.problems import LOGIN, TLS, UNREACHABLE

ANSWER_S = 4.0
"""For a connection, and then for the broker's answer to CONNECT."""

WHOLE_S = 15.0
_KEEPALIVE_S = 30
_ID_BYTES = 3  # with its name 22 characters: every broker takes 23

_CURES = {
    UNREACHABLE: "does the broker run, and listen beyond its own machine? check host and port of broker.url, the "
    "network and the firewall",
    LOGIN: "check user and password. What only systemd gives to the service (LoadCredential=) is not seen from here",
    TLS: "docs/doctor.md#broker names each cause; a wrong clock on this machine is one",
}


def check_broker(patient: Patient) -> list[Finding]:
    """Connects under a client id of its own, without a last will; publishes nothing, subscribes to nothing."""
    settings = patient.config.broker if patient.config else None
    if settings is None:
        return [skipped("[broker] is not configured: events go nowhere but to --print")]
    address = parse_broker_url(settings.url)
    login = Login(
        address,
        user_file=settings.user_file,
        password_file=settings.password_file,
        environ=patient.place.environ,
    )
    try:
        credentials = login.read()
    except ConfigError as err:
        return [
            failed(str(err), "make it readable for the daemon's user, and look as that user: sudo -u USER edge-fer")
        ]
    waker, wake_end = socket.socketpair()
    until_s = time.monotonic() + WHOLE_S
    dialler = Dialler(address, _KEEPALIVE_S, ANSWER_S, waker, lambda: until_s - time.monotonic())
    tls = tls_context(address, settings.tls_files)
    name = f"edge-fer-doctor-{secrets.token_hex(_ID_BYTES)}"

    began_s = time.monotonic()
    with waker, wake_end:
        try:
            link = dialler.connect((MQTT5, MQTT311), lambda protocol: dialler.client(protocol, name, credentials, tls))
        except RefusedError as err:
            return [_refused(str(address), err, credentials)]
        except NoConnectionError as err:
            found = str(err) or f"no answer within {WHOLE_S:g} s"
            return [failed(_told(str(address), found), _CURES.get(err.code, ""))]
        took_ms = (time.monotonic() - began_s) * 1e3
        _leave(link, waker)
    user = f"user {credentials.user!r}" if credentials.user else "without a user"
    return [ok(f"{address} lets this node in ({NAMES[link.is_mqtt5]}, {user}) after {took_ms:.0f} ms")]


def _refused(broker: str, err: RefusedError, credentials: Credentials) -> Finding:
    problem = refusal(err.reason, credentials)
    found = _told(broker, str(problem))
    if str(err.reason) == "Client identifier not valid":
        cure = "it takes only client ids that it knows; whether the daemon's is one is not told by this"
        return warning(found, cure)
    if str(err.reason) in LOGIN_CODES:
        return failed(found, _CURES[LOGIN])
    return failed(found, "see the broker's own log")


def _told(broker: str, text: str) -> str:
    return f"{broker} {text.removesuffix('; retrying')}"


def _leave(link: Link, waker: socket.socket) -> None:
    link.disconnect()
    link.step(waker, 0)
    link.abandon("looked")

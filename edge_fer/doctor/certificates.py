"""How long certificates last: the broker's, and those in the files of [broker]."""

from __future__ import annotations

import re
import socket
import ssl
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from edge_fer.doctor.finding import Finding, failed, ok, skipped, warning
from edge_fer.doctor.patient import Patient
from edge_fer.login import BrokerAddress, parse_broker_url, tls_context

SOON_DAYS = 14
SOON_SHARE = 0.25
"""Of its whole life: a certificate for a few days is renewed in the last of them."""

ANSWER_S = 5.0

_SEQUENCE, _INTEGER, _UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x30, 0x02, 0x17, 0x18, 0xA0
_SHORT = 0x80
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class Validity(NamedTuple):
    """Of a certificate, Unix time."""

    from_s: float
    until_s: float


def check_certificates(patient: Patient) -> list[Finding]:
    """Each that is looked at when a connection is made; one that ends soon is a warning."""
    settings = patient.config.broker if patient.config else None
    if settings is None:
        return [skipped("[broker] is not configured")]
    address = parse_broker_url(settings.url)
    context = tls_context(address, settings.tls_files)
    if context is None:
        return [skipped("the connection is not encrypted")]
    now_s = patient.place.unix_s()
    findings = []
    for key, file in (("ca_file", settings.ca_file), ("cert_file", settings.cert_file)):
        if file is not None:
            soonest = min(map(validity, _certificates(file)), key=lambda one: one.until_s)
            findings.append(_judge(f"broker.{key}", soonest, f"renew {file}", now_s))
    try:
        shown = validity(_of_broker(address, context))
    except OSError:  # as are those of TLS; why is told where the connection is tried
        return [*findings, skipped("no encrypted connection: see the broker's check", "of the broker")]
    return [*findings, _judge("of the broker", shown, "renew it at the broker", now_s)]


def validity(der: bytes) -> Validity:
    """When a certificate begins and ends to be valid; ValueError where the bytes are none.

    RFC 5280, 4.1: Certificate = SEQUENCE { TBSCertificate = SEQUENCE { [0] version, serial, algorithm, issuer,
    validity = SEQUENCE { from, until }, ...; Python's ssl has no function for a certificate that nobody shows.
    """
    try:
        inside = _content(_content(der, 0, _SEQUENCE), 0, _SEQUENCE)
        place = _after(inside, 0) if inside[0] == _VERSION else 0
        for _ in ("serial", "algorithm", "issuer"):
            place = _after(inside, place)
        times = _content(inside, place, _SEQUENCE)
        return Validity(_time(times, 0), _time(times, _after(times, 0)))
    except IndexError as err:
        raise ValueError("not a certificate") from err


def _certificates(file: Path) -> list[bytes]:
    """All in a file, in DER."""
    return [ssl.PEM_cert_to_DER_cert(text) for text in _PEM.findall(file.read_text(encoding="latin-1"))]


def _of_broker(address: BrokerAddress, context: ssl.SSLContext) -> bytes:
    """The certificate that it shows, once it is found to be right; OSError."""
    with (
        socket.create_connection((address.host, address.port), ANSWER_S) as plain,
        context.wrap_socket(plain, server_hostname=address.host) as encrypted,
    ):
        shown = encrypted.getpeercert(binary_form=True)
    if shown is None:
        raise OSError("no certificate was shown")
    return shown


def _judge(name: str, found: Validity, renew: str, now_s: float) -> Finding:
    until = f"{datetime.fromtimestamp(found.until_s, tz=timezone.utc):%Y-%m-%d %H:%M} UTC"
    left_s = found.until_s - now_s
    if left_s <= 0:
        return failed(f"has expired on {until}", f"{renew}; or is the clock of this machine wrong?", name)
    if now_s < found.from_s:
        begins = f"{datetime.fromtimestamp(found.from_s, tz=timezone.utc):%Y-%m-%d %H:%M} UTC"
        return failed(f"is not valid before {begins}", "set the clock of this machine", name)
    if left_s < min(SOON_DAYS * 86_400, SOON_SHARE * (found.until_s - found.from_s)):
        days, hours = divmod(int(left_s // 3600), 24)
        left = f"{days} days" if days > 1 else f"{24 * days + hours} hours"
        return warning(f"expires in {left}, on {until}", renew, name)
    return ok(f"valid until {until}", name)


def _content(der: bytes, place: int, kind: int) -> bytes:
    """What is inside the element at this place, which must be of this kind."""
    if der[place] != kind:
        raise ValueError(f"not a certificate: kind {der[place]:#x} where {kind:#x} must be")
    start, end = _bounds(der, place)
    return der[start:end]


def _after(der: bytes, place: int) -> int:
    return _bounds(der, place)[1]


def _bounds(der: bytes, place: int) -> tuple[int, int]:
    """Of the content of the element at this place: X.690, 8.1.3."""
    length = der[place + 1]
    start = place + 2
    if length >= _SHORT:
        digits = length - _SHORT
        length = int.from_bytes(der[start : start + digits], "big")
        start += digits
    if start + length > len(der):
        raise ValueError("not a certificate: cut short")
    return start, start + length


def _time(der: bytes, place: int) -> float:
    kind = der[place]
    if kind not in (_UTC_TIME, _GENERALIZED_TIME):
        raise ValueError(f"not a certificate: kind {kind:#x} where a time must be")
    start, end = _bounds(der, place)
    text = der[start:end].decode("ascii")
    if kind == _UTC_TIME:  # RFC 5280, 4.1.2.5.1: 50 to 99 are of the last century
        text = ("19" if text >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()

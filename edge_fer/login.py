"""Where a broker listens, and what is needed to log in: address, password, certificates."""

from __future__ import annotations

import logging
import os
import re
import ssl
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from edge_fer.errors import ConfigError

log = logging.getLogger(__name__)

PASSWORD_VARIABLE = "EDGE_FER_MQTT_PASSWORD"  # noqa: S105 - a name, not a secret
DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True)
class BrokerAddress:
    """Where a broker listens, and as whom to log in; str() is its URL, without a password."""

    host: str
    port: int
    user: str | None = None
    tls: bool = False

    def __str__(self) -> str:
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{user}{host}:{self.port}"


def parse_broker_url(url: str) -> BrokerAddress:
    """The address in `mqtt://[user@]host[:port]` or `mqtts://...` (TLS); ConfigError says what is wrong with it.

    A password in it is refused, because URLs end up in logs and process lists; no message repeats it.
    """
    try:
        return _read_url(url)
    except ValueError as err:
        # Whatever stands before the last @ may hold a password, even where the URL cannot be parsed.
        shown = re.sub(r"^(\w+://)?.*@", r"\1...@", url, flags=re.DOTALL)
        if "@" not in url:  # mqtt://user:password, the host forgotten
            shown = re.sub(r"(://[^/@:\[\]]*):(?!\d{1,5}(/|$)).*", r"\1:...", shown, flags=re.DOTALL)
        problem = str(err)
    raise ConfigError(
        f"broker URL {shown!r}: {problem}; right is mqtt://[user@]host[:port] or mqtts://[user@]host[:port] "
        "(an IPv6 address in brackets)"
    )


def _read_url(url: str) -> BrokerAddress:
    """ValueError with a reason that repeats nothing secret."""
    if any(char.isspace() for char in url):
        raise ValueError("white space in it")
    if "://" not in url:
        raise ValueError("no scheme")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("no valid host") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise ValueError(f"unknown scheme {parts.scheme!r}")
    if parts.password is not None:
        raise ValueError(
            f"a password in it: give it in the environment variable {PASSWORD_VARIABLE} or in the file named by "
            "broker.password_file"
        )
    if not parts.hostname:
        raise ValueError("no host")
    try:
        port = DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("the port is no number from 1 to 65535")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("more than a host and a port")
    return BrokerAddress(
        parts.hostname, port, unquote(parts.username) if parts.username else None, parts.scheme == "mqtts"
    )


def read_password(password_file: Path | None, environ: Mapping[str, str] = os.environ) -> str | None:
    """The password from EDGE_FER_MQTT_PASSWORD, else the only line of the file, else None.

    ConfigError where the file cannot be read or is empty; a warning in the log where everyone can read it.
    """
    if environ.get(PASSWORD_VARIABLE):
        return environ[PASSWORD_VARIABLE]
    if password_file is None:
        return None
    try:
        password = password_file.read_text(encoding="utf-8").rstrip("\r\n")
        mode = stat.S_IMODE(password_file.stat().st_mode)
    except OSError as err:
        raise ConfigError(f"broker.password_file: {password_file} cannot be read ({err.strerror})") from err
    except UnicodeDecodeError:
        # Not chained: the error holds the bytes of the file.
        raise ConfigError(f"broker.password_file: {password_file} is not a text file in UTF-8") from None
    if not password:
        raise ConfigError(f"broker.password_file: {password_file} is empty; it must hold the password, on one line")
    if mode & stat.S_IROTH:
        log.warning("broker.password_file: everyone can read %s (mode %03o); chmod 640 or less", password_file, mode)
    return password


def tls_context(address: BrokerAddress, ca_file: Path | None) -> ssl.SSLContext | None:
    """For a broker with TLS: its name is checked, against the system's authorities or those in the file.

    ConfigError where the file is of no use.
    """
    if not address.tls:
        if ca_file is not None:
            raise ConfigError(f"broker.ca_file: of no use with {address}, which is not encrypted; right is mqtts://")
        return None
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except ssl.SSLError as err:
        raise ConfigError(f"broker.ca_file: {ca_file} holds no certificate in PEM format ({err.reason})") from err
    except OSError as err:
        raise ConfigError(f"broker.ca_file: {ca_file} cannot be read ({err.strerror})") from err

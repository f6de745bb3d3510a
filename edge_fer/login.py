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
from typing import NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit

from edge_fer.errors import ConfigError

log = logging.getLogger(__name__)

PASSWORD_VARIABLE = "EDGE_FER_MQTT_PASSWORD"  # noqa: S105 - a name, not a secret
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
"""Where systemd puts what LoadCredential= names."""

DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
DEFAULT_PATH = "/mqtt"
"""Of WebSockets, as most brokers have it."""


@dataclass(frozen=True)
class BrokerAddress:
    """Where a broker listens, and as whom to log in; str() is its URL, without a password."""

    host: str
    port: int
    user: str | None = None
    tls: bool = False
    path: str = ""  # of WebSockets, beginning with a slash; "" where MQTT goes over TCP as it is

    @property
    def scheme(self) -> str:
        """How to talk to it: a key of DEFAULT_PORTS."""
        return ("wss" if self.tls else "ws") if self.path else ("mqtts" if self.tls else "mqtt")

    def __str__(self) -> str:
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{user}{host}:{self.port}{self.path}"


class Credentials(NamedTuple):
    """As whom to log in; never shown."""

    user: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r})"


class TlsFiles(NamedTuple):
    """PEM files for TLS; without `ca`, the system's authorities count."""

    ca: Path | None = None
    cert: Path | None = None  # of this node
    key: Path | None = None  # of `cert`; in the same file without it


def parse_broker_url(url: str) -> BrokerAddress:
    """The address in `mqtt://[user@]host[:port]`, `mqtts://...` (TLS), `ws://...[/path]` or `wss://...` (WebSockets).

    ConfigError says what is wrong with it. A password in it is refused, because URLs end up in logs and process lists;
    no message repeats it.
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
        f"broker URL {shown!r}: {problem}; right is mqtt://[user@]host[:port], mqtts:// for TLS, or "
        "ws://[user@]host[:port][/path] and wss:// for WebSockets (an IPv6 address in brackets)"
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
    user = unquote(parts.username) if parts.username else None
    return BrokerAddress(parts.hostname, _port(parts), user, parts.scheme in ("mqtts", "wss"), _path(parts))


def _port(parts: SplitResult) -> int:
    try:
        port = DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("the port is no number from 1 to 65535")
    return port


def _path(parts: SplitResult) -> str:
    websockets = parts.scheme in ("ws", "wss")
    if (parts.path not in ("", "/") and not websockets) or parts.query or parts.fragment:
        raise ValueError("more than a host, a port and a path" if websockets else "more than a host and a port")
    if not (parts.path.isascii() and parts.path.isprintable()):
        raise ValueError("letters in the path that must be percent-encoded")
    return (parts.path or DEFAULT_PATH) if websockets else ""


class Login:
    """Where user and password stand; read again for each connection, so that a changed file needs no restart."""

    def __init__(
        self,
        address: BrokerAddress,
        *,
        user_file: Path | None = None,
        password_file: Path | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._user = address.user
        self._password = environ.get(PASSWORD_VARIABLE) or None
        folder = environ.get(CREDENTIALS_VARIABLE)
        self._user_file = _given(folder, "mqtt-user") or user_file
        self._password_file = _given(folder, "mqtt-password") or password_file
        self._warned = False

    def read(self) -> Credentials:
        """The user of the URL, else the file's; the password of the environment, else the file's.

        ConfigError where a file cannot be read or holds none.
        """
        user, password = self._user, self._password
        if user is None and self._user_file is not None:
            user = _read_line("user", self._user_file)
        if password is None and self._password_file is not None:
            password = _read_line("password", self._password_file)
            self._warn_of(self._password_file)
        return Credentials(user, password)

    def _warn_of(self, file: Path) -> None:
        mode = stat.S_IMODE(file.stat().st_mode)
        if mode & stat.S_IROTH and not self._warned:
            self._warned = True
            log.warning("broker.password_file: everyone can read %s (mode %03o); chmod 640 or less", file, mode)


def _given(folder: str | None, name: str) -> Path | None:
    """A credential that systemd gives to this service."""
    path = Path(folder, name) if folder else None
    return path if path and path.exists() else None


def _read_line(what: str, file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as err:
        raise ConfigError(f"broker.{what}_file: {file} cannot be read ({err.strerror})") from err
    except UnicodeDecodeError:
        # Not chained: the error holds the bytes of the file.
        raise ConfigError(f"broker.{what}_file: {file} is not a text file in UTF-8") from None
    if not text:
        raise ConfigError(f"broker.{what}_file: {file} is empty; it must hold the {what}, on one line")
    if "\n" in text or "\0" in text:
        raise ConfigError(f"broker.{what}_file: {file} holds more than one line; it must hold the {what} alone")
    return text


def tls_context(address: BrokerAddress, files: TlsFiles = TlsFiles()) -> ssl.SSLContext | None:  # noqa: B008 - frozen
    """For a broker with TLS: its name is always checked, against the system's authorities or those in the file.

    None where the address is not encrypted. ConfigError where a file is of no use.
    """
    if not address.tls:
        for key, file in (("ca_file", files.ca), ("cert_file", files.cert), ("key_file", files.key)):
            if file is not None:
                right = "wss" if address.path else "mqtts"
                raise ConfigError(
                    f"broker.{key}: of no use with {address}, which is not encrypted; right is {right}://"
                )
        return None
    try:
        context = ssl.create_default_context(cafile=None if files.ca is None else str(files.ca))
    except ssl.SSLError as err:
        raise ConfigError(f"broker.ca_file: {files.ca} holds no certificate in PEM format ({err.reason})") from err
    except OSError as err:
        raise ConfigError(f"broker.ca_file: {files.ca} cannot be read ({err.strerror})") from err
    if files.cert is not None:
        _show_certificate(context, files.cert, files.key)
    elif files.key is not None:
        raise ConfigError("broker.key_file: of no use without broker.cert_file")
    return context


def _show_certificate(context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
    where = f"broker.cert_file: {cert}" + (f" with broker.key_file {key}" if key else "")
    _check_readable("cert_file", cert)
    if key is not None:
        _check_readable("key_file", key)
    try:
        # Without an answer, OpenSSL would ask at the terminal for the password of an encrypted key.
        context.load_cert_chain(cert, key, password="")
    except ssl.SSLError as err:
        if err.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"{where}: this is not the key of this certificate") from err
        raise ConfigError(
            f"{where}: right are a certificate and its key, not encrypted, in PEM format ({err.reason})"
        ) from err


def _check_readable(key: str, file: Path) -> None:
    try:
        file.open("rb").close()
    except OSError as err:
        raise ConfigError(f"broker.{key}: {file} cannot be read ({err.strerror})") from err

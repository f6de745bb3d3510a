"""Privacy: what of this node can be seen, heard or ordered by whom."""

from __future__ import annotations

import ipaddress
import os
import stat
from pathlib import Path

from edge_fer.doctor.finding import Finding, ok, skipped, warning
from edge_fer.doctor.patient import Patient
from edge_fer.errors import UnavailableError
from edge_fer.login import CREDENTIALS_VARIABLE, parse_broker_url
from edge_fer.memory.state_folder import LOCK_FILE, daemon_runs
from edge_fer.privacy import hide_password

_NO_CONFIG = "no configuration"


def check_encryption(patient: Patient) -> list[Finding]:
    """Who can listen on the way to the broker."""
    settings = patient.config.broker if patient.config else None
    if settings is None:
        return [skipped("[broker] is not configured")]
    address = parse_broker_url(settings.url)
    if address.tls:
        return [ok(f"{address}: encrypted, the broker's certificate is checked")]
    if is_loopback(address.host):
        return [ok(f"{address}: not encrypted, but it does not leave this machine")]
    right = "wss" if address.path else "mqtts"
    cure = f"a broker with TLS, and {right}:// in broker.url: deploy/mosquitto sets one up"
    return [warning(f"{address}: everyone in the network can read events, states and the password", cure)]


def check_secret_files(patient: Patient) -> list[Finding]:
    """Whether others on this machine can read passwords."""
    config, file = patient.config, patient.config_file
    if config is None or file is None:
        return [skipped(_NO_CONFIG)]
    secret: list[tuple[str, Path]] = []
    if any(hide_password(camera.uri) != camera.uri for camera in config.camera.values()):
        secret.append(("passwords of cameras stand in it", file))
    if broker := config.broker:
        if broker.password_file:
            secret.append(("broker.password_file", broker.password_file))
        if key := broker.key_file or broker.cert_file:
            secret.append(("broker.key_file", key))
    open_to_all = [(what, path) for what, path in secret if _readable_to_all(path)]
    if not open_to_all:
        return [ok("no file with a secret can be read by everyone" if secret else "no secret is in a file")]
    return [
        warning(f"everyone on this machine can read {path} ({what})", f"chmod 640 {path}, its group the daemon's")
        for what, path in open_to_all
    ]


def check_metrics(patient: Patient) -> list[Finding]:
    """Who can read the metrics."""
    if patient.config is None:
        return [skipped(_NO_CONFIG)]
    settings = patient.config.metrics
    if settings.port is None:
        return [ok("off")]
    where = f"http://{settings.host}:{settings.port}/metrics"
    if is_loopback(settings.host):
        return [ok(f"{where}: of this machine only")]
    cure = 'metrics.host = "127.0.0.1", and a proxy with a password and encryption before it'
    return [warning(f"{where}: without password or encryption, for everyone who can reach it", cure)]


def check_commands(patient: Patient) -> list[Finding]:
    """Who can order this node about."""
    config = patient.config
    if config is None:
        return [skipped(_NO_CONFIG)]
    if not config.commands.allow:
        return [ok("none is taken over MQTT")]
    if config.broker is None:
        return [ok("no broker, so nobody can give any")]
    named = ", ".join(config.commands.allow)
    address = parse_broker_url(config.broker.url)
    if not address.tls and not is_loopback(address.host):
        found = f"{named}: taken over a connection that is not encrypted"
        return [warning(found, "mqtts:// in broker.url, or commands.allow = []")]
    if not _logs_in(patient):
        return [warning(f"{named}: taken from a broker without a login", "a broker with users and an access list")]
    opens = "; resume opens cameras that somebody closed" if "resume" in config.commands.allow else ""
    return [ok(f"{named}: from whoever may publish on this node's cmd topics{opens}")]


def check_recording(patient: Patient) -> list[Finding]:
    """Whether the running daemon keeps more than events."""
    import psutil

    never = "pictures are never kept"
    try:
        folder = patient.state_dir
        if not daemon_runs(folder):
            return [ok(f"{never}; no daemon of this node runs")]
        words = psutil.Process(int((folder / LOCK_FILE).read_text(encoding="ascii"))).cmdline()
    except (UnavailableError, OSError, ValueError, psutil.Error) as err:
        return [skipped(f"{never}; what the daemon was started with is not known ({err})", cure="try with sudo")]
    if any(word.startswith("--record-scores") for word in words):
        cure = "start it without --record-scores when the recording is no longer needed"
        return [warning(f"{never}, but the running daemon records what it reads of each face, as numbers", cure)]
    return [ok(f"{never}; the running daemon records nothing")]


def is_loopback(host: str) -> bool:
    """Whether it is this machine, reached without a network."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _logs_in(patient: Patient) -> bool:
    """Whether there is a user or a certificate; what systemd alone gives counts as one where it is given."""
    settings = patient.config.broker if patient.config else None
    if settings is None:
        return False
    address = parse_broker_url(settings.url)
    return bool(
        address.user or settings.user_file or settings.cert_file or CREDENTIALS_VARIABLE in patient.place.environ
    )


def _readable_to_all(path: Path) -> bool:
    """As far as the file's own mode says."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return bool(mode & stat.S_IROTH) and _can_be_reached(path)


def _can_be_reached(path: Path) -> bool:
    """Whether all folders above let everyone pass."""
    return all(os.stat(folder).st_mode & stat.S_IXOTH for folder in path.resolve().parents)  # noqa: PTH116 - as above

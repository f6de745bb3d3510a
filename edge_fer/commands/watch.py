"""`edge-fer watch`: any number of nodes, live."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from edge_fer.commands.common import log_to_stderr, seconds_option, verbose_option
from edge_fer.errors import ConfigError, UsageError

_file = click.Path(path_type=Path)


@click.command()
@click.option(
    "--broker",
    required=True,
    metavar="URL",
    help="mqtt://USER@HOST:1883, mqtts:// for TLS, ws:// or wss:// for WebSockets; "
    "the password comes from EDGE_FER_MQTT_PASSWORD.",
)
@click.option("--node", "nodes", multiple=True, metavar="ID", help="Only this node; or several. All without it.")
@click.option("--json", "as_json", is_flag=True, help="Every message as a JSON line, for scripts.")
@seconds_option
@click.option(
    "--ca-file", type=_file, metavar="FILE", help="Certificate authority of the broker; the system's without it."
)
@click.option("--cert-file", type=_file, metavar="FILE", help="Client certificate, where the broker wants one.")
@click.option("--key-file", type=_file, metavar="FILE", help="Its key, where it is not in the same file.")
@click.option("--password-file", type=_file, metavar="FILE", help="The password, on one line.")
@verbose_option
def watch(
    broker: str,
    nodes: tuple[str, ...],
    as_json: bool,  # noqa: FBT001 - click passes options by name
    seconds: float | None,
    ca_file: Path | None,
    cert_file: Path | None,
    key_file: Path | None,
    password_file: Path | None,
    verbose: bool,  # noqa: FBT001
) -> None:
    """Show what nodes publish, live: a screen in a terminal, a line for each change where there is none.

    Needs no configuration and changes nothing. Ends with 0 at Ctrl-C; with 69 where the broker refuses the login at
    first, or where --seconds are over without a connection.
    """
    log_to_stderr(verbose=verbose, quiet=not verbose)
    from edge_fer.dashboard import session
    from edge_fer.dashboard.fleet import ID
    from edge_fer.login import Login, TlsFiles, parse_broker_url, tls_context

    for node in nodes:
        if not ID.fullmatch(node):
            raise UsageError(f"--node {node!r}: a node's name is 1 to 63 lower case letters, digits and hyphens")
    with _keys_as_options():
        address = parse_broker_url(broker)
        credentials = Login(address, password_file=password_file).read()
        tls = tls_context(address, TlsFiles(ca_file, cert_file, key_file))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # terminals that know no block characters
    on_screen = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    output: session.Output = "json" if as_json else "screen" if on_screen else "lines"
    session.watch(address, output, nodes=nodes, credentials=credentials, tls=tls, seconds=seconds)


@contextmanager
def _keys_as_options() -> Iterator[None]:
    """Here no configuration has these keys: errors name what was typed."""
    try:
        yield
    except ConfigError as err:
        from edge_fer.dashboard.session import as_options

        raise ConfigError(as_options(str(err))) from err

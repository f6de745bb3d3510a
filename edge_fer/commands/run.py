"""`edge-fer run`: the daemon."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edge_fer.commands.common import (
    broker_option,
    camera_option,
    config_option,
    configuration,
    log_to_stderr,
    network_option,
    node_option,
    overrides,
    seconds_option,
    verbose_option,
)
from edge_fer.errors import UsageError


@click.command()
@config_option
@camera_option
@broker_option
@node_option
@network_option
@click.option("--print", "print_events", is_flag=True, help="Write every event to the standard output as a JSON line.")
@click.option(
    "--record-scores",
    "record_to",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Record what was read of each face, as numbers, for `edge-fer replay`; never a picture.",
)
@seconds_option
@verbose_option
def run(
    config_file: Path | None,
    cameras: tuple[str, ...],
    broker: str | None,
    node: str | None,
    network: str | None,
    print_events: bool,  # noqa: FBT001 - click passes options by name
    record_to: Path | None,
    seconds: float | None,
    verbose: bool,  # noqa: FBT001
) -> None:
    """Watch cameras and publish expression events, until stopped or until all clips have ended."""
    log_to_stderr(verbose=verbose)
    config = configuration(config_file, cameras, broker, node, network)
    if config.broker is None and not print_events:
        raise UsageError("there is nowhere to publish to: give --broker URL, [broker] in the file, or --print")
    from edge_fer.publishers import EventPrinter
    from edge_fer.remote.reload import ConfigSource
    from edge_fer.service import reload_on_hangup, running, stop_on_signals

    source = ConfigSource(config_file, overrides(cameras, broker, node, network))
    with stop_on_signals() as stop, reload_on_hangup(stop) as hangup:
        printers = [EventPrinter(sys.stdout, stop.set)] if print_events else []
        with running(config, printers, remember=True, record_to=record_to, source=source, hangup=hangup) as daemon:
            daemon.run(stop, seconds)

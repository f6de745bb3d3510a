"""`edge-fer run`: the daemon."""

from __future__ import annotations

import faulthandler
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
@click.option(
    "--wait-for-cameras",
    is_flag=True,
    help="Wait for a device that is missing at the start, as for a stream; without it, no camera at all is an error.",
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
    wait_for_cameras: bool,  # noqa: FBT001
    seconds: float | None,
    verbose: bool,  # noqa: FBT001
) -> None:
    """Watch cameras and publish expression events, until stopped or until all clips have ended."""
    log_to_stderr(verbose=verbose)
    from edge_fer.notify import take_notifier

    notifier = take_notifier()
    if notifier.is_watched:
        # systemd ends a main loop that hangs by SIGABRT: the log then says where it hung.
        faulthandler.enable(file=2)
    config = configuration(config_file, cameras, broker, node, network)
    if config.broker is None and not print_events:
        raise UsageError("there is nowhere to publish to: give --broker URL, [broker] in the file, or --print")
    from edge_fer.publishers import EventPrinter
    from edge_fer.remote.reload import ConfigSource
    from edge_fer.service import reload_on_hangup, running, stop_on_signals

    notifier.starting("loads the networks")
    source = ConfigSource(config_file, overrides(cameras, broker, node, network))
    with stop_on_signals() as stop, reload_on_hangup(stop) as hangup:
        printers = [EventPrinter(sys.stdout, stop.set)] if print_events else []
        with running(
            config,
            printers,
            remember=True,
            record_to=record_to,
            source=source,
            hangup=hangup,
            notifier=notifier,
            wait_for_cameras=wait_for_cameras,
        ) as daemon:
            daemon.run(stop, seconds)

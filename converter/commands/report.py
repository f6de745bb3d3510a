"""`report`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from converter.commands.common import FILE
from edge_fer.errors import UnavailableError


@click.command()
@click.option("--model", type=FILE, required=True, help="A TFLite file with its card beside it.")
@click.option("--data", type=FILE, required=True, help="npz with `images` and `votes` or `labels`.")
@click.option("--out", type=FILE, required=True, help="The HTML file to write.")
@click.option("--robust/--no-robust", default=True, help="Measure changed pictures too, which takes minutes.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def report(model: Path, data: Path, out: Path, *, robust: bool, force: bool) -> None:
    """Measure a model file on labelled faces and write one HTML page about it, without any picture of a face."""
    if not importlib.util.find_spec("matplotlib"):
        raise UnavailableError("matplotlib is not installed; this command needs: pip install 'edge-fer[convert]'")
    from converter.report.write import write_report

    write_report(model, data, out, robust=robust, force=force)
    click.echo(f"{out}: {out.stat().st_size:,} bytes")

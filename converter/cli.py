"""`python -m converter`: the commands, and how their errors end."""

from __future__ import annotations

import sys

import click

from converter.commands.assets import assets
from converter.commands.baseline import baseline
from converter.commands.convert import convert
from converter.commands.crossval import crossval
from converter.commands.data import data
from converter.commands.evaluate import evaluate
from converter.commands.report import report
from converter.commands.train import train
from edge_fer.errors import EdgeFerError


def main() -> None:
    """Run the command line; an EdgeFerError becomes its message and exit code."""
    try:
        cli()
    except EdgeFerError as err:
        click.echo(f"converter: {err}", err=True)
        sys.exit(err.exit_code)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Train EmotionNet Nano and convert it to the TFLite files that edge-fer runs."""


for command in (assets, baseline, convert, crossval, data, evaluate, report, train):
    cli.add_command(command)

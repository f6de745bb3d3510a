"""`edge-fer doctor`: what is wrong here, and what cures it."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import click

from edge_fer.commands.common import Number, json_option, log_to_stderr, verbose_option


@click.command()
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="The daemon's configuration; without it, cameras, broker and privacy are not looked at.",
)
@click.option(
    "--patience",
    type=Number(min=1, max=100),
    default=1.0,
    metavar="TIMES",
    help="Wait so many times longer than usual: for a very slow card or processor.",
)
@json_option
@verbose_option
def doctor(
    config_file: Path | None,
    patience: float,
    as_json: bool,  # noqa: FBT001 - click passes options by name
    verbose: bool,  # noqa: FBT001
) -> None:
    """Look for what is wrong on this machine, from the processor's instructions to privacy; name the cures.

    Changes nothing, disturbs no daemon that runs, and takes half a minute at most. Ends with 1 where a check failed.
    """
    if verbose:
        log_to_stderr(verbose=True)
    else:
        logging.basicConfig(handlers=[logging.NullHandler()])  # the findings say it all
    from edge_fer.doctor import show
    from edge_fer.doctor.examine import examine
    from edge_fer.doctor.patient import Place

    if sys.stderr.isatty() and not as_json:
        click.echo("edge-fer looks at this machine; this takes up to half a minute ...", err=True)
    findings = examine(Place(patience=patience), config_file)
    plain = False if os.environ.get("NO_COLOR") else None  # None: colours where it is a terminal
    click.echo(show.as_json(findings) if as_json else show.table(findings), color=plain)
    if any(finding.result == "failed" for finding in findings):
        raise click.exceptions.Exit(1)

"""`edge-fer replay`: alert rules on recorded scores."""

from __future__ import annotations

from pathlib import Path

import click

from edge_fer.commands.common import json_option


@click.command()
@click.argument("scores_file", metavar="SCORES", type=click.Path(path_type=Path))
@click.option(
    "--rules",
    "rules_file",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TOML with tables [rule.NAME], and [decide] if it is to differ; a whole configuration will do.",
)
@click.option("--events", is_flag=True, help="Show the events too, not only the alerts.")
@json_option
def replay(
    scores_file: Path,
    rules_file: Path,
    events: bool,  # noqa: FBT001 - click passes options by name
    as_json: bool,  # noqa: FBT001
) -> None:
    """Show the alerts that rules would have raised on what `edge-fer run --record-scores` recorded."""
    from edge_fer.scores.replay import show_replay

    show_replay(scores_file, rules_file, events=events, as_json=as_json, echo=click.echo)

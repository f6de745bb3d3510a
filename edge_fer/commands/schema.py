"""`edge-fer schema`: what is published, as JSON Schema and AsyncAPI."""

from __future__ import annotations

from pathlib import Path

import click

from edge_fer.errors import UsageError


@click.command()
@click.option("--channel", metavar="NAME", help="Only the schema of this one: camera-events, alert, health ...")
@click.option("--asyncapi", "as_asyncapi", is_flag=True, help="Only the AsyncAPI 3 document.")
@click.option(
    "--out", "folder", type=click.Path(path_type=Path, file_okay=False), help="Write all files there instead."
)
def schema(channel: str | None, as_asyncapi: bool, folder: Path | None) -> None:  # noqa: FBT001 - click passes options by name
    """Show the JSON Schema of every payload, and the AsyncAPI document of all topics.

    With --out: a file for each schema, asyncapi.json, and a sample of each payload below samples.
    """
    if sum([channel is not None, as_asyncapi, folder is not None]) > 1:
        raise UsageError("schema: give one of --channel, --asyncapi and --out")
    from edge_fer.schema.asyncapi import asyncapi
    from edge_fer.schema.documents import pretty, write_files
    from edge_fer.schema.json_schema import schemas

    if folder is not None:
        for path in write_files(folder):
            click.echo(path)
    elif as_asyncapi:
        click.echo(pretty(asyncapi()), nl=False)
    elif channel is None:
        click.echo(pretty({"schemas": schemas(), "asyncapi": asyncapi()}), nl=False)
    else:
        known = schemas()
        if channel not in known:
            raise UsageError(f"schema: no channel {channel!r}; there are {', '.join(known)}")
        click.echo(pretty(known[channel]), nl=False)

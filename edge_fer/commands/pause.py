"""`edge-fer pause` and `edge-fer resume`: privacy, by hand."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import click

from edge_fer.commands.common import checked_node

node_option = click.option(
    "--node", metavar="ID", help="The daemon's name, where there is no configuration; by default this machine's."
)
config_option = click.option(
    "--config", "config_file", type=click.Path(path_type=Path), help="The daemon's configuration."
)
camera_option = click.option("--camera", "cameras", multiple=True, metavar="NAME", help="Only this one; or several.")


@click.command()
@camera_option
@click.option("--for", "duration", metavar="TIME", help="End by itself after 90s, 30m, 2h, 1h30m or 7d.")
@config_option
@node_option
def pause(cameras: tuple[str, ...], duration: str | None, config_file: Path | None, node: str | None) -> None:
    """Close cameras, and keep them closed, over restarts too, until `edge-fer resume`.

    Ends with 0 only when the daemon has confirmed that the devices are closed.
    """
    from edge_fer.memory.pause_command import duration_s, pause_cameras

    for_s = None if duration is None else duration_s(duration)
    folder, known = _daemon(config_file, node)
    outcome = pause_cameras(folder, cameras, for_s=for_s, known=known)
    click.echo(outcome.text, err=outcome.exit_code != 0)
    raise click.exceptions.Exit(outcome.exit_code)


@click.command()
@camera_option
@config_option
@node_option
def resume(cameras: tuple[str, ...], config_file: Path | None, node: str | None) -> None:
    """End a pause: open the cameras again."""
    from edge_fer.memory.pause_command import resume_cameras

    folder, known = _daemon(config_file, node)
    outcome = resume_cameras(folder, cameras, known=known)
    click.echo(outcome.text, err=outcome.exit_code != 0)
    raise click.exceptions.Exit(outcome.exit_code)


def _daemon(config_file: Path | None, node: str | None) -> tuple[Path, Collection[str] | None]:
    """State folder of the daemon, and its cameras where the configuration tells them."""
    from edge_fer.config import load_config
    from edge_fer.identity import default_node
    from edge_fer.memory.pause_command import find_state_folder

    if config_file is None:
        return find_state_folder(None, default_node() if node is None else checked_node(node)), None
    config = load_config(config_file, {"node": node} if node else {})
    return find_state_folder(config.state_dir, config.node), tuple(config.camera)

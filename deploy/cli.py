"""`python -m deploy`: its commands, and what becomes of their errors."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from edge_fer.errors import EdgeFerError, UsageError

INTERRUPTED = 130
DIST = Path(__file__).parent.parent / "dist"

_File = click.Path(path_type=Path)
_Command = Callable[..., Any]


def _options(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    def give(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return give


board_option = click.option("--board", default="", metavar="BOARD", help="One of those that `boards` lists.")
build_options = _options(
    click.option("--system", metavar="KEY", help="One of the board's systems; by default what is found, or its first."),
    click.option("--python-tree", type=_File, help="A standalone CPython for the board, a folder or an archive."),
    click.option("--key", type=_File, help="Signs the bundle; by default ~/.config/edge-fer/deploy_key."),
)
host_options = _options(
    click.option("--host", default="", metavar="[USER@]ADDRESS[:PORT]", help="The board, as ssh reaches it."),
    click.option("--ssh-config", type=_File, help="A configuration of ssh, man ssh_config."),
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def cli() -> None:
    """Bring edge-fer to boards, keep it there, and take it back.

    Exit codes: 0 done, 1 refused or rolled back, 2 usage, 69 something needed is unavailable, 78 the configuration is
    wrong.
    """


@cli.command()
def boards() -> None:
    """List the boards, and what is installed on each."""
    from deploy.board import all_boards, boards_table

    click.echo(boards_table(all_boards()))


@cli.command()
@click.argument("sets", nargs=-1, metavar="[SET]...")
def lock(sets: tuple[str, ...]) -> None:
    """Resolve wheel sets anew, all of them by default, and write deploy/wheels/SET.txt."""
    from deploy.lock import write_locks

    write_locks(sets)


@cli.command()
@click.option("--key", type=_File, help="Where; by default ~/.config/edge-fer/deploy_key.")
def key(key: Path | None) -> None:
    """Make the key that signs bundles. Keep it: a board takes bundles of no other."""
    from deploy.signing import create_key, default_key

    click.echo(f"{key or default_key()}: made, {create_key(key)}")


@cli.command()
@board_option
@build_options
@click.option("--out", type=_File, default=DIST, help="Folder of the bundle; by default dist.")
def bundle(board: str, system: str | None, python_tree: Path | None, key: Path | None, out: Path) -> None:
    """Build what is installed on a board: one signed archive that needs nothing else."""
    from deploy.bundle import build_bundle

    chosen = _board(board)
    _make_default_key(key)
    path = build_bundle(chosen, chosen.system(system), out=out.absolute(), python_tree=python_tree, key=key, told=_tell)
    click.echo(path)


@cli.command()
@board_option
@host_options
@build_options
@click.option("--bundle", "built", type=_File, help="A bundle that is built already.")
@click.option("--config", type=_File, help="Configuration of the daemon; without it the one on the board stays.")
@click.option("--mqtt-password-file", type=_File, help="Holds the password of the broker.")
@click.option("--trust", is_flag=True, help="Have a board that trusts another key take this one, too.")
@click.option("--gate-s", type=click.IntRange(5, 600), default=60, help="How long the new release may take to be well.")
@click.option("--keep", type=click.IntRange(2, 20), default=3, help="Releases that stay on the board.")
def deploy(
    board: str,
    host: str,
    ssh_config: Path | None,
    system: str | None,
    python_tree: Path | None,
    key: Path | None,
    built: Path | None,
    config: Path | None,
    mqtt_password_file: Path | None,
    trust: bool,  # noqa: FBT001 - click passes options by name
    gate_s: int,
    keep: int,
) -> None:
    """Install on a board, start it, and go back to what ran before where it is not well."""
    from deploy.agent import build_agent
    from deploy.conduct import Wishes
    from deploy.conduct import deploy as deploy_to
    from deploy.ssh import connected
    from deploy.target import parse_target

    chosen, target = _board(board), parse_target(host)
    if config:
        _check_config(config)
    _make_default_key(key)
    wishes = Wishes(
        dist=DIST,
        system=system,
        bundle=built,
        python_tree=python_tree,
        key=key,
        config=config,
        mqtt_password=mqtt_password_file,
        trust=trust,
        more=("--gate-s", str(gate_s), "--keep", str(keep)),
    )
    with tempfile.TemporaryDirectory(prefix="edge-fer-agent-") as folder, connected(target, ssh_config) as connection:
        agent = build_agent(Path(folder) / "edge-fer-release")
        raise click.exceptions.Exit(deploy_to(connection, chosen, wishes, agent, _tell))


@cli.command()
@host_options
@click.option("--to", metavar="RELEASE", help="One of those that `status` lists; by default the one before.")
@click.option("--its-config", is_flag=True, help="With the configuration that this release ran with last.")
def rollback(host: str, ssh_config: Path | None, to: str | None, its_config: bool) -> None:  # noqa: FBT001
    """Have a board run the release before, or another one that it still has."""
    words = ["rollback", *(["--to", to] if to else []), *(["--its-config"] if its_config else [])]
    _ask(host, ssh_config, words)


@cli.command()
@host_options
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
def status(host: str, ssh_config: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Tell what runs on a board, and how it is."""
    _ask(host, ssh_config, ["status", *(["--json"] if as_json else [])], as_root=False)


@cli.command()
@host_options
@click.option("-n", "--lines", type=click.IntRange(0), default=100, help="How many of the newest; by default 100.")
@click.option("-f", "--follow", is_flag=True, help="And what comes, until Ctrl-C.")
def logs(host: str, ssh_config: Path | None, lines: int, follow: bool) -> None:  # noqa: FBT001
    """Show the journal of the service on a board."""
    from deploy.remote import show_logs
    from deploy.ssh import connected
    from deploy.target import parse_target

    with connected(parse_target(host), ssh_config) as connection:
        raise click.exceptions.Exit(show_logs(connection, lines, follow=follow))


@cli.command()
@host_options
@click.option("--purge", is_flag=True, help="Configuration, password, keys and waiting events, too.")
def undeploy(host: str, ssh_config: Path | None, purge: bool) -> None:  # noqa: FBT001
    """Take edge-fer off a board; configuration and waiting events stay."""
    _ask(host, ssh_config, ["undeploy", *(["--purge"] if purge else [])])


@cli.command(context_settings={"ignore_unknown_options": True})
@click.option("--inventory", type=_File, required=True, help="Of Ansible; see deploy/ansible/fleet.example.yml.")
@click.option("--key", type=_File, help="Signs the bundles; by default ~/.config/edge-fer/deploy_key.")
@click.option("--gate-s", type=click.IntRange(5, 600), default=60, help="How long a new release may take to be well.")
@click.argument("more", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS OF ansible-playbook]...")
def fleet(inventory: Path, key: Path | None, gate_s: int, more: tuple[str, ...]) -> None:
    """Deploy to all boards of an inventory, in batches; the first that is not well stops it."""
    from deploy.fleet import deploy_fleet

    _make_default_key(key)
    options = ["--gate-s", str(gate_s), *(["--key", str(key.absolute())] if key else [])]
    raise click.exceptions.Exit(deploy_fleet(inventory, options, more))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; what a user can cause is told in lines, never in a traceback."""
    try:
        code = cli.main(args=list(argv) if argv is not None else None, prog_name="deploy", standalone_mode=False)
    except EdgeFerError as err:
        for line in str(err).splitlines():
            _tell(line)
        return err.exit_code
    except click.ClickException as err:
        err.show()
        return UsageError.exit_code
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def _tell(text: str) -> None:
    click.echo(f"deploy: {text}", err=True)
    sys.stderr.flush()


def _board(key: str) -> Any:  # noqa: ANN401 - its class is imported where it is used: start-up time
    from deploy.board import all_boards, load_board

    if not key:
        raise UsageError(f"no board: give BOARD=one of {', '.join(board.key for board in all_boards())}")
    return load_board(key)


def _make_default_key(key: Path | None) -> None:
    """The first bundle of a user makes the key that all later ones are signed with."""
    from deploy.signing import create_key, default_key

    if key is None and not default_key().exists():
        _tell(f"{default_key()}: made for this and all later bundles ({create_key()}); keep it, boards trust it")


def _check_config(path: Path) -> None:
    """What is wrong is known before anything is built or sent; ConfigError, UnavailableError."""
    from edge_fer.toml import read_toml

    read_toml(path)


def _ask(host: str, ssh_config: Path | None, words: Sequence[str], *, as_root: bool = True) -> None:
    from deploy.remote import ask_agent
    from deploy.ssh import connected
    from deploy.target import parse_target

    with connected(parse_target(host), ssh_config) as connection:
        raise click.exceptions.Exit(ask_agent(connection, words, as_root=as_root))

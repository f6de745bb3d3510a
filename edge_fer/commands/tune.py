"""`edge-fer tune`: what is best on this board, measured and remembered."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from edge_fer.commands.common import (
    Number,
    checked_node,
    config_option,
    json_option,
    log_to_stderr,
    network_option,
    node_option,
    overrides,
    verbose_option,
)
from edge_fer.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from edge_fer.config import ModelSettings
    from edge_fer.tracking.search import DetectorSettings
    from edge_fer.tune.choose import Goal
    from edge_fer.tune.tuned import Tuned
    from edge_fer.tune.tuning import Progress

SECONDS, SECONDS_WITH_WATTS = 2.0, 10.0
"""Of each way: energy needs time."""

DAEMON_RAN = "the daemon of this node ran meanwhile, its load is in the figures: stop it, and tune again"

PROGRESS_COLUMNS = 79


@dataclass(frozen=True, slots=True)
class _Daemon:
    """Whose choice it is."""

    model: ModelSettings
    detector: DetectorSettings
    node: str
    state_dir: Path | None


@click.command()
@config_option
@node_option
@network_option
@click.option(
    "--for",
    "goal",
    type=click.Choice(["speed", "energy"]),
    help="What decides; by default joules where there is a power sensor, otherwise speed.",
)
@click.option(
    "--seconds",
    type=Number(0.5, 600),
    help=f"For each way; by default {SECONDS:.0f}, and {SECONDS_WITH_WATTS:.0f} where watts are measured.",
)
@click.option("--dry-run", is_flag=True, help="Measure and tell, but remember nothing.")
@click.option("--show", is_flag=True, help="Measure nothing: show what is remembered, and whether it is stale.")
@json_option
@verbose_option
def tune(
    config_file: Path | None,
    node: str | None,
    network: str | None,
    goal: str | None,
    seconds: float | None,
    dry_run: bool,  # noqa: FBT001 - click passes options by name
    show: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
    verbose: bool,  # noqa: FBT001
) -> None:
    """Measure which runtime, precision and number of threads are best on this board, and remember it.

    What "auto" in [model] means from the daemon's next start on. With --show: ends with 1 where nothing is remembered,
    or what is remembered is stale.
    """
    log_to_stderr(verbose=verbose, quiet=not verbose)
    daemon = _daemon(config_file, node, network)
    if show:
        if goal or seconds or dry_run:
            raise UsageError("tune: --show measures nothing; leave --for, --seconds and --dry-run out")
        _show(daemon, as_json=as_json)
    else:
        # However it is ended, nothing is half written, and the sensors' programs are ended too.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        _tune(daemon, cast("Goal | None", goal), seconds, dry_run=dry_run, as_json=as_json)


def _tune(daemon: _Daemon, goal: Goal | None, seconds: float | None, *, dry_run: bool, as_json: bool) -> None:
    from edge_fer.tune import tuning
    from edge_fer.tune.meters import open_meter
    from edge_fer.tune.show import report, warnings
    from edge_fer.tune.tuned import prepare_folder, write_tuned

    folder = None if dry_run else _folder(daemon)
    is_new = folder is not None and not folder.exists()
    if folder:
        prepare_folder(folder)
    if disturbed := _runs(daemon):
        click.echo("warning: the daemon of this node runs; stop it first, or its load is in the figures", err=True)
    with open_meter() as meter, _progress() as on_progress:
        usual = SECONDS if meter.power_source == "unavailable" else SECONDS_WITH_WATTS
        tuned = tuning.tune(
            daemon.model, daemon.detector, meter, wanted=goal, seconds=seconds or usual, on_progress=on_progress
        )
    if disturbed or _runs(daemon):
        tuned = tuned.model_copy(update={"doubts": (*tuned.doubts, DAEMON_RAN)})
    written = write_tuned(folder, tuned) if folder else None
    told = warnings(tuned)
    if is_new and os.geteuid() == 0:
        told.append(f"{folder} was made as root: a daemon of another user needs it as its own (chown)")
    if as_json:
        click.echo(json.dumps(_as_json(tuned, written, told)))
        return
    for line in report(tuned):
        click.echo(line)
    for line in told:
        click.echo(f"warning: {line}", err=True)
    click.echo(f"written to {written}; the daemon uses it from its next start on" if written else "nothing written")


def _show(daemon: _Daemon, *, as_json: bool) -> None:
    from edge_fer.tune.basis import read_basis
    from edge_fer.tune.resolve import staleness
    from edge_fer.tune.show import report, verdict, warnings
    from edge_fer.tune.tuned import TUNED_FILE, read_tuned

    path = _folder(daemon) / TUNED_FILE
    tuned = read_tuned(path.parent)
    stale = staleness(tuned, daemon.model, daemon.detector, read_basis()) if tuned else []
    if as_json:
        click.echo(json.dumps({"stale": stale, **_as_json(tuned, path if tuned else None, [])}))
    elif tuned is None:
        click.echo(f"not tuned on this board (no {path}): edge-fer tune")
    else:
        for line in [*report(tuned), *warnings(tuned), verdict(tuned, path, stale)]:
            click.echo(line)
    if tuned is None or stale:
        raise click.exceptions.Exit(1)


def _as_json(tuned: Tuned | None, written: Path | None, told: list[str]) -> dict[str, object]:
    return {
        "file": str(written) if written else None,
        "warnings": told,
        "tuned": tuned.model_dump(mode="json") if tuned else None,
    }


def _daemon(config_file: Path | None, node: str | None, network: str | None) -> _Daemon:
    """Of a configuration, or of the defaults: a board may be tuned before it has any camera."""
    from edge_fer.config import ModelSettings, load_config
    from edge_fer.identity import default_node
    from edge_fer.tracking.search import DetectorSettings

    tables = overrides((), None, node, network)
    if config_file:
        config = load_config(config_file, tables)
        return _Daemon(config.model, config.detector, config.node, config.state_dir)
    named = default_node() if node is None else checked_node(node)
    return _Daemon(ModelSettings(**tables.get("model", {})), DetectorSettings(), named, None)


def _folder(daemon: _Daemon) -> Path:
    """Where the daemon of this node looks, whoever runs it; where it will, if it has never run."""
    from edge_fer.memory.pause_command import NoDaemonError, find_state_folder
    from edge_fer.memory.state_folder import state_folder

    try:
        return find_state_folder(daemon.state_dir, daemon.node)
    except NoDaemonError:
        return state_folder(daemon.state_dir, daemon.node)


def _runs(daemon: _Daemon) -> bool:
    """Whether the node's daemon runs now, as far as this user may know."""
    from edge_fer.memory.state_folder import daemon_runs

    try:
        return daemon_runs(_folder(daemon))
    except UnavailableError:  # a folder of others: whoever writes into it was told already
        return False


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """One line on the standard error, where that is a terminal; taken away at the end."""
    if not sys.stderr.isatty():
        yield lambda _progress: None
        return
    started_s = time.monotonic()

    def tell(progress: Progress) -> None:
        left_s = (time.monotonic() - started_s) * (progress.of / progress.done - 1) if progress.done else None
        left = "" if left_s is None else f", {left_s:.0f} s left"
        text = f"{progress.done / progress.of:4.0%}{left}: {progress.now}"
        click.echo(f"\r{text[:PROGRESS_COLUMNS]:<{PROGRESS_COLUMNS}}", nl=False, err=True)

    try:
        yield tell
    finally:
        click.echo(f"\r{'':<{PROGRESS_COLUMNS}}\r", nl=False, err=True)

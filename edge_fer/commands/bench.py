"""`edge-fer bench`, also `edge-fer --power-mode 15W`: how fast this board is, and at how many watts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from edge_fer.commands.common import Number, log_to_stderr, verbose_option
from edge_fer.errors import EdgeFerError

if TYPE_CHECKING:
    from edge_fer.bench.figures import Diagnosis
    from edge_fer.bench.plan import Plan
    from edge_fer.classify import NetworkName

FRONT_OPTIONS = ("--power-mode", "--all-modes")
"""With one of them `bench` need not be written."""


@click.command()
@click.option(
    "--power-mode",
    metavar="MODE",
    help="Set this mode for the run, and the one before it in the end: a budget (15W), a name or an id of nvpmodel, or "
    "a cap of the clock (1200MHz). `edge-fer power-mode` lists them. Needs root.",
)
@click.option("--all-modes", is_flag=True, help="Measure every mode that needs no reboot.")
@click.option(
    "--clip", "clips", multiple=True, metavar="FILE", help="A clip with faces, or several; by default the sample clip."
)
@click.option(
    "--seconds",
    type=Number(0.1, 86_400),
    help="Of each row; by default 10 where watts are measured, otherwise 2.",
)
@click.option("--threads", metavar="N,N,...", help="Numbers of threads; by default 1,2,4 as far as there are cores.")
@click.option("--network", type=click.Choice(["nano_a", "nano_b"]), help="Only this one; by default both.")
@click.option("--baseline", type=click.Choice(["keras"]), help="The same networks in TensorFlow, if it is installed.")
@click.option("--cameras", type=click.IntRange(1, 64), help="Also play the first clip as so many cameras.")
@click.option("--fps", default=15.0, type=Number(0.1, 240), help="Frame rate of each of them.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="A picture of it: .png, .svg or .html.")
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Read sensors and power modes of the board's files below this folder (sys, proc, etc, usr/bin).",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
@verbose_option
def bench(
    power_mode: str | None,
    all_modes: bool,  # noqa: FBT001 - click passes options by name
    clips: tuple[str, ...],
    seconds: float | None,
    threads: str | None,
    network: str | None,
    baseline: str | None,
    cameras: int | None,
    fps: float,
    plot: Path | None,
    root: Path | None,
    as_json: bool,  # noqa: FBT001
    verbose: bool,  # noqa: FBT001
) -> None:
    """Measure this board: faces per second and watts of each network, then of the whole pipeline.

    `edge-fer --power-mode 15W` and `edge-fer --all-modes` are the same command.
    """
    log_to_stderr(verbose=verbose, quiet=not verbose)
    from edge_fer.bench.clips import finite, readable
    from edge_fer.bench.plan import DEFAULT_THREADS, Plan, check_together, parse_threads
    from edge_fer.sensors.machine import machine_below

    networks = (cast("NetworkName", network),) if network else ("nano_b", "nano_a")
    plan = Plan(
        networks=cast("tuple[NetworkName, ...]", networks),
        clips=tuple(readable(clip) for clip in clips) or (finite("sample:"),),
        machine=machine_below(root),
        threads=parse_threads(threads) if threads is not None else DEFAULT_THREADS,
        threads_given=threads is not None,
        seconds=seconds,
        power_mode=power_mode,
        all_modes=all_modes,
        baseline=baseline is not None,
        cameras=cameras,
        fps=fps,
    )
    check_together(plan)
    _measure(plan, plot, as_json=as_json)


def _measure(plan: Plan, plot: Path | None, *, as_json: bool) -> None:
    from edge_fer.bench.diagnose import Diagnosing
    from edge_fer.bench.plot import check_path
    from edge_fer.bench.progress import progress
    from edge_fer.power_modes.interruption import Interruption

    if plot:
        check_path(plot)
    ended: BaseException | None = None
    # However it is ended, and however often Ctrl-C is pressed, the power mode is restored, the processes that it
    # started are ended, and what was measured is shown.
    with Interruption() as interruption:
        with progress() as shown:
            diagnosing = Diagnosing(plan, shown)
            try:
                interruption.allow()
                diagnosing.run()
            except (KeyboardInterrupt, EdgeFerError) as err:
                interruption.hold()
                why = "Interrupted" if isinstance(err, KeyboardInterrupt) else f"Ended by an error ({err})"
                diagnosing.warn(f"{why}: these are the figures that were measured until then; the rest is missing.")
                ended = err
        found = diagnosing.found()
        if not ended:
            _show(found, plot, as_json=as_json)
        elif found.modes:
            _show(found, None, as_json=as_json)
    if ended:
        raise ended


def _show(found: Diagnosis, plot: Path | None, *, as_json: bool) -> None:
    from edge_fer.bench.plot import draw
    from edge_fer.bench.table import render
    from edge_fer.bench.told import to_json

    try:
        click.echo(to_json(found) if as_json else render(found))
    finally:  # whoever reads the table may have left
        if plot:
            draw(found, plot)
            click.echo(f"drawn: {plot}", err=True)

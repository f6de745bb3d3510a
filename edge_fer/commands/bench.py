"""`edge-fer bench`: what a frame costs on this machine."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, cast

import click

from edge_fer.commands.common import log_to_stderr, network_option, verbose_option

if TYPE_CHECKING:
    from edge_fer.classify import NetworkName


@click.command()
@click.option(
    "--clip", "clips", multiple=True, metavar="FILE", help="A clip with faces, or several; by default the sample clip."
)
@click.option("--cameras", default=1, type=click.IntRange(1, 64), help="Play the first clip as so many cameras.")
@click.option("--fps", default=15.0, type=click.FloatRange(0.1, 240), help="Frame rate of each of them.")
@click.option("--seconds", default=10.0, type=click.FloatRange(1, 86_400), help="How long they are played.")
@network_option
@click.option("--baseline/--no-baseline", default=True, help="Measure the same network in TensorFlow, where it is.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
@verbose_option
def bench(
    clips: tuple[str, ...],
    cameras: int,
    fps: float,
    seconds: float,
    network: str | None,
    baseline: bool,  # noqa: FBT001 - click passes options by name
    as_json: bool,  # noqa: FBT001
    verbose: bool,  # noqa: FBT001
) -> None:
    """Measure on this machine: CPU per frame by stage, several cameras at once, memory, runtimes."""
    log_to_stderr(verbose=verbose, quiet=not verbose)
    from edge_fer.bench.report import measure, show

    # However it is ended, the processes that it started are ended too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    chosen = cast("NetworkName", network or "nano_b")
    report = measure(clips or ("sample:",), chosen, cameras=cameras, fps=fps, seconds=seconds, baseline=baseline)
    show(report, as_json=as_json)

"""All figures of one run, and how they are shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import click
import psutil

from edge_fer.bench.flow import FlowCost, broker_child, finite, measure_flow
from edge_fer.bench.load import Load, measure_load
from edge_fer.bench.runtimes import RuntimeSpeed, measure_runtimes, measure_tensorflow
from edge_fer.classify import NetworkName


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one run."""

    publish_to: str
    clips: list[FlowCost]
    rss_mb: float
    load: Load
    network: str
    runtimes: list[RuntimeSpeed]
    tensorflow: list[RuntimeSpeed]
    tensorflow_skipped: str  # why there are no figures of it


def measure(
    clips: Sequence[str], network: NetworkName, *, cameras: int, fps: float, seconds: float, baseline: bool
) -> Report:
    """Run the whole flow on each clip as fast as it goes, the first clip as cameras in real time, each runtime alone.

    UsageError where a clip does not end; CameraError and ModelError as the daemon raises them.
    """
    uris = [finite(clip) for clip in clips]
    with broker_child() as broker:
        flows = [measure_flow(uri, network, broker) for uri in uris]
    rss_mb = psutil.Process().memory_info().rss / 1e6
    load = measure_load(uris[0], network, cameras=cameras, fps=fps, seconds=seconds)
    tensorflow, skipped = measure_tensorflow(network) if baseline else ([], "not asked for")
    return Report(
        publish_to="a broker on loopback" if broker else "nowhere: the extra 'demo' is not installed",
        clips=flows,
        rss_mb=round(rss_mb, 1),
        load=load,
        network=network,
        runtimes=list(measure_runtimes(network, tensorflow)),
        tensorflow=tensorflow,
        tensorflow_skipped=skipped,
    )


def show(report: Report, *, as_json: bool) -> None:
    """Print the report: tables for people, or one JSON object."""
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    click.echo(f"published to {report.publish_to}; resident memory {report.rss_mb:.0f} MB")
    for flow in report.clips:
        _show_flow(flow)
    _show_load(report.load)
    _show_runtimes(report)


def _show_flow(flow: FlowCost) -> None:
    first = "no event" if flow.first_event_s is None else f"first event after {flow.first_event_s:.1f} s"
    click.echo(f"\n{flow.clip}: {flow.frames} frames, {flow.events} events; {first} in real time")
    click.echo(f"{'stage':<18}{'CPU ms/frame':>14}{'of a core at 24 fps':>22}")
    for cost in flow.stages:
        click.echo(f"{cost.stage:<18}{cost.cpu_ms_per_frame:>14.3f}{cost.core_share_at_24_fps:>21.1%}")


def _show_load(load: Load) -> None:
    cameras = "1 camera" if load.cameras == 1 else f"{load.cameras} cameras"
    late = load.latency_ms
    click.echo(f"\n{cameras} at {load.wanted_fps:g} fps for {load.seconds:.0f} s on {load.cores} cores")
    click.echo(
        f"looked at {min(load.fps):.1f} to {max(load.fps):.1f} fps, fairness {load.fairness:.2f} (slowest / mean)"
    )
    if late:
        click.echo(f"capture to publisher p50 {late.p50:.0f}, p95 {late.p95:.0f}, p99 {late.p99:.0f} ms")
    click.echo(
        f"{load.dropped_share:.1%} of the frames dropped, {load.cpu_cores:.2f} cores, {load.rss_mb:.0f} MB, "
        f"{load.updates_per_minute:.1f} changes of expression a minute of a face"
    )


def _show_runtimes(report: Report) -> None:
    click.echo(f"\n{report.network}, one image at a time")
    click.echo(
        f"{'runtime':<18}{'precision':<11}{'threads':>7}{'CPU ms':>9}{'wall ms':>9}{'faster than TensorFlow':>25}"
    )
    for speed in [*report.runtimes, *report.tensorflow]:
        times = speed.times_faster_than_tensorflow
        ratio = "-" if times is None else f"{times:.1f}x"
        click.echo(
            f"{speed.runtime:<18}{speed.precision:<11}{speed.threads:>7}{speed.cpu_ms_mean:>9.3f}"
            f"{speed.wall_ms_median:>9.3f}{ratio:>25}"
        )
    if report.tensorflow_skipped:
        click.echo(f"TensorFlow graph mode: not measured ({report.tensorflow_skipped})")

"""What a frame costs: the package `fer` and edge-fer, on the same clip, in the same run.

    python tests/peers/compare_fer.py --clip FILE [--frames N] [--rounds 2] [--mtcnn] [--work DIR] [--json]

A diagnosis: it ends with 0 whenever it could measure, whatever it found.

What is compared. fer: detect faces and read their expressions in every frame, and nothing else; that is all it offers
for video. edge-fer: the whole flow of the daemon, with detection at the pace that is set (every third frame by
default), tracking, reading, decisions over time and publishing. A row of edge-fer with detection in every frame tells
what of the difference comes from detecting less often. CPU is user and system time of all threads and children, after
a warm-up, decoding included; both decode with OpenCV's FFmpeg on one thread. The programs take turns, so that a noisy
machine shows as rounds that differ; the ratio told is the lowest of all rounds.

Unfair to fer: it is a library for notebooks with TensorFlow below it, and measured from Python one frame at a time;
its Haar detector starts from nothing in each frame, while edge-fer tracks between detections; OpenCV's threads, which
are on by default, cost CPU to save time (the row "haar-1-thread" has them off); fer has seven expressions, edge-fer
eight. Where other work runs beside, PyTorch's threads (MTCNN) wait for each other by spinning: its figures vary most.
Unfair to edge-fer: it also tracks, decides, makes JSON and publishes; its reading looks at every face of every frame,
and where fer's detector misses a face, fer has nothing to read and costs less; fer may look for faces of 50 px and
more, edge-fer finds those of 7 % of the longer side (45 px of 640).
Not comparable: time to the first result. edge-fer waits until it has seen a face for a while (`settle_ms`) and, in its
benchmark, plays the clip in real time; fer tells whatever it sees first. Nothing here says who reads more rightly.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from edge_runs import bench_cost, process_cost
from fer_env import default_work, fer_python
from measured import Cost, run_child

from edge_fer.errors import EdgeFerError, UnavailableError

EDGE_RUNS = ({}, {"every_frames": 1})
"""Settings of its detector."""

HAAR_VARIANTS = ("haar", "haar-1-thread", "haar-keras")
MTCNN_FRAMES = 60
"""It may take most of a second for one."""

WIDTHS = (6, 8, 14, 13, 6, 9, 8)

EDGE_FER = ("edge-fer bench", "edge-fer run")
"""The same flow, measured from inside and from outside; every other row is compared with both."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times the CPU per frame of edge-fer another one needs."""

    who: str
    than: str  # a row of edge-fer
    lowest: float
    rounds: list[float]  # neighbours in the same round are compared


@click.command()
@click.option("--clip", required=True, type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path))
@click.option("--frames", type=click.IntRange(min=1), help="fer looks at so many, evenly spread; all by default.")
@click.option("--rounds", type=click.IntRange(1, 20), default=2, show_default=True)
@click.option("--mtcnn", is_flag=True, help="Measure fer's second detector too; it needs PyTorch.")
@click.option(
    "--mtcnn-frames", type=click.IntRange(min=1), default=MTCNN_FRAMES, show_default=True, help="--frames for MTCNN."
)
@click.option("--work", type=click.Path(file_okay=False, path_type=Path), help="Keeps the environment of fer.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
def main(
    clip: Path,
    frames: int | None,
    rounds: int,
    mtcnn: bool,  # noqa: FBT001 - click passes options by name
    mtcnn_frames: int,
    work: Path | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """What a frame costs: the package `fer` and edge-fer, on the same clip, in the same run."""
    work = (work or default_work()).absolute()
    work.mkdir(parents=True, exist_ok=True)
    python = fer_python(work, mtcnn=mtcnn)
    wanted = dict.fromkeys(HAAR_VARIANTS, frames or 0) | ({"mtcnn": mtcnn_frames} if mtcnn else {})
    costs: list[Cost] = []
    for number in range(1, rounds + 1):
        for cost in one_round(clip, python, wanted, number, work):
            click.echo(f"round {number}: {cost.who}, {cost.cpu_ms_per_frame:.2f} CPU ms/frame", err=True)
            costs.append(cost)
    ratios = compare(costs)
    if as_json:
        told = {"clip": str(clip), "costs": list(map(asdict, costs)), "ratios": list(map(asdict, ratios))}
        click.echo(json.dumps(told))
    else:
        show(clip, costs, ratios)


def one_round(clip: Path, python: Path, wanted: dict[str, int], number: int, work: Path) -> Iterator[Cost]:
    """Each program once, edge-fer among the variants of fer; `wanted` are the frames for each variant, 0 is all."""
    bench = bench_cost(clip, number)
    yield bench
    for place, (variant, frames) in enumerate(wanted.items()):
        yield fer_cost(clip, python, variant, frames, number)
        if place < len(EDGE_RUNS):
            yield process_cost(clip, bench.frames, number, work, EDGE_RUNS[place])


def fer_cost(clip: Path, python: Path, variant: str, frames: int, number: int) -> Cost:
    """fer in its own environment."""
    script = Path(__file__).with_name("fer_child.py")
    child = run_child([str(python), str(script), str(clip), "--variant", variant, "--frames", str(frames)])
    found = json.loads(child.lines[-1])
    return Cost(
        who=f"fer {variant}",
        what="detect and read in every frame",
        round=number,
        frames=found["frames"],
        cpu_ms_per_frame=found["cpu_ms_per_frame"],
        cpu_ms_without_decode=found["cpu_ms_without_decode"],
        peak_rss_mb=found["peak_rss_mb"],
        first_result_s=child.first_line_s if "first" in child.lines else None,
        first_result="first face read, clip as fast as it goes",
        whole_process_cpu_s=child.cpu_s,
        found={
            "faces per frame": round(found["faces_per_frame"], 3),
            "frames with a face": round(found["frames_with_face"], 3),
            **found["read_as"],
        },
        remark=found["remark"],
    )


def compare(costs: list[Cost]) -> list[Ratio]:
    """Every program against edge-fer in the same round; UnavailableError where a round has nothing of edge-fer."""
    edge = {(cost.who, cost.round): cost.cpu_ms_per_frame for cost in costs if cost.who in EDGE_FER}
    ratios = []
    for who in dict.fromkeys(cost.who for cost in costs if cost.who not in EDGE_FER):
        for than in EDGE_FER:
            rounds = []
            for cost in costs:
                if cost.who != who:
                    continue
                if not edge.get((than, cost.round)):
                    raise UnavailableError(f"round {cost.round}: no CPU time was measured of {than}")
                rounds.append(round(cost.cpu_ms_per_frame / edge[than, cost.round], 2))
            ratios.append(Ratio(who, than, min(rounds), rounds))
    return ratios


def show(clip: Path, costs: list[Cost], ratios: list[Ratio]) -> None:
    """Tables for people."""
    click.echo(f"{clip}\n")
    heads = ("round", "frames", "CPU ms/frame", "no decoding", "MB", "first s", "CPU s")
    click.echo(f"{'':<27}" + "".join(f"{head:>{width}}" for head, width in zip(heads, WIDTHS, strict=True)))
    for cost in sorted(costs, key=lambda cost: cost.who):
        cells = (
            *(cost.round, cost.frames, f"{cost.cpu_ms_per_frame:.2f}", _figure(cost.cpu_ms_without_decode, 2)),
            *(f"{cost.peak_rss_mb:.0f}", _figure(cost.first_result_s, 1), f"{cost.whole_process_cpu_s:.1f}"),
        )
        click.echo(f"{cost.who:<27}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, WIDTHS, strict=True)))
    click.echo("\ntimes the CPU per frame of edge-fer, decoding included: the lowest of all rounds (each round)")
    for ratio in ratios:
        each = ", ".join(f"{value:.1f}" for value in ratio.rounds)
        click.echo(f"{ratio.who:<27}{ratio.lowest:>6.1f} x {ratio.than:<16} ({each})")
    click.echo("\nwhat is done for a frame, what was found (newest round), and from when the first result counts")
    for cost in {cost.who: cost for cost in costs}.values():
        click.echo(f"{cost.who}: {cost.what}; {cost.first_result}")
        for text in (", ".join(f"{name} {value:g}" for name, value in cost.found.items()), cost.remark):
            if text:
                click.echo(f"    {text}")


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    try:
        main.main(standalone_mode=False)
    except EdgeFerError as err:
        click.echo(f"compare_fer: {err}", err=True)
        sys.exit(err.exit_code)
    except click.ClickException as err:
        err.show()
        sys.exit(err.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)

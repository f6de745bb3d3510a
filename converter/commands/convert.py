"""`convert`."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click

from converter.commands.common import FILE, NETWORK, figures_line, need_tensorflow
from edge_fer.card import MODELS, InputScaling, load_verified
from edge_fer.classify import NetworkName
from edge_fer.errors import UnavailableError
from edge_fer.labels import EXPRESSIONS


@click.command()
@click.argument("weights", type=FILE, metavar="WEIGHTS")
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    default=["int8"],
    show_default=True,
    help="float32, float16, int8, int8-float-io, dynamic, or a TOML file; may be given several times.",
)
@click.option("--calibration", type=FILE, help="npz with `images` of training faces: int8 ranges are measured on them.")
@click.option(
    "--validation", type=FILE, help="npz with `images` and `votes` or `labels`: figures, temperature, report."
)
@click.option("--out", type=FILE, default=MODELS, help="Folder for the models and their cards.", show_default=True)
@click.option("--network", type=NETWORK, help="Where the weights file does not tell.")
@click.option("--labels", type=FILE, help="Text file, one label a line; the eight expressions without it.")
@click.option("--scaling", type=click.Choice(["-1..1", "0..1", "0..255"]), default="-1..1", show_default=True)
@click.option("--name", help="Of the files; by default that of the network or of WEIGHTS.")
@click.option("--report/--no-report", default=True, help="Write NAME.html beside each model, with --validation.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
def convert(  # a parameter for each option
    *,
    weights: Path,
    recipes: tuple[str, ...],
    calibration: Path | None,
    validation: Path | None,
    out: Path,
    network: str | None,
    labels: Path | None,
    scaling: str,
    name: str | None,
    report: bool,
    force: bool,
) -> None:
    """Convert trained weights to TFLite, verify the files and write them with their cards.

    WEIGHTS: .keras, .weights.h5, a SavedModel folder, .onnx, or .safetensors / .npz of the Nano layers by name.
    """
    from converter.recipe import read_conversion_recipe

    chosen = dict(read_conversion_recipe(recipe) for recipe in recipes)
    need_tensorflow()
    from converter.convert import Conversion
    from converter.convert import convert as run

    job = Conversion(
        weights,
        chosen,
        out,
        calibration=calibration,
        validation=validation,
        labels=_read_labels(labels) if labels else EXPRESSIONS,
        network=cast("NetworkName | None", network),
        name=name,
        scaling=cast("InputScaling", scaling),
        report=report,
        force=force,
    )
    for path in run(job):
        _, card = load_verified(path)
        figures = card.metrics.get(card.default_operating_point)
        click.echo(f"{path}: {figures_line(figures) if figures else 'not measured: give --validation'}")


def _read_labels(path: Path) -> tuple[str, ...]:
    try:
        labels = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as err:
        raise UnavailableError(f"{path}: cannot be read ({err})") from err
    if len(labels) < 2 or len(set(labels)) < len(labels):  # noqa: PLR2004 - a choice needs two
        raise UnavailableError(f"{path}: holds {len(labels)} labels, {len(set(labels))} different; need 2 or more")
    return labels

"""`evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import click

from converter.commands.common import FILE, figures_line
from edge_fer.card import load_verified
from edge_fer.classify import Prior, check_prior, choose_point
from edge_fer.errors import UsageError
from edge_fer.tflite import Graph, RuntimeChoice


@click.command()
@click.option("--model", type=FILE, required=True, help="A TFLite file with its card beside it.")
@click.option("--data", type=FILE, required=True, help="npz with `images` and `votes` or `labels`.")
@click.option(
    "--prior",
    default="default",
    show_default=True,
    help="Operating point of the card (observed, dashboard, balanced), or a share for each expression: 0.4,0.3,...",
)
@click.option("--robust", is_flag=True, help="Also what shifts, blur, noise, JPEG, occlusion ... cost.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--runtime", type=click.Choice(["auto", "litert", "tflite-runtime"]), default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
def evaluate(  # a parameter for each option
    *, model: Path, data: Path, prior: str, robust: bool, as_json: bool, runtime: str, threads: int
) -> None:
    """Measure a model file on labelled faces; on the validation data this gives the figures of its card."""
    from converter.data import load_labelled
    from converter.evaluate import set_report
    from converter.inference import infer_file
    from converter.robust import robust_file

    content, card = load_verified(model)
    name, point = choose_point(card, _prior(prior), str(model))
    faces = load_labelled(data, card.labels)
    graph = Graph(str(model), content, runtime=cast("RuntimeChoice", runtime), threads=threads)
    report: dict[str, Any] = {"operating_point": name, "temperature": point.temperature}
    report |= set_report(
        infer_file(graph, card, faces.images, str(data)), card.output, point, faces, str(data), card.labels
    )
    if robust:
        report["robust"] = robust_file(graph, card, point, faces, str(data))
    click.echo(json.dumps(report, indent=1) if as_json else _table(report))


def _prior(text: str) -> Prior:
    """`observed`, or eight numbers with commas between; UsageError otherwise."""
    try:
        return check_prior(_shares(text) if "," in text else text)
    except ValueError as err:
        raise UsageError(f"--prior: {err}") from err


def _shares(text: str) -> list[float]:
    try:
        return [float(share) for share in text.split(",")]
    except ValueError as err:
        raise UsageError(f"--prior: found {text!r}; shares are numbers with commas between") from err


def _table(report: dict[str, Any]) -> str:
    """The figures for people: a line for each expression, then the sums."""
    lines = [f"{'expression':<12} {'recall':>8} {'images':>8}"]
    lines += [f"{name:<12} {row['recall']:>8.4f} {row['n']:>8}" for name, row in report["per_class"].items()]
    abstain = report["abstain"]
    closed = ", ".join(f"{name} {report[name]:.4f}" for name in ("accuracy_closed", "macro_recall_closed"))
    right = "none" if abstain["accuracy"] is None else f"{abstain['accuracy']:.4f} of them right"
    lines += [
        "",
        f"operating point {report['operating_point']}, temperature {report['temperature']:.2f}",
        f"{'majority':<12} {figures_line(report)}, calibration error {report['ece']:.4f}",
        f"{'closed':<12} {closed}: of the expressions that occur, the best",
        f"{'abstaining':<12} below {abstain['min_confidence']:.2f}: {abstain['coverage']:.4f} are read, {right}",
        f"{'all':<12} {figures_line(report['all'])}",
    ]
    if robust := report.get("robust"):
        lines += ["", f"{'changed':<22} {'accuracy':>8} {'points':>7}"]
        lines += [
            f"{name:<22} {row['accuracy']:>8.4f} {-row['loss_points']:>+7.2f}"
            for name, row in robust["perturbations"].items()
        ]
        lines += [f"{'mean of the kinds':<22} {'':>8} {-robust['mean_loss_points']:>+7.2f}"]
    return "\n".join(lines)

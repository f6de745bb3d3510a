"""A model's report: one HTML page with what the card says and what the file does, measured anew."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from converter.data import load_labelled, read_npz
from converter.evaluate import require_majority
from converter.files import make_folder, write_whole
from converter.inference import infer_file
from converter.report.figures import differences, earlier_uses, point_figures
from converter.report.page import page
from converter.report.sections import (
    calibration_section,
    confusion_section,
    recall_section,
    robustness_section,
    trade_off_section,
)
from converter.report.words import card_sections, headline_section, made_section, summary_header
from converter.robust import robust_file
from edge_fer.card import load_verified
from edge_fer.errors import UsageError
from edge_fer.tflite import Graph, XnnpackShare

if TYPE_CHECKING:
    from converter.data import LabelledSet
    from edge_fer.card import ModelCard
    from edge_fer.tflite import Runtime

WHEELS: Mapping[Runtime, str] = {"litert": "ai-edge-litert", "tflite-runtime": "tflite-runtime"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What the figures of a page were made of and on; names are without folders."""

    model: str
    data: str
    data_sha256: str
    images: int  # in the data file, with those that show no expression
    runtime: str  # with its version
    machine: str  # kind of CPU
    xnnpack: XnnpackShare

    @property
    def command(self) -> str:
        """What makes the page again; `--no-robust` is the caller's to add."""
        out = str(Path(self.model).with_suffix(".html"))
        return shlex.join(
            ("python", "-m", "converter", "report", "--model", self.model, "--data", self.data, "--out", out)
        )


def write_report(model: Path, data: Path, out: Path, *, robust: bool = True, force: bool = False) -> None:
    """Measure a model file (its card beside it) on labelled faces and write the page, beside its place, then renamed.

    `robust` also measures it on changed pictures, which takes minutes. UsageError where `out` is there and not `force`;
    ModelError where model and card are damaged or do not fit together; UnavailableError where the data cannot be read
    or the page not be written.
    """
    if out.exists() and not force:
        raise UsageError(f"{out}: is there already; --force replaces it")
    content, card = load_verified(model)
    faces = load_labelled(data, card.labels)
    require_majority(faces, str(data))
    make_folder(out.parent)  # a wrong place is told before the minutes of measuring
    graph = Graph(str(model), content)
    outputs = infer_file(graph, card, faces.images, str(data))
    point = card.operating_points[card.default_operating_point]
    losses = robust_file(graph, card, point, faces, str(data)) if robust else None
    run = Run(
        model=model.name,
        data=data.name,
        data_sha256=hashlib.sha256(data.read_bytes()).hexdigest(),
        images=len(read_npz(data, ("images",))["images"]),
        runtime=f"{graph.runtime} {importlib.metadata.version(WHEELS[graph.runtime])}",
        machine=platform.machine(),
        xnnpack=graph.xnnpack,
    )
    write_whole({out: build_report(card, outputs, faces, losses, run).encode()})


def build_report(
    card: ModelCard,
    outputs: npt.NDArray[np.floating[Any]],
    faces: LabelledSet,
    robust: dict[str, Any] | None,
    run: Run,
) -> str:
    """The page, from what the network gives (N, classes) for faces with labels in the card's order.

    The same arguments give the same text. `robust` is a `robust_report` of the default operating point, or None
    to leave that part out.
    """
    figures = [point_figures(name, card, outputs, faces) for name in card.operating_points]
    default = next(entry for entry in figures if entry.name == card.default_operating_point)
    parts = [
        summary_header(card, default, run),
        headline_section(card, figures, default, differences(card, figures), earlier_uses(card, run.data_sha256)),
        recall_section(card, figures, default),
        confusion_section(card, default),
        calibration_section(default),
        trade_off_section(default),
        robustness_section(robust, default) if robust is not None else "",
        *card_sections(card),
        made_section(run, run.command if robust is not None else f"{run.command} --no-robust"),
    ]
    return page(f"{card.name}: model report", parts)

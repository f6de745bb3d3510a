"""The figures of a model report: of each operating point, with how sure they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from converter.evaluate import DECIMALS, ECE_BINS, coverage, expected_calibration_error
from edge_fer.classify import calibrated

if TYPE_CHECKING:
    from converter.data import LabelledSet
    from edge_fer.card import Coverage, ModelCard, OperatingPoint

Z_95 = 1.959964
"""Standard deviations on either side that hold 95 % of a normal distribution."""

SWEEP = tuple(round(0.01 * step, 2) for step in range(100))
"""Thresholds of the coverage curve."""

MIN_FACES_ON_CURVE = 30
"""The coverage curve ends where fewer faces are left: their accuracy would be chance."""

Probabilities = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


class Share(NamedTuple):
    """So many of so many."""

    right: int
    n: int

    @property
    def value(self) -> float:
        """0-1; nan of none."""
        return self.right / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true share lies with 95 % confidence (Wilson 1927); honest for few faces, unlike +- 1.96 sigma."""
        if not self.n:
            return 0.0, 1.0
        z2 = Z_95**2
        centre = (self.right + z2 / 2) / (self.n + z2)
        half = Z_95 / (self.n + z2) * math.sqrt(self.right * (self.n - self.right) / self.n + z2 / 4)
        return max(0.0, centre - half), min(1.0, centre + half)


class Bin(NamedTuple):
    """The faces that were read with about the same confidence."""

    low: float
    high: float
    confidence: float  # mean of the faces; nan of none
    right: Share


@dataclass(frozen=True, slots=True)
class PointFigures:
    """What one operating point gives; `every` counts all faces, the rest those with a clear expression."""

    name: str
    point: OperatingPoint
    accuracy: Share
    every: Share
    macro_recall: float
    ece: float
    ece_before: float  # with temperature 1
    abstain: Coverage
    abstain_every: Coverage
    confusion: npt.NDArray[np.int64]  # (classes, classes): shown, read
    bins: tuple[Bin, ...]
    bins_before: tuple[Bin, ...]  # with temperature 1
    curve: tuple[Coverage, ...]
    curve_every: tuple[Coverage, ...]

    @property
    def recalls(self) -> list[Share]:
        """Of each label, in the card's order; n is 0 where it does not occur."""
        return [Share(int(row[index]), int(row.sum())) for index, row in enumerate(self.confusion)]


def point_figures(
    name: str, card: ModelCard, outputs: npt.NDArray[np.floating[Any]], faces: LabelledSet
) -> PointFigures:
    """The figures of one of the card's points, from outputs (N, classes) for faces with labels in the card's order."""
    point, sure = card.operating_points[name], faces.majority
    every = calibrated(outputs, card.output, point)
    plain = calibrated(outputs[sure], card.output, point.model_copy(update={"temperature": 1.0}))
    clear, labels = every[sure], faces.labels[sure]
    confusion = np.zeros((len(card.labels), len(card.labels)), np.int64)
    np.add.at(confusion, (labels, clear.argmax(axis=1)), 1)
    occurring = confusion.sum(axis=1) > 0
    return PointFigures(
        name=name,
        point=point,
        accuracy=_right(clear, labels),
        every=_right(every, faces.labels),
        macro_recall=float((confusion.diagonal()[occurring] / confusion.sum(axis=1)[occurring]).mean()),
        ece=_ece(clear, labels),
        ece_before=_ece(plain, labels),
        abstain=coverage(clear, labels, point.min_confidence),
        abstain_every=coverage(every, faces.labels, point.min_confidence),
        confusion=confusion,
        bins=_bins(clear, labels),
        bins_before=_bins(plain, labels),
        curve=_curve(clear, labels),
        curve_every=_curve(every, faces.labels),
    )


def differences(card: ModelCard, figures: Sequence[PointFigures]) -> list[tuple[str, str, str, str]]:
    """(point, figure, card, here) of every main figure that the card gives otherwise, as text."""
    found = []
    for here in figures:
        measured = {
            "accuracy": here.accuracy.value,
            "macro_recall": here.macro_recall,
            "ece": here.ece,
            "n": here.accuracy.n,
        }
        stored = card.metrics.get(here.name, {})
        for key, value in measured.items():
            written = round(value, DECIMALS)
            if key in stored and stored[key] != written:
                found.append((here.name, key, f"{stored[key]}", f"{written}"))
    return found


def earlier_uses(card: ModelCard, data_sha256: str) -> list[str] | None:
    """What the faces of a data file served for before this report, as the card's recipe has it; None if it has none."""
    training = card.recipe.get("training") or {}
    known = {
        "training was watched on": training.get("inputs", {}).get("validation set"),
        "temperature and threshold were chosen on": card.recipe.get("validation_sha256"),
    }
    if not any(known.values()):
        return None
    return [use for use, sha256 in known.items() if sha256 == data_sha256]


def _right(probabilities: Probabilities, labels: Labels) -> Share:
    return Share(int((probabilities.argmax(axis=1) == labels).sum()), len(labels))


def _ece(probabilities: Probabilities, labels: Labels) -> float:
    return expected_calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)


def _bins(probabilities: Probabilities, labels: Labels) -> tuple[Bin, ...]:
    """The bins of `expected_calibration_error`."""
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    places = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    bins = []
    for index in range(ECE_BINS):
        inside = places == index
        mean = float(confidence[inside].mean()) if inside.any() else math.nan
        share = Share(int(correct[inside].sum()), int(inside.sum()))
        bins.append(Bin(index / ECE_BINS, (index + 1) / ECE_BINS, mean, share))
    return tuple(bins)


def _curve(probabilities: Probabilities, labels: Labels) -> tuple[Coverage, ...]:
    rows = (coverage(probabilities, labels, threshold) for threshold in SWEEP)
    return tuple(row for row in rows if row.coverage * len(labels) >= min(MIN_FACES_ON_CURVE, len(labels)))

"""How good probabilities are: accuracy, recall of each expression, honesty of the confidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edge_fer.card import Coverage
from edge_fer.classify import calibrated
from edge_fer.errors import UnavailableError
from edge_fer.labels import EXPRESSIONS

if TYPE_CHECKING:
    from converter.data import LabelledSet
    from edge_fer.card import OperatingPoint, OutputKind

ECE_BINS = 15

DECIMALS = 6
"""Of every figure in a card: finer than one image in a million, coarser than the last bits of a CPU's float32."""


def set_report(
    outputs: npt.NDArray[np.floating[Any]],
    kind: OutputKind,
    point: OperatingPoint,
    faces: LabelledSet,
    source: str,
    names: tuple[str, ...] = EXPRESSIONS,
) -> dict[str, Any]:
    """The figures of a model card at an operating point, from what the network gives (N, 8) for a set of faces.

    `scores_report` of the majority images; what abstaining does to them; under "all" the main figures of every image.
    UnavailableError names `source` where there is no image to count.
    """
    require_majority(faces, source)
    probabilities = calibrated(outputs, kind, point)
    sure, labels = probabilities[faces.majority], faces.labels[faces.majority]
    report = scores_report(sure, labels, names)
    report["abstain"] = coverage(sure, labels, point.min_confidence).model_dump()
    every = scores_report(probabilities, faces.labels, names)
    report["all"] = {key: every[key] for key in ("accuracy", "macro_recall", "n")}
    result: dict[str, Any] = rounded(report)
    return result


def require_majority(faces: LabelledSet, source: str) -> None:
    """UnavailableError names `source` where there is no majority image."""
    if not faces.majority.any():
        found = f"{len(faces.labels)} images with an expression, none of them" if len(faces.labels) else "no image"
        raise UnavailableError(f"{source}: {found} to evaluate on; at least one must have a clear expression")


def scores_report(
    probabilities: npt.NDArray[np.floating[Any]],
    labels: npt.NDArray[np.int64],
    names: tuple[str, ...] = EXPRESSIONS,
) -> dict[str, Any]:
    """Figures of (N, classes) probabilities against (N,) labels.

    `accuracy`; `macro_recall`, the mean recall of the expressions that occur; the same `_closed`, where only those
    count as answers; `per_class`, `n`, and `ece`, the expected calibration error.
    """
    predicted = probabilities.argmax(axis=1)
    correct = predicted == labels
    occurring = np.unique(labels)
    closed = occurring[probabilities[:, occurring].argmax(axis=1)] == labels
    per_class = {
        names[index]: {"recall": float(correct[labels == index].mean()), "n": int((labels == index).sum())}
        for index in occurring
    }
    return {
        "accuracy": float(correct.mean()),
        "macro_recall": _macro_recall(correct, labels),
        "accuracy_closed": float(closed.mean()),
        "macro_recall_closed": _macro_recall(closed, labels),
        "per_class": per_class,
        "n": len(labels),
        "ece": expected_calibration_error(probabilities.max(axis=1), correct),
    }


def main_figures(probabilities: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.int64]) -> dict[str, float]:
    """Accuracy and mean recall of (N, classes) probabilities, as a card writes them."""
    correct = probabilities.argmax(axis=1) == labels
    figures = {"accuracy": float(correct.mean()), "macro_recall": _macro_recall(correct, labels)}
    return {name: round(value, DECIMALS) for name, value in figures.items()}


def _macro_recall(correct: npt.NDArray[np.bool_], labels: npt.NDArray[np.int64]) -> float:
    return float(np.mean([correct[labels == index].mean() for index in np.unique(labels)]))


def coverage(
    probabilities: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.int64], min_confidence: float
) -> Coverage:
    """How many faces are read, and how many of those right, where the others are left "uncertain"."""
    kept = probabilities.max(axis=1) >= min_confidence
    right = probabilities.argmax(axis=1)[kept] == labels[kept]
    return Coverage(
        min_confidence=min_confidence,
        coverage=round(float(kept.mean()), DECIMALS),
        accuracy=round(float(right.mean()), DECIMALS) if len(right) else None,
    )


def expected_calibration_error(confidence: npt.NDArray[np.floating[Any]], correct: npt.NDArray[np.bool_]) -> float:
    """Mean distance of confidence and accuracy over equal-width bins (Guo et al. 2017), 0 is honest."""
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = [
        abs(confidence[bins == index].mean() - correct[bins == index].mean()) * (bins == index).sum()
        for index in range(ECE_BINS)
        if (bins == index).any()
    ]
    return float(sum(gaps) / len(confidence))


def rounded(value: Any) -> Any:  # noqa: ANN401  # whatever JSON holds
    """The same with every float as a card writes it."""
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    return round(value, DECIMALS) if isinstance(value, float) else value

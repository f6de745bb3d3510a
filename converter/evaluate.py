"""How good probabilities are: accuracy, recall of each expression, honesty of the confidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edge_fer.errors import UnavailableError
from edge_fer.labels import EXPRESSIONS

if TYPE_CHECKING:
    from converter.data import LabelledSet

ECE_BINS = 15

DECIMALS = 6
"""Of every figure in a card: finer than one image in a million, coarser than the last bits of a CPU's float32."""


def set_report(probabilities: npt.NDArray[np.floating[Any]], faces: LabelledSet, source: str) -> dict[str, Any]:
    """The figures of a model card: `scores_report` of the majority images; under "all" the main ones of every image.

    UnavailableError names `source` where there is no image to count.
    """
    require_majority(faces, source)
    report = scores_report(probabilities[faces.majority], faces.labels[faces.majority])
    every = scores_report(probabilities, faces.labels)
    report["all"] = {key: every[key] for key in ("accuracy", "macro_recall", "n")}
    rounded: dict[str, Any] = _rounded(report)
    return rounded


def require_majority(faces: LabelledSet, source: str) -> None:
    """UnavailableError names `source` where there is no majority image."""
    if not faces.majority.any():
        found = f"{len(faces.labels)} images with an expression, none of them" if len(faces.labels) else "no image"
        raise UnavailableError(f"{source}: {found} to evaluate on; at least one must have a clear expression")


def scores_report(probabilities: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.int64]) -> dict[str, Any]:
    """`accuracy`, `macro_recall` (mean over expressions that occur), `per_class`, `n` and `ece` of (N, 8) scores."""
    predicted = probabilities.argmax(axis=1)
    correct = predicted == labels
    per_class = {
        name: {"recall": float(correct[labels == index].mean()), "n": int((labels == index).sum())}
        for index, name in enumerate(EXPRESSIONS)
        if (labels == index).any()
    }
    return {
        "accuracy": float(correct.mean()),
        "macro_recall": float(np.mean([entry["recall"] for entry in per_class.values()])),
        "per_class": per_class,
        "n": len(labels),
        "ece": expected_calibration_error(probabilities.max(axis=1), correct),
    }


def expected_calibration_error(confidence: npt.NDArray[np.floating[Any]], correct: npt.NDArray[np.bool_]) -> float:
    """Mean distance of confidence and accuracy over equal-width bins (Guo et al. 2017), 0 is honest."""
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = [
        abs(confidence[bins == index].mean() - correct[bins == index].mean()) * (bins == index).sum()
        for index in range(ECE_BINS)
        if (bins == index).any()
    ]
    return float(sum(gaps) / len(confidence))


def _rounded(value: Any) -> Any:  # noqa: ANN401  # whatever JSON holds
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return round(value, DECIMALS) if isinstance(value, float) else value

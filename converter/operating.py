"""A network's operating points: priors to read at, the temperature that is honest there, and when to abstain.

Priors: Menon et al., "Long-tail learning via logit adjustment", 2021. Temperature: Guo et al., "On Calibration of
Modern Neural Networks", 2017.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from converter.evaluate import coverage
from edge_fer.card import OperatingPoint
from edge_fer.classify import calibrated
from edge_fer.decide import EVEN_ODDS

if TYPE_CHECKING:
    from converter.data import LabelledSet
    from edge_fer.card import OutputKind

POWERS = {"observed": 1.0, "dashboard": 0.5, "balanced": 0.0}
"""Each point expects the training's prior to this power: as it is, half way, and none."""

DEFAULT_POINT = "dashboard"

AS_TRAINED = "as_trained"
"""The only point of a network whose training prior is not known."""

TEMPERATURES = np.geomspace(0.2, 5.0, 33)
"""First candidates, a tenth apart; then as many between the neighbours of the best: the loss has one minimum."""

THRESHOLDS = tuple(round(0.3 + 0.05 * step, 2) for step in range(13))
"""Confidences at which coverage and accuracy are listed, and from which the abstain threshold is chosen."""

NEIGHBOURHOOD = 0.1
"""Readings up to this much surer than a threshold tell how often it is right at it."""


def prior_offsets(training_prior: npt.NDArray[np.float64], tau: float) -> dict[str, npt.NDArray[np.float64]]:
    """What each operating point adds to the logits of a network trained with logit adjustment `tau`.

    Such logits are log p(label | face) - tau log prior + constant; a point expects prior ** power.
    """
    return {name: (tau - 1 + power) * np.log(training_prior) for name, power in POWERS.items()}


def unmeasured_points(
    classes: int, training_prior: npt.NDArray[np.float64] | None, tau: float
) -> dict[str, OperatingPoint]:
    """The operating points of a network as far as its training tells them: temperature 1, even odds.

    Without a known prior there is only the one that it was trained to, whatever that was.
    """
    if training_prior is None:
        flat = OperatingPoint(prior=None, offset=(0.0,) * classes, temperature=1, min_confidence=EVEN_ODDS)
        return {AS_TRAINED: flat}
    points = {}
    for name, offset in prior_offsets(training_prior, tau).items():
        expected = training_prior ** POWERS[name]
        points[name] = OperatingPoint(
            prior=tuple(np.round(expected / expected.sum(), 6).tolist()),
            offset=tuple(np.round(offset, 6).tolist()),
            temperature=1,
            min_confidence=EVEN_ODDS,
        )
    return points


def fit_point(
    start: OperatingPoint, outputs: npt.NDArray[np.floating[Any]], kind: OutputKind, faces: LabelledSet
) -> OperatingPoint:
    """The point with the temperature, threshold and coverage table that the validation faces give.

    The temperature has the greatest likelihood on the majority images. The threshold counts every image, because a
    daemon meets faces that annotators disagree about too.
    """
    sure, labels = outputs[faces.majority], faces.labels[faces.majority]

    def loss(temperature: float) -> float:
        probabilities = calibrated(sure, kind, start.model_copy(update={"temperature": temperature}))
        return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())

    nearest = min(TEMPERATURES, key=loss)
    step = TEMPERATURES[1] / TEMPERATURES[0]
    temperature = round(float(min(np.geomspace(nearest / step, nearest * step, len(TEMPERATURES)), key=loss)), 4)
    point = start.model_copy(update={"temperature": temperature})
    every = calibrated(outputs, kind, point)
    rows = tuple(coverage(every[faces.majority], labels, threshold) for threshold in THRESHOLDS)
    return point.model_copy(update={"min_confidence": abstain_below(every, faces.labels), "coverage": rows})


def abstain_below(probabilities: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> float:
    """The lowest threshold at which a reading is right more often than wrong."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    for threshold in THRESHOLDS:
        near = (confidence >= threshold) & (confidence < threshold + NEIGHBOURHOOD)
        if near.any() and right[near].mean() > EVEN_ODDS:
            return threshold
    return THRESHOLDS[-1]

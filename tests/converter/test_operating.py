import numpy as np
import pytest

from converter.data import LabelledSet
from converter.operating import AS_TRAINED, POWERS, abstain_below, fit_point, prior_offsets, unmeasured_points
from edge_fer.card import OperatingPoint
from edge_fer.classify import calibrated

PRIOR = np.array([0.4, 0.3, 0.1, 0.1, 0.05, 0.02, 0.02, 0.01])


def drawn(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels by PRIOR, and log-likelihoods (N, 8) of a measurement that tells a little about them."""
    labels = rng.choice(8, count, p=PRIOR)
    measured = rng.normal(0, 1, (count, 8)) + 1.5 * np.eye(8)[labels]
    return labels, 1.5 * measured  # log N(x; 1.5, 1) - log N(x; 0, 1), up to a constant for all labels


def fitted(logits: np.ndarray, labels: np.ndarray, prior: np.ndarray | None, tau: float) -> dict[str, OperatingPoint]:
    faces = LabelledSet(np.zeros((len(labels), 1, 1), np.uint8), labels, np.ones(len(labels), np.bool_))
    points = unmeasured_points(8, prior, tau)
    return {name: fit_point(point, logits, "logits", faces) for name, point in points.items()}


@pytest.mark.parametrize("tau", [0.0, 0.7, 1.0])
def test_at_observed_the_right_posterior_comes_out_whatever_the_training_adjusted(tau: float) -> None:
    labels, likelihoods = drawn(np.random.default_rng(0), 8_000)
    posterior = likelihoods + np.log(PRIOR)
    # A network trained with logit adjustment tau gives this, up to a constant; here too cautious by a factor of two.
    logits = 0.5 * posterior - tau * np.log(PRIOR) + 3.0
    point = fitted(logits, labels, PRIOR, tau)["observed"]
    exact = np.exp(posterior) / np.exp(posterior).sum(axis=1, keepdims=True)
    assert point.temperature == pytest.approx(0.5, abs=0.03)
    assert calibrated(logits, "logits", point) == pytest.approx(exact, abs=0.02)


def test_a_network_that_is_too_cautious_gets_a_temperature_below_one() -> None:
    labels, likelihoods = drawn(np.random.default_rng(1), 8_000)
    logits = 0.5 * (likelihoods + np.log(PRIOR))
    point = fitted(logits, labels, None, 0.0)[AS_TRAINED]
    assert point.temperature == pytest.approx(0.5, abs=0.03)


def test_balanced_reads_rare_expressions_more_often_than_observed() -> None:
    labels, likelihoods = drawn(np.random.default_rng(2), 8_000)
    points = fitted(likelihoods, labels, PRIOR, 1.0)
    share = {name: (calibrated(likelihoods, "logits", points[name]).argmax(axis=1) >= 4).mean() for name in POWERS}
    assert share["observed"] < share["dashboard"] < share["balanced"]


def test_offsets_by_hand() -> None:
    offsets = prior_offsets(PRIOR, 0.7)
    assert offsets["observed"] == pytest.approx(0.7 * np.log(PRIOR))
    assert offsets["balanced"] == pytest.approx(-0.3 * np.log(PRIOR))
    assert offsets["dashboard"] == pytest.approx(0.2 * np.log(PRIOR))


def test_abstains_where_readings_are_more_often_wrong_than_right() -> None:
    # Of readings at 0.52 one in four is right, at 0.57 and 0.62 three in four.
    confidence = np.repeat([0.52, 0.57, 0.62], 4)
    right = np.array([1, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0], bool)
    table = np.stack([confidence, 1 - confidence], axis=1)
    # From 0.45 on the readings up to 0.55 are wrong, from 0.5 on those up to 0.6 are half right: 0.55 is the first.
    assert abstain_below(table, np.where(right, 0, 1)) == 0.55


def test_the_coverage_table_falls_while_its_accuracy_rises() -> None:
    labels, likelihoods = drawn(np.random.default_rng(3), 5_000)
    rows = fitted(likelihoods, labels, PRIOR, 1.0)["observed"].coverage
    assert [row.coverage for row in rows] == sorted((row.coverage for row in rows), reverse=True)
    first, last = rows[0].accuracy, rows[-1].accuracy
    assert first is not None
    assert last is not None
    assert first < last

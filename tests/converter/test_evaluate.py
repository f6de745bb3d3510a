import numpy as np
import pytest

from converter.data import LabelledSet
from converter.evaluate import expected_calibration_error, scores_report, set_report
from converter.inference import to_input_size
from edge_fer.card import OperatingPoint
from edge_fer.classify import calibrated
from edge_fer.errors import UnavailableError


def scores(*rows: tuple[int, float]) -> np.ndarray:
    """One row of probabilities for each (most probable expression, its probability)."""
    table = np.zeros((len(rows), 8))
    for row, (index, share) in zip(table, rows, strict=True):
        row[:] = (1 - share) / 7
        row[index] = share
    return table


def test_figures_by_hand() -> None:
    # Neutral: 2 of 3 right; happiness: 0 of 1; no other expression occurs.
    report = scores_report(scores((0, 0.9), (0, 0.8), (1, 0.7), (0, 0.6)), np.array([0, 0, 0, 1]))
    assert report["accuracy"] == 0.5
    assert report["per_class"] == {
        "neutral": {"recall": pytest.approx(2 / 3), "n": 3},
        "happiness": {"recall": 0, "n": 1},
    }
    assert report["macro_recall"] == pytest.approx(1 / 3)
    assert report["n"] == 4


def test_calibration_error_by_hand() -> None:
    # Bins of 1/15. 0.90 and 0.92 share the bin 13 (0.867 to 0.933): mean 0.91, half of them right -> 0.41 times 2.
    # 0.40 is in bin 6: right -> 0.6. 1.0 belongs into the last bin: right -> 0. Sum 1.42 over four faces.
    confidence, correct = np.array([0.90, 0.92, 0.40, 1.0]), np.array([True, False, True, True])
    assert expected_calibration_error(confidence, correct) == pytest.approx((2 * 0.41 + 0.6 + 0) / 4)


def test_closed_figures_choose_among_the_expressions_that_occur() -> None:
    # Contempt (7) is most probable for the second face, but does not occur; of what occurs, happiness is next.
    table = scores((0, 0.9), (7, 0.5), (1, 0.9))
    table[1, 1] = 0.3
    report = scores_report(table, np.array([0, 1, 1]))
    assert (report["accuracy"], report["accuracy_closed"]) == (pytest.approx(2 / 3), 1)
    assert (report["macro_recall"], report["macro_recall_closed"]) == (0.75, 1)


PLAIN = OperatingPoint(prior=None, offset=(0,) * 8, temperature=1, min_confidence=0.85)


def test_the_top_counts_the_majority_and_all_counts_every_image() -> None:
    faces = LabelledSet(np.zeros((3, 48, 48), np.uint8), np.array([0, 1, 1]), np.array([True, True, False]))
    report = set_report(scores((0, 0.9), (1, 0.8), (0, 0.9)), "probabilities", PLAIN, faces, "faces.npz")
    assert (report["accuracy"], report["macro_recall"], report["n"]) == (1, 1, 2)
    assert report["ece"] == pytest.approx(0.15)
    assert report["all"] == {"accuracy": 0.666667, "macro_recall": 0.75, "n": 3}
    assert report["abstain"] == {"min_confidence": 0.85, "coverage": 0.5, "accuracy": 1}


def test_an_operating_point_shifts_and_softens() -> None:
    faces = LabelledSet(np.zeros((1, 48, 48), np.uint8), np.array([1]), np.array([True]))
    logits = np.log(scores((0, 0.6)))
    # Twice as much happiness for the same face, and all of it less sure.
    shifted = PLAIN.model_copy(update={"offset": (0, np.log(20), 0, 0, 0, 0, 0, 0), "temperature": 2})
    assert set_report(logits, "logits", PLAIN, faces, "faces.npz")["accuracy"] == 0
    assert set_report(logits, "logits", shifted, faces, "faces.npz")["accuracy"] == 1
    odds = calibrated(logits, "logits", shifted)[0]
    assert odds[1] / odds[0] == pytest.approx(np.sqrt(20 * 0.4 / 7 / 0.6))


@pytest.mark.parametrize("count", [0, 2])
def test_nothing_to_count_is_an_error(count: int) -> None:
    faces = LabelledSet(np.zeros((count, 48, 48), np.uint8), np.zeros(count, np.int64), np.zeros(count, np.bool_))
    with pytest.raises(UnavailableError, match=r"faces\.npz: .* to evaluate on"):
        set_report(np.zeros((count, 8)), "logits", PLAIN, faces, "faces.npz")


def test_larger_faces_are_averaged_down() -> None:
    checkers = np.tile(np.array([[0, 200], [200, 0]], np.uint8), (1, 48, 48))
    assert checkers.shape == (1, 96, 96)
    small = to_input_size(checkers, "faces.npz")
    assert small.shape == (1, 48, 48)
    assert (small == 100).all()


def test_smaller_faces_are_enlarged_and_matching_ones_untouched() -> None:
    assert to_input_size(np.full((2, 24, 24), 7, np.uint8), "faces.npz").shape == (2, 48, 48)
    exact = np.arange(48 * 48, dtype=np.uint8).reshape(1, 48, 48)
    assert np.array_equal(to_input_size(exact, "faces.npz"), exact)


def test_faces_must_be_square() -> None:
    with pytest.raises(UnavailableError, match=r"faces\.npz: images are 40 x 48 px"):
        to_input_size(np.zeros((1, 40, 48), np.uint8), "faces.npz")

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_fer.card import ModelCard, OperatingPoint, card_path
from edge_fer.classify import (
    ExpressionReader,
    calibrated,
    check_prior,
    choose_point,
    fast_precision,
    model_path,
    scale_levels,
    softmax,
)
from edge_fer.errors import ConfigError, ModelError
from edge_fer.labels import EXPRESSIONS
from edge_fer.tflite import choose_runtime, installed_runtimes

SHIPPED = model_path("nano_b", fast_precision(choose_runtime("auto")))


def card() -> ModelCard:
    return ModelCard.model_validate_json(card_path(SHIPPED).read_bytes())


def odd_copy(folder: Path, **changes: Any) -> Path:
    """The shipped model with a card that says something else."""
    path = Path(shutil.copy(SHIPPED, folder))
    told = json.loads(card_path(SHIPPED).read_text()) | changes
    card_path(path).write_text(json.dumps(told))
    return path


@pytest.mark.parametrize("prior", ["default", "observed", "dashboard", "balanced"])
def test_every_shipped_card_has_the_named_operating_points(prior: Any) -> None:
    for path in SHIPPED.parent.glob("emotionnet_*.json"):
        name, point = choose_point(ModelCard.model_validate_json(path.read_bytes()), prior, str(path))
        assert name == ("dashboard" if prior == "default" else prior)
        assert point.prior is not None
        assert sum(point.prior) == pytest.approx(1, abs=1e-5)


def test_shares_of_ones_own_start_from_balanced() -> None:
    known = card()
    _, balanced = choose_point(known, "balanced", "card")
    assert choose_point(known, (2.0,) * 8, "card")[1].offset == pytest.approx(
        np.array(balanced.offset) + np.log(1 / 8), abs=1e-6
    )
    assert known.training_prior is not None
    _, observed = choose_point(known, "observed", "card")
    own = choose_point(known, known.training_prior, "card")[1]
    # An offset is free up to a constant, which no probability sees.
    difference = np.array(own.offset) - np.array(observed.offset)
    assert difference == pytest.approx(np.full(8, difference[0]), abs=1e-4)


def test_shares_are_those_of_the_expressions_whatever_the_order_of_the_labels(tmp_path: Path) -> None:
    swapped = ("happiness", "neutral", *EXPRESSIONS[2:])
    crop = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    never_neutral = (0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    reading = ExpressionReader(odd_copy(tmp_path, labels=swapped), prior=never_neutral).read(crop)
    assert reading[EXPRESSIONS.index("neutral")] == 0
    assert reading[EXPRESSIONS.index("happiness")] > 0


def test_a_share_of_zero_is_never_read() -> None:
    name, point = choose_point(card(), (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0), "card")
    assert name == "own"
    logits = np.zeros((1, 8), np.float32)
    logits[0, 7] = 50
    probabilities = calibrated(logits, "logits", point)
    assert probabilities[0, 7] == 0
    assert probabilities.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ("often", r"found 'often'; give 'default', 'dashboard', 'observed', 'balanced', 'as_trained', or 8 numbers"),
        ([1, 2], "found 2 numbers with the sum 3"),
        ([0] * 8, "found 8 numbers with the sum 0"),
        ([1, 1, 1, 1, 1, 1, 1, -1], "shares are numbers from 0 to 1e\\+06"),
        ([1e308] * 8, "shares are numbers from 0 to"),
        ([10**400] * 8, "shares are numbers from 0 to"),
        ([1, 1, 1, 1, 1, 1, 1, float("nan")], "shares are numbers from 0 to"),
        ([1, 1, 1, 1, 1, 1, 1, "1"], "shares are numbers from 0 to"),
        ([True] * 8, "give 'default'"),
        (0.5, "found 0.5; give 'default'"),
    ],
)
def test_what_is_no_prior(prior: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_prior(prior)


def test_temperature_sharpens_and_softens_without_changing_the_winner() -> None:
    logits = np.array([[2.0, 1.0, 0, 0, 0, 0, 0, 0]])
    plain = OperatingPoint(prior=None, offset=(0,) * 8, temperature=1, min_confidence=0.5)
    by_temperature = [
        calibrated(logits, "logits", plain.model_copy(update={"temperature": t}))[0, 0] for t in (0.5, 1, 2)
    ]
    assert by_temperature == sorted(by_temperature, reverse=True)
    assert by_temperature[1] == pytest.approx(np.exp(2) / (np.exp(2) + np.exp(1) + 6))


def test_probabilities_serve_as_logits() -> None:
    plain = OperatingPoint(prior=None, offset=(0, 0), temperature=1, min_confidence=0.5)
    assert calibrated(np.array([[0.9, 0.1]]), "probabilities", plain) == pytest.approx(np.array([[0.9, 0.1]]))
    assert np.isfinite(calibrated(np.array([[1.0, 0.0]]), "probabilities", plain)).all()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_probabilities_are_those_of_the_formula_to_the_last_bit(kind: type[np.floating[Any]]) -> None:
    logits = np.random.default_rng(0).normal(0, 5, (9, 8)).astype(kind)
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    assert (softmax(logits) == powers / powers.sum(axis=1, keepdims=True)).all()


def test_scalings() -> None:
    grey = np.array([0, 255], np.uint8)
    assert scale_levels(grey, "-1..1").tolist() == [-1, 1]
    assert scale_levels(grey, "0..1").tolist() == [0, 1]
    assert scale_levels(grey, "0..255").tolist() == [0, 255]


def test_the_reader_applies_its_operating_point(tmp_path: Path) -> None:
    crop = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    readings = {prior: ExpressionReader(SHIPPED, prior=prior).read(crop) for prior in ("observed", "balanced")}  # type: ignore[arg-type]
    rare = [EXPRESSIONS.index(name) for name in ("disgust", "fear", "contempt")]
    assert readings["observed"][rare].sum() < readings["balanced"][rare].sum()
    # A card that expects nothing but contempt.
    points = {"own": {"prior": None, "offset": [0] * 7 + [99], "temperature": 1, "min_confidence": 0.5}}
    path = odd_copy(tmp_path, operating_points=points, default_operating_point="own")
    assert ExpressionReader(path).read(crop).argmax() == EXPRESSIONS.index("contempt")


@pytest.mark.parametrize("runtime", installed_runtimes())
@pytest.mark.parametrize("count", [1, 2, 20])
def test_many_faces_read_as_each_of_them_alone(runtime: Any, count: int) -> None:
    reader = ExpressionReader(model_path("nano_b", fast_precision(runtime)), runtime=runtime)
    crops = np.random.default_rng(count).integers(0, 256, (count, 48, 48), np.uint8)
    together = reader.read_all(crops)
    assert together.shape == (count, len(EXPRESSIONS))
    assert (together == np.stack([reader.read(crop) for crop in crops])).all()
    # In the other order too: nothing of one face is left for the next.
    assert (reader.read_all(crops[::-1]) == together[::-1]).all()


def test_no_face_is_read_as_nothing() -> None:
    assert ExpressionReader(SHIPPED).read_all(np.zeros((0, 48, 48), np.uint8)).shape == (0, len(EXPRESSIONS))


def test_a_model_of_seven_expressions_in_another_order_is_understood(tmp_path: Path) -> None:
    # The same network whose card calls its outputs otherwise: what it gives must land under the new names.
    swapped = ("happiness", "neutral", *EXPRESSIONS[2:])
    crop = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    plain, renamed = (
        ExpressionReader(SHIPPED).read(crop),
        ExpressionReader(odd_copy(tmp_path, labels=swapped)).read(crop),
    )
    assert renamed.tolist() == [plain[1], plain[0], *plain[2:]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ["joy", *EXPRESSIONS[1:]]}, "reads 'joy'; edge-fer knows neutral"),
        ({"default_operating_point": "none"}, "not a model card .*'none' is none of observed"),
        ({"operating_points": {}}, "not a model card"),
        ({"labels": list(EXPRESSIONS[:7])}, "8 offsets for 7 labels"),
    ],
)
def test_cards_that_do_not_fit(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ExpressionReader(odd_copy(tmp_path, **changes))


def test_a_card_without_the_wanted_point_is_named(tmp_path: Path) -> None:
    points = {"as_trained": {"prior": None, "offset": [0] * 8, "temperature": 1, "min_confidence": 0.5}}
    path = odd_copy(tmp_path, operating_points=points, default_operating_point="as_trained")
    assert ExpressionReader(path).point_name == "as_trained"
    with pytest.raises(ConfigError, match=r"prior 'observed': the card of .* has only as_trained"):
        ExpressionReader(path, prior="observed")
    with pytest.raises(ConfigError, match="no 'balanced' point of expressions to start from"):
        ExpressionReader(path, prior=(1.0,) * 8)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_faces import landmarks
from drawn_shapes import TinyTraining

from converter import prepare as prepare_module
from converter.data import TrainingSet, load_training
from converter.prepare import PREPARED, prepare
from converter.recipe import TrainingRecipe
from converter.recrop import CANVAS_PX, Recropped, recrop, recrop_face
from edge_fer.detect import FaceDetector
from edge_fer.errors import ModelError
from edge_fer.frame import Box, Face


class KnowsThePlace(FaceDetector):
    """Finds the dark middle of FRAMED, as a face with its eyes level."""

    def __init__(self, *, shift_px: int = 0) -> None:
        self._shift_px = shift_px

    def detect(self, bgr: np.ndarray) -> list[Face]:
        rows, columns = np.nonzero(bgr[..., 0] < BRIGHT)
        left, top, size = columns.min() + self._shift_px, rows.min(), np.ptp(columns) + 1
        box = Box(float(left), float(top), float(size), float(size))
        x, y = box.centre
        return [Face(box, landmarks(x - 5, y, x + 5, y), 0.9)]


BRIGHT = 100

FRAMED = np.pad(np.zeros((40, 40), np.uint8), 4, constant_values=255)
"""A dark face with a light edge, whose continuation around it is light too."""


def test_a_face_is_cut_out_around_the_box_that_was_found() -> None:
    crop = recrop_face(FRAMED, KnowsThePlace(), np.random.default_rng(0))
    assert crop is not None
    assert crop.shape == (48, 48)
    # The crop is 1.18 boxes wide, and the training image 48 / 40 = 1.2: the same picture but for the shift upwards.
    assert np.abs(crop.astype(int) - np.roll(FRAMED, 2, axis=0)).mean() < 10


def test_a_face_found_elsewhere_is_not_the_face() -> None:
    detector = KnowsThePlace(shift_px=CANVAS_PX)
    assert recrop_face(FRAMED, detector, np.random.default_rng(0)) is None


def test_what_is_no_face_stays_as_it_is() -> None:
    try:
        FaceDetector("full")
    except ModelError as err:
        pytest.skip(f"no detector file: {err}")
    stripes = np.tile(np.array([0, 255], np.uint8), (3, 48, 24))
    result = recrop(stripes, 0)
    assert not result.found.any()
    assert np.array_equal(result.images, stripes)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seeds that faces were framed with, by a detector that turns them upside down."""
    seeds: list[int] = []

    def upside_down(images: np.ndarray, seed: int) -> Recropped:
        seeds.append(seed)
        return Recropped(images[:, ::-1], np.ones(len(images), np.bool_))

    monkeypatch.setattr(prepare_module, "recrop", upside_down)
    return seeds


def votes(trained: TinyTraining) -> TrainingSet:
    return load_training(trained.train_npz)


def framing(seed: int = 1) -> TrainingRecipe:
    return TrainingRecipe.model_validate(
        {"network": "nano_b", "epochs": 1, "seed": seed, "augment": {"product_crop_probability": 0.5}}
    )


def test_what_was_prepared_is_used_again_until_something_changes(
    trained: TinyTraining, tmp_path: Path, counted: list[int]
) -> None:
    first = prepare(votes(trained), framing(), tmp_path, trained.train_npz, tmp_path / "run")
    assert first.framed is not None
    assert np.array_equal(first.framed, first.faces.images[:, ::-1])
    again = prepare(votes(trained), framing(), tmp_path, trained.train_npz, tmp_path / "run")
    assert again.framed is not None
    assert np.array_equal(again.framed, first.framed)
    assert counted == [1]
    prepare(votes(trained), framing(seed=2), tmp_path, trained.train_npz, tmp_path / "run")
    assert counted == [1, 2]


def test_a_damaged_file_is_made_anew(trained: TinyTraining, tmp_path: Path, counted: list[int]) -> None:
    prepare(votes(trained), framing(), tmp_path, trained.train_npz, tmp_path / "run")
    file = tmp_path / "run" / PREPARED
    file.write_bytes(file.read_bytes()[:5000])
    assert prepare(votes(trained), framing(), tmp_path, trained.train_npz, tmp_path / "run").framed is not None
    assert counted == [1, 1]


def test_nothing_is_kept_where_nothing_takes_time(trained: TinyTraining, tmp_path: Path) -> None:
    recipe = TrainingRecipe(network="nano_b", epochs=1)
    assert prepare(votes(trained), recipe, tmp_path, trained.train_npz, tmp_path / "run").framed is None
    assert not (tmp_path / "run").exists()

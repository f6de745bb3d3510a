"""A tiny training that several tests use."""

from __future__ import annotations

import pytest
from drawn_shapes import RECIPE, TRAIN_IMAGES, VALID_IMAGES, TinyTraining, write_set

from converter.train import train


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TinyTraining:
    """A finished training, never interrupted."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny = TinyTraining(folder / "data", folder / "tiny.toml", folder / "run")
    tiny.data.mkdir()
    write_set(tiny.data / "ferplus_train.npz", TRAIN_IMAGES, seed=1)
    write_set(tiny.data / "ferplus_valid.npz", VALID_IMAGES, seed=2)
    tiny.recipe_file.write_text(RECIPE)
    train(tiny.recipe, folder, tiny.train_npz, tiny.valid_npz, tiny.out)
    return tiny

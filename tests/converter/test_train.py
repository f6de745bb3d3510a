import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from drawn_shapes import TinyTraining, write_set

from converter.recipe import TrainingRecipe
from converter.train import read_history, train
from edge_fer.errors import UnavailableError, UsageError


class Interruption(logging.Handler):
    """Ctrl-C when the training reports the end of an epoch, before its checkpoint is written."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self._start = f"epoch {epoch}:"

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith(self._start):
            raise KeyboardInterrupt


def run(tiny: TinyTraining, out: Path) -> Path:
    return train(tiny.recipe, tiny.data / "ferplus_train.npz", tiny.data / "ferplus_valid.npz", out)


def test_the_shapes_are_learnt(trained: TinyTraining) -> None:
    history = read_history(trained.out, trained.recipe)
    assert len(history) == trained.recipe.epochs
    assert history[-1]["loss"] < history[0]["loss"]
    assert history[-1]["accuracy"] > 0.7  # of eight shapes


@pytest.fixture
def step_by_step() -> Iterator[None]:
    """Without compiling the graph, which takes longer than these few steps."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(run_eagerly=True)
    yield
    tf.config.run_functions_eagerly(run_eagerly=False)


@pytest.mark.usefixtures("step_by_step")
@pytest.mark.filterwarnings("ignore:Even though the .tf.config.experimental_run_functions_eagerly")
def test_an_interrupted_training_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    train_npz, valid_npz = tmp_path / "train.npz", tmp_path / "valid.npz"
    write_set(train_npz, 16, seed=1)
    write_set(valid_npz, 16, seed=2)
    recipe = TrainingRecipe(network="nano_b", epochs=2, batch_size=4, logit_adjustment=0.5, seed=3)
    train(recipe, train_npz, valid_npz, tmp_path / "whole")
    interruption, logger = Interruption(epoch=2), logging.getLogger("converter.train")
    level = logger.level
    logger.addHandler(interruption)
    logger.setLevel(logging.INFO)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(recipe, train_npz, valid_npz, tmp_path / "cut")
    finally:
        logger.removeHandler(interruption)
        logger.setLevel(level)
    assert len(read_history(tmp_path / "cut", recipe)) == 1
    train(recipe, train_npz, valid_npz, tmp_path / "cut")
    expected, found = (read_history(tmp_path / run, recipe) for run in ("whole", "cut"))
    # Eight steps cannot blow the rounding of float32 up to this; another order of batches differs by far more.
    assert [epoch["loss"] for epoch in found] == pytest.approx([epoch["loss"] for epoch in expected], rel=1e-3)


def test_a_finished_training_is_not_trained_again(trained: TinyTraining) -> None:
    before = trained.checkpoint.stat().st_mtime_ns
    run(trained, trained.out)
    assert trained.checkpoint.stat().st_mtime_ns == before


def test_another_recipe_in_the_same_folder_is_refused(trained: TinyTraining) -> None:
    other = trained.recipe.model_copy(update={"seed": 8})
    with pytest.raises(UsageError, match="another recipe"):
        train(other, trained.data / "ferplus_train.npz", trained.data / "ferplus_valid.npz", trained.out)


@pytest.mark.parametrize("state", ["", "[]", "{}", '{"history": 3}', '{"recipe": '])
def test_a_damaged_state_is_named(trained: TinyTraining, tmp_path: Path, state: str) -> None:
    (tmp_path / "state.json").write_text(state)
    with pytest.raises(UnavailableError, match=r"state\.json: (not readable|no recipe and history)"):
        run(trained, tmp_path)


@pytest.mark.parametrize("content", [None, b"half a checkpo"])
def test_a_damaged_checkpoint_is_named(trained: TinyTraining, tmp_path: Path, content: bytes | None) -> None:
    (tmp_path / "state.json").write_bytes((trained.out / "state.json").read_bytes())
    if content:
        (tmp_path / "checkpoint.keras").write_bytes(content)
    with pytest.raises(UnavailableError, match=r"checkpoint\.keras: not readable"):
        run(trained, tmp_path)


def test_a_set_without_an_expression_is_refused_before_anything_is_written(
    trained: TinyTraining, tmp_path: Path
) -> None:
    with np.load(trained.data / "ferplus_train.npz") as stored:
        arrays = dict(stored)
    arrays["votes"][:, 5] = 0
    np.savez(tmp_path / "poor.npz", **arrays)
    with pytest.raises(UnavailableError, match=r"poor\.npz: no image shows 'disgust'"):
        train(trained.recipe, tmp_path / "poor.npz", trained.data / "ferplus_valid.npz", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_state_keeps_the_recipe(trained: TinyTraining) -> None:
    assert json.loads((trained.out / "state.json").read_text())["recipe"] == trained.recipe.model_dump()

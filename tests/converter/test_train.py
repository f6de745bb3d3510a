import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from drawn_shapes import TinyTraining, write_set

from converter.average import WeightAverage
from converter.checkpoint import Folder
from converter.data import load_training
from converter.recipe import Teacher, TrainingRecipe
from converter.record import read_record
from converter.sources.files import read_weights
from converter.teach import mix_in_teachers
from converter.train import train
from edge_fer.align import normalise
from edge_fer.classify import softmax
from edge_fer.errors import UnavailableError, UsageError


class Interruption(logging.Handler):
    """Ctrl-C when the training reports the end of an epoch, before its checkpoint is written."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self._start = f"epoch {epoch} of "

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith(self._start):
            raise KeyboardInterrupt


def run(tiny: TinyTraining, out: Path) -> Path:
    return train(tiny.recipe, tiny.recipe_file.parent, tiny.train_npz, tiny.valid_npz, out)


def test_the_shapes_are_learnt(trained: TinyTraining) -> None:
    history = Folder(trained.out).read_history(trained.recipe)
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
    recipe = TrainingRecipe(network="nano_b", epochs=2, batch_size=4, logit_adjustment=0.5, average_decay=0.9, seed=3)
    train(recipe, tmp_path, train_npz, valid_npz, tmp_path / "whole")
    interruption, logger = Interruption(epoch=2), logging.getLogger("converter.train")
    level = logger.level
    logger.addHandler(interruption)
    logger.setLevel(logging.INFO)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path, train_npz, valid_npz, tmp_path / "cut")
    finally:
        logger.removeHandler(interruption)
        logger.setLevel(level)
    assert len(Folder(tmp_path / "cut").read_history(recipe)) == 1
    train(recipe, tmp_path, train_npz, valid_npz, tmp_path / "cut")
    expected, found = (Folder(tmp_path / run).read_history(recipe) for run in ("whole", "cut"))
    # Eight steps cannot blow the rounding of float32 up to this; another order of batches differs by far more.
    assert [epoch["loss"] for epoch in found] == pytest.approx([epoch["loss"] for epoch in expected], rel=1e-3)


def test_a_finished_training_is_not_trained_again(trained: TinyTraining) -> None:
    before = trained.weights.stat().st_mtime_ns
    assert run(trained, trained.out) == trained.weights
    assert trained.weights.stat().st_mtime_ns == before


def test_another_recipe_in_the_same_folder_is_refused(trained: TinyTraining) -> None:
    other = trained.recipe.model_copy(update={"seed": 8})
    with pytest.raises(UsageError, match="another recipe"):
        train(other, trained.recipe_file.parent, trained.train_npz, trained.valid_npz, trained.out)


@pytest.mark.parametrize("state", ["", "[]", "{}", '{"history": 3}', '{"recipe": '])
def test_a_damaged_state_is_named(trained: TinyTraining, tmp_path: Path, state: str) -> None:
    (tmp_path / "state.json").write_text(state)
    with pytest.raises(UnavailableError, match=r"state\.json: not what a training writes"):
        run(trained, tmp_path)


@pytest.mark.parametrize("name", ["checkpoint-001.keras", "average-001.npz"])
@pytest.mark.parametrize("content", [None, b"half a file", b"PK\x03\x04 half a zip"])
def test_a_damaged_file_of_an_epoch_is_named(
    trained: TinyTraining, tmp_path: Path, name: str, content: bytes | None
) -> None:
    state = json.loads((trained.out / "state.json").read_text())
    state["history"] = state["history"][:1]
    (tmp_path / "state.json").write_text(json.dumps(state))
    for kind in ("checkpoint-{}.keras", "average-{}.npz"):
        last, first = kind.format("002"), kind.format("001")
        (tmp_path / first).write_bytes((trained.out / last).read_bytes())
    (tmp_path / name).unlink()
    if content:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UnavailableError, match=rf"{name}: not readable; remove"):
        run(trained, tmp_path)


def test_other_data_in_the_same_folder_is_refused(trained: TinyTraining, tmp_path: Path) -> None:
    write_set(tmp_path / "other.npz", 80, seed=9)
    with pytest.raises(UsageError, match="holds a training with another training set"):
        train(trained.recipe, tmp_path, tmp_path / "other.npz", trained.valid_npz, trained.out)


def test_a_finished_training_without_its_network_is_told(trained: TinyTraining, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_bytes((trained.out / "state.json").read_bytes())
    with pytest.raises(UnavailableError, match=r"trained\.keras: is missing from a finished training"):
        run(trained, tmp_path)


def test_only_the_last_epochs_files_are_kept(trained: TinyTraining) -> None:
    assert sorted(path.name for path in trained.out.iterdir()) == [
        "average-002.npz", "checkpoint-002.keras", "history.csv", "state.json", "trained.json", "trained.keras",
    ]  # fmt: skip


def test_a_set_without_an_expression_is_refused_before_anything_is_written(
    trained: TinyTraining, tmp_path: Path
) -> None:
    with np.load(trained.train_npz) as stored:
        arrays = dict(stored)
    arrays["votes"][:, 5] = 0
    np.savez(tmp_path / "poor.npz", **arrays)
    with pytest.raises(UnavailableError, match=r"poor\.npz: no image shows 'disgust'"):
        train(trained.recipe, tmp_path, tmp_path / "poor.npz", trained.valid_npz, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_record_says_how_the_weights_came_about(trained: TinyTraining) -> None:
    record = read_record(trained.weights)
    assert record is not None
    assert record.recipe == trained.recipe.model_dump(mode="json")
    assert record.recipe == json.loads((trained.out / "state.json").read_text())["recipe"]
    assert record.training_prior == pytest.approx(load_training(trained.train_npz).prior)
    assert record.history == Folder(trained.out).read_history(trained.recipe)
    assert record.inputs["training set"] == hashlib.sha256(trained.train_npz.read_bytes()).hexdigest()


def test_the_history_is_a_table(trained: TinyTraining) -> None:
    head, *rows = (trained.out / "history.csv").read_text().splitlines()
    assert head == "loss,training_accuracy,accuracy,macro_recall"
    assert len(rows) == trained.recipe.epochs


def test_what_ships_is_the_average_of_the_weights() -> None:
    import keras

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.set_weights([np.array([[0.0]], np.float32)])
    average = WeightAverage(model, 0.5)
    for weight in (1.0, 2.0):
        model.set_weights([np.array([[weight]], np.float32)])
        average.update()
    # After n steps at most (1 + n) / (10 + n): 0 + 0.9 * 1 = 0.9, then 2/11 * 0.9 + 9/11 * 2.
    assert average.values[0][0, 0] == pytest.approx(0.9 * 2 / 11 + 2 * 9 / 11)


def test_a_taught_training_starts_from_weights_and_learns_what_the_teachers_read(
    trained: TinyTraining, tmp_path: Path
) -> None:
    teacher = Teacher(network="nano_b", file=str(trained.weights))
    recipe = trained.recipe.model_copy(
        update={"teachers": (teacher,), "teacher_weight": 0.25, "teacher_logit_adjustment": 0.5}
    )
    faces = load_training(trained.train_npz)
    taught = mix_in_teachers(faces, recipe, tmp_path, "train.npz")
    assert taught.targets.sum(axis=1) == pytest.approx(np.ones(len(faces.images)), abs=1e-5)
    reading = (taught.targets - 0.75 * faces.targets) / 0.25
    teacher_model = read_weights(trained.weights, "nano_b", 8).model
    sides = [
        teacher_model.predict(normalise(view)[..., None], verbose=0) + 0.5 * np.log(faces.prior)
        for view in (faces.images, faces.images[:, :, ::-1])
    ]
    assert reading == pytest.approx(np.mean([softmax(side) for side in sides], axis=0), abs=1e-4)
    started = recipe.model_copy(update={"initial_weights": str(trained.weights), "learning_rate": 1e-9, "epochs": 1})
    train(started, tmp_path, trained.train_npz, trained.valid_npz, tmp_path / "run")
    # With no learning to speak of, its weights are those that it started from.
    begun, was = (
        read_weights(file, "nano_b", 8).model.trainable_weights
        for file in (tmp_path / "run/trained.keras", trained.weights)
    )
    for ours, theirs in zip(begun, was, strict=True):
        assert ours.numpy() == pytest.approx(theirs.numpy(), abs=1e-6)


def test_missing_teachers_are_named(trained: TinyTraining, tmp_path: Path) -> None:
    recipe = trained.recipe.model_copy(update={"teachers": (Teacher(network="nano_b", file="none.keras"),)})
    with pytest.raises(UnavailableError, match=r"none\.keras: cannot be read"):
        train(recipe, tmp_path, trained.train_npz, trained.valid_npz, tmp_path / "run")
    assert not (tmp_path / "run").exists()

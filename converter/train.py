"""Train a network by a recipe: one checkpoint per epoch, resumed where it stopped."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from converter.average import WeightAverage
from converter.batches import epoch_batches
from converter.checkpoint import TRAINED, Folder
from converter.data import LabelledSet, TrainingSet, load_labelled, load_training, log_prior
from converter.evaluate import require_majority, scores_report
from converter.files import make_folder
from converter.inference import to_input_size
from converter.network import NETWORKS, build
from converter.prepare import prepare
from converter.record import TrainingRecord, file_sha256, git_commit, versions
from converter.sources.files import read_trainable
from converter.sources.nano import build_bare
from edge_fer.align import normalise
from edge_fer.classify import softmax
from edge_fer.errors import UnavailableError
from edge_fer.labels import EXPRESSIONS

if TYPE_CHECKING:
    from pathlib import Path

    import keras

    from converter.recipe import TrainingRecipe

log = logging.getLogger(__name__)


def train(recipe: TrainingRecipe, folder: Path, train_npz: Path, valid_npz: Path, out: Path, threads: int = 0) -> Path:
    """Train to the recipe's last epoch and return the path of the trained network (.keras, image -> logits).

    `folder` is where the recipe's own file names start. `out` keeps after each whole epoch the network that would
    ship with its record, the checkpoint to go on from, and `history.csv`. A second call with the same recipe goes on
    after that epoch; another recipe or other data in the same folder is a UsageError. Damaged or missing files are an
    UnavailableError.
    """
    import keras
    import tensorflow as tf

    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.config.set_dtype_policy(recipe.dtype)
    files = Folder(out)
    inputs = _inputs(recipe, folder, train_npz, valid_npz)
    history = files.read_history(recipe, inputs)
    if len(history) >= recipe.epochs:
        if not (out / TRAINED).is_file():
            raise UnavailableError(f"{out / TRAINED}: is missing from a finished training; remove {out} to train anew")
        return out / TRAINED
    valid = load_labelled(valid_npz)
    require_majority(valid, str(valid_npz))
    valid = replace(valid, images=to_input_size(valid.images, str(valid_npz)))
    votes = load_training(train_npz, recipe.fer2013_votes)
    log_prior(votes, str(train_npz))  # whether every expression occurs, before anything is written
    make_folder(out)
    prepared = prepare(votes, recipe, folder, train_npz, out)
    shipped = build_bare(recipe.network, len(EXPRESSIONS), batch_norm=True)
    keras.utils.set_random_seed(recipe.seed)  # after whatever preparing has drawn
    offset = recipe.logit_adjustment * log_prior(prepared.faces, str(train_npz))
    model = files.load_model(len(history)) if history else _compiled(recipe, folder, offset, len(votes.images))
    average = WeightAverage(model, recipe.average_decay)
    if history:
        files.load_average(average, len(history))
        log.info("resuming after epoch %d of %d", len(history), recipe.epochs)
    run = Run(recipe, files, _record(recipe, prepared.faces, inputs, history), model, average, shipped, valid)
    for epoch in range(len(history), recipe.epochs):
        run.one_epoch(epoch_batches(prepared, recipe, epoch), epoch)
    return out / TRAINED


@dataclass
class Run:
    """A training under way."""

    recipe: TrainingRecipe
    files: Folder
    record: TrainingRecord  # with the history so far
    model: keras.Model
    average: WeightAverage
    shipped: keras.Model  # image -> logits in float32, with the averaged weights
    valid: LabelledSet
    spent_s: list[float] = field(default_factory=list)  # for each epoch of this call

    def one_epoch(self, batches: keras.utils.PyDataset, epoch: int) -> None:
        """Train, measure what would ship, and write everything down."""
        import keras

        started_s = time.monotonic()
        per_step = keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_args, **_kwargs: self.average.update())
        # Only this epoch, but the progress bar shall say of how many.
        stop = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda *_args, **_kwargs: setattr(self.model, "stop_training", True)
        )
        fitted = self.model.fit(
            batches,
            epochs=self.recipe.epochs,
            initial_epoch=epoch,
            shuffle=False,
            callbacks=[per_step, stop],
            verbose="auto",
        )
        self.shipped.set_weights(self.average.values)
        seen = {name: float(fitted.history[name][-1]) for name in ("loss", "accuracy")}
        figures = {"loss": seen["loss"], "training_accuracy": seen["accuracy"], **_validate(self.shipped, self.valid)}
        self.record = self.record.model_copy(update={"history": [*self.record.history, figures]})
        self.spent_s.append(time.monotonic() - started_s)
        left_s = float(np.mean(self.spent_s)) * (self.recipe.epochs - epoch - 1)
        told = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
        log.info("epoch %d of %d: %s; %.0f min left", epoch + 1, self.recipe.epochs, told, left_s / 60)
        self.files.write(self.recipe, self.record, self.model, self.average, self.shipped)


def _inputs(recipe: TrainingRecipe, folder: Path, train_npz: Path, valid_npz: Path) -> dict[str, str]:
    """sha256 of every file that a training depends on; UnavailableError names one that is missing."""
    named = [file for file in (recipe.initial_weights, *(teacher.file for teacher in recipe.teachers)) if file]
    files = {"training set": train_npz, "validation set": valid_npz, **{file: folder / file for file in named}}
    return {name: file_sha256(file) for name, file in files.items()}


def _record(
    recipe: TrainingRecipe, faces: TrainingSet, inputs: dict[str, str], history: list[dict[str, float]]
) -> TrainingRecord:
    return TrainingRecord(
        training_prior=tuple(faces.prior.tolist()),
        recipe=recipe.model_dump(mode="json"),
        git_commit=git_commit(),
        inputs=inputs,
        versions=versions(),
        history=history,
    )


def _compiled(recipe: TrainingRecipe, folder: Path, offset: npt.NDArray[np.float64], images: int) -> keras.Model:
    """The network that sees logits + offset while it trains, with the recipe's schedule for that many images."""
    import keras

    if recipe.initial_weights:
        start = read_trainable(folder / recipe.initial_weights, recipe.network)
    base = build(NETWORKS[recipe.network], len(EXPRESSIONS))
    if recipe.initial_weights:
        base.set_weights(start.get_weights())
    rescaling = keras.layers.Rescaling(scale=1.0, offset=offset.tolist(), dtype="float32", name="adjusted_logits")
    model = keras.Model(base.input, rescaling(base.output), name=base.name)
    steps = -(-images // recipe.batch_size)
    warmup_steps = round(recipe.warmup_epochs * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        warmup_target=recipe.learning_rate,
        warmup_steps=warmup_steps,
        decay_steps=max(1, recipe.epochs * steps - warmup_steps),
    )
    model.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=recipe.weight_decay),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def _validate(shipped: keras.Model, valid: LabelledSet) -> dict[str, float]:
    logits = shipped.predict(normalise(valid.images)[..., None], batch_size=256, verbose=0)
    report = scores_report(softmax(logits[valid.majority]), valid.labels[valid.majority])
    return {"accuracy": report["accuracy"], "macro_recall": report["macro_recall"]}

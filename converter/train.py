"""Train a network by a recipe: one checkpoint per epoch, resumed where it stopped."""

from __future__ import annotations

import json
import logging
import math
import random
import time
import zipfile
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from converter.augment import augment
from converter.average import WeightAverage
from converter.data import LabelledSet, TrainingSet, load_labelled, log_prior
from converter.evaluate import require_majority, scores_report
from converter.files import write_whole
from converter.inference import to_input_size
from converter.network import NETWORKS, build
from converter.prepare import Prepared, prepare
from converter.record import TrainingRecord, file_sha256, git_commit, record_path, versions
from converter.sources.files import read_weights
from converter.sources.nano import build_bare
from edge_fer.align import normalise
from edge_fer.classify import softmax
from edge_fer.errors import ModelError, UnavailableError, UsageError
from edge_fer.labels import EXPRESSIONS

if TYPE_CHECKING:
    from pathlib import Path

    import keras

    from converter.recipe import TrainingRecipe

log = logging.getLogger(__name__)

TRAINED = "trained.keras"
"""The network that ships, its record beside it."""
CHECKPOINT, AVERAGE, STATE = "checkpoint.keras", "average.npz", "state.json"
"""What a resumed training goes on from."""
HISTORY = "history.csv"


def train(recipe: TrainingRecipe, folder: Path, train_npz: Path, valid_npz: Path, out: Path, threads: int = 0) -> Path:
    """Train to the recipe's last epoch and return the path of the trained network (.keras, image -> logits).

    `folder` is where the recipe's own file names start. `out` keeps after each whole epoch the network that would
    ship with its record, the checkpoint to go on from, and `history.csv`. A second call with the same recipe goes on
    after that epoch; another recipe in the same folder is a UsageError. Damaged or missing files are an
    UnavailableError.
    """
    import keras
    import tensorflow as tf

    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(recipe.seed)
    keras.config.set_dtype_policy(recipe.dtype)
    history = read_history(out, recipe)
    if len(history) >= recipe.epochs and (out / TRAINED).is_file() and record_path(out / TRAINED).is_file():
        return out / TRAINED
    if not train_npz.is_file():  # before the minutes that preparing may take
        raise UnavailableError(f"{train_npz}: no such file")
    valid = load_labelled(valid_npz)
    require_majority(valid, str(valid_npz))
    valid = replace(valid, images=to_input_size(valid.images, str(valid_npz)))
    prepared = prepare(recipe, folder, train_npz, out)
    faces = prepared.faces
    offset = recipe.logit_adjustment * log_prior(faces, str(train_npz))
    record = _record(recipe, folder, faces, train_npz, valid_npz)
    shipped = build_bare(recipe.network, len(EXPRESSIONS), batch_norm=True)
    model = _resume(out) if history else _compiled(recipe, folder, offset, len(faces.images))
    average = WeightAverage(model, recipe.average_decay)
    run = Run(recipe, out, record, model, average, shipped, valid, history)
    if history:
        average.load(out / AVERAGE)
        log.info("resuming after epoch %d of %d", len(history), recipe.epochs)
    out.mkdir(parents=True, exist_ok=True)
    for epoch in range(len(history), recipe.epochs):
        run.one_epoch(_batches(prepared, recipe, epoch), epoch)
    return out / TRAINED


@dataclass
class Run:
    """A training under way."""

    recipe: TrainingRecipe
    out: Path
    record: TrainingRecord
    model: keras.Model
    average: WeightAverage
    shipped: keras.Model  # image -> logits in float32, with the averaged weights
    valid: LabelledSet
    history: list[dict[str, float]]
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
            batches, epochs=self.recipe.epochs, initial_epoch=epoch, callbacks=[per_step, stop], verbose="auto"
        )
        self.shipped.set_weights(self.average.values)
        seen = {name: float(fitted.history[name][-1]) for name in ("loss", "accuracy")}
        figures = {"loss": seen["loss"], "training_accuracy": seen["accuracy"], **_validate(self.shipped, self.valid)}
        self.history.append(figures)
        self.spent_s.append(time.monotonic() - started_s)
        left_s = float(np.mean(self.spent_s)) * (self.recipe.epochs - epoch - 1)
        told = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
        log.info("epoch %d of %d: %s; %.0f min left", epoch + 1, self.recipe.epochs, told, left_s / 60)
        self._checkpoint()

    def _checkpoint(self) -> None:
        """State last: a cut in between repeats one epoch at worst."""
        record = self.record.model_copy(update={"history": self.history})
        # Keras shuffles the batches with the module `random`; as a string its 625 numbers stay on one line.
        state = {
            "recipe": self.recipe.model_dump(mode="json"),
            "history": self.history,
            "random": json.dumps(random.getstate()),
        }
        columns = list(self.history[-1])
        rows = [[str(epoch[name]) for name in columns] for epoch in self.history]
        history = "\n".join(",".join(row) for row in [columns, *rows]) + "\n"
        write_whole(
            {
                self.out / CHECKPOINT: self.model.save,
                self.out / AVERAGE: self.average.save,
                self.out / TRAINED: self.shipped.save,
                record_path(self.out / TRAINED): (record.model_dump_json(indent=1) + "\n").encode(),
                self.out / HISTORY: history.encode(),
                self.out / STATE: json.dumps(state, indent=1).encode(),
            }
        )


def _record(
    recipe: TrainingRecipe, folder: Path, faces: TrainingSet, train_npz: Path, valid_npz: Path
) -> TrainingRecord:
    used = [file for file in (recipe.initial_weights, *(teacher.file for teacher in recipe.teachers)) if file]
    return TrainingRecord(
        training_prior=tuple(faces.prior.tolist()),
        recipe=recipe.model_dump(mode="json"),
        git_commit=git_commit(),
        train_sha256=file_sha256(train_npz),
        valid_sha256=file_sha256(valid_npz),
        weights_sha256={file: file_sha256(folder / file) for file in used},
        versions=versions(),
        history=[],
    )


def _compiled(recipe: TrainingRecipe, folder: Path, offset: npt.NDArray[np.float64], images: int) -> keras.Model:
    """The network that sees logits + offset while it trains, with the recipe's schedule for that many images."""
    import keras

    if recipe.initial_weights:
        start = read_weights(folder / recipe.initial_weights, recipe.network, len(EXPRESSIONS)).model
    base = build(NETWORKS[recipe.network], len(EXPRESSIONS))
    if recipe.initial_weights:
        if len(start.get_weights()) != len(base.get_weights()):
            raise ModelError(f"{recipe.initial_weights}: has no batch norm any more; training needs it")
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


def _batches(prepared: Prepared, recipe: TrainingRecipe, epoch: int) -> keras.utils.PyDataset:
    """One epoch of augmented batches; the same for the same seed and epoch, so a resumed training goes on as begun."""
    import keras

    faces, framed = prepared.faces, prepared.framed
    order = np.random.default_rng((recipe.seed, epoch)).permutation(len(faces.images))

    def pick(row: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        product = framed is not None and rng.random() < recipe.augment.product_crop_probability
        chosen: npt.NDArray[np.uint8] = framed[row] if framed is not None and product else faces.images[row]
        return chosen

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
        def __len__(self) -> int:
            return math.ceil(len(order) / recipe.batch_size)

        def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
            rng = np.random.default_rng((recipe.seed, epoch, index))
            rows = order[index * recipe.batch_size : (index + 1) * recipe.batch_size]
            images = np.stack([augment(pick(row, rng), rng, recipe.augment) for row in rows])
            return normalise(images)[..., None], faces.targets[rows]

    return Batches()


def _validate(shipped: keras.Model, valid: LabelledSet) -> dict[str, float]:
    logits = shipped.predict(normalise(valid.images)[..., None], batch_size=256, verbose=0)
    report = scores_report(softmax(logits[valid.majority]), valid.labels[valid.majority])
    return {"accuracy": report["accuracy"], "macro_recall": report["macro_recall"]}


def read_history(out: Path, recipe: TrainingRecipe) -> list[dict[str, float]]:
    """Metrics of the epochs already trained in this folder by this recipe."""
    state = _read_state(out)
    if state and state["recipe"] != recipe.model_dump(mode="json"):
        raise UsageError(f"{out}: holds a training by another recipe; choose another --out or remove it")
    history: list[dict[str, float]] = state["history"] if state else []
    return history


def _read_state(out: Path) -> dict[str, Any]:
    """What `_checkpoint` wrote; empty before the first epoch's end."""
    try:
        state: dict[str, Any] = json.loads((out / STATE).read_text(encoding="utf-8"))
        if not {"recipe", "history"} <= state.keys():
            raise UnavailableError(f"{out / STATE}: no recipe and history in it; remove {out} to train anew")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as err:
        if isinstance(err, UnavailableError):
            raise
        raise UnavailableError(f"{out / STATE}: not readable ({err}); remove {out} to train anew") from err
    return state


def _resume(out: Path) -> keras.Model:
    """The model of the last whole epoch; Keras goes on drawing the order of batches where it stopped."""
    import keras

    try:
        model = keras.saving.load_model(out / CHECKPOINT)
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as err:
        raise UnavailableError(f"{out / CHECKPOINT}: not readable; remove {out} to train anew") from err
    if drawn := _read_state(out).get("random"):
        version, numbers, gauss = json.loads(drawn)
        random.setstate((version, tuple(numbers), gauss))
    return model

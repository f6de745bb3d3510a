"""Train a network by a recipe: one checkpoint per epoch, resumed where it stopped."""

from __future__ import annotations

import json
import logging
import math
import random
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from converter.augment import augment
from converter.data import LabelledSet, TrainingSet, load_labelled, load_training, log_prior
from converter.evaluate import require_majority, scores_report
from converter.inference import to_input_size
from converter.network import NETWORKS, build
from edge_fer.align import normalise
from edge_fer.classify import softmax
from edge_fer.errors import UnavailableError, UsageError
from edge_fer.labels import EXPRESSIONS

if TYPE_CHECKING:
    from pathlib import Path

    import keras

    from converter.recipe import TrainingRecipe

log = logging.getLogger(__name__)

CHECKPOINT, STATE = "checkpoint.keras", "state.json"


def train(recipe: TrainingRecipe, train_npz: Path, valid_npz: Path, out: Path, threads: int = 0) -> Path:
    """Train to the recipe's last epoch and return the path of the trained model (.keras, with logits).

    `out` keeps the checkpoint of the last whole epoch and `state.json` with the metrics of each. A second call with
    the same recipe goes on after that epoch; another recipe in the same folder is a UsageError. Damaged or missing
    files are an UnavailableError.
    """
    import keras
    import tensorflow as tf

    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(recipe.seed)
    keras.config.set_dtype_policy(recipe.dtype)
    faces, valid = load_training(train_npz, recipe.fer2013_votes), load_labelled(valid_npz)
    require_majority(valid, str(valid_npz))
    valid = replace(valid, images=to_input_size(valid.images, str(valid_npz)))
    offset = recipe.logit_adjustment * log_prior(faces, str(train_npz))
    history = read_history(out, recipe)
    if history:
        model = _resume(out)
        log.info("resuming after epoch %d of %d", len(history), recipe.epochs)
    else:
        out.mkdir(parents=True, exist_ok=True)
        model = _compiled(recipe, offset, len(faces.images))
    for epoch in range(len(history), recipe.epochs):
        batches = _batches(faces, recipe, epoch)
        fitted = model.fit(batches, epochs=epoch + 1, initial_epoch=epoch, verbose="auto")
        history.append({"loss": float(fitted.history["loss"][-1]), **_validate(model, valid)})
        log.info("epoch %d: %s", epoch + 1, history[-1])
        _checkpoint(model, out, recipe, history)
    return out / CHECKPOINT


def logits_model(trained: keras.Model) -> keras.Model:
    """The part of a trained model that ships: image -> logits, without the training-time adjustment."""
    import keras

    return keras.Model(trained.input, trained.get_layer("logits").output)


def _compiled(recipe: TrainingRecipe, offset: npt.NDArray[np.float64], images: int) -> keras.Model:
    """The network that sees logits + offset while it trains, with the recipe's schedule for that many images."""
    import keras

    base = build(NETWORKS[recipe.network], len(EXPRESSIONS))
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
    )
    return model


def _batches(faces: TrainingSet, recipe: TrainingRecipe, epoch: int) -> keras.utils.PyDataset:
    """One epoch of augmented batches; the same for the same seed and epoch, so a resumed training goes on as begun."""
    import keras

    order = np.random.default_rng((recipe.seed, epoch)).permutation(len(faces.images))

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
        def __len__(self) -> int:
            return math.ceil(len(order) / recipe.batch_size)

        def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
            rng = np.random.default_rng((recipe.seed, epoch, index))
            rows = order[index * recipe.batch_size : (index + 1) * recipe.batch_size]
            images = np.stack([augment(faces.images[row], rng, recipe.augment) for row in rows])
            return normalise(images)[..., None], faces.targets[rows]

    return Batches()


def _validate(model: keras.Model, valid: LabelledSet) -> dict[str, float]:
    logits = logits_model(model).predict(normalise(valid.images)[..., None], batch_size=256, verbose=0)
    report = scores_report(softmax(logits[valid.majority]), valid.labels[valid.majority])
    return {"accuracy": report["accuracy"], "macro_recall": report["macro_recall"]}


def read_history(out: Path, recipe: TrainingRecipe) -> list[dict[str, float]]:
    """Metrics of the epochs already trained in this folder by this recipe."""
    state = _read_state(out)
    if state and state["recipe"] != recipe.model_dump():
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


def _checkpoint(model: keras.Model, out: Path, recipe: TrainingRecipe, history: list[dict[str, float]]) -> None:
    """Model first, state second, each written beside and renamed: a cut in between repeats one epoch at worst."""
    model.save(out / "next.keras")
    (out / "next.keras").replace(out / CHECKPOINT)
    # Keras shuffles the batches with the module `random`; as a string its 625 numbers stay on one line.
    state = {"recipe": recipe.model_dump(), "history": history, "random": json.dumps(random.getstate())}
    (out / "next.json").write_text(json.dumps(state, indent=1), encoding="utf-8")
    (out / "next.json").replace(out / STATE)

"""Cross-validation on CK+ with subjects kept apart: the protocol behind the accuracies in the EmotionNet Nano paper.

What is reported of each fold is the network after its last epoch. Picking the epoch that reads the held-out fold best
would use that fold for training decisions, and its accuracy would say less about new people.
"""

from __future__ import annotations

import hashlib
import logging
import math
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from converter.augment import Augmentation, augment
from converter.ckplus.data import assign_folds
from converter.ckplus.folds import FoldResult, keep_record, read_record, run_report
from converter.network import NETWORKS, build
from converter.sources.files import read_trainable
from edge_fer import __version__
from edge_fer.align import normalise
from edge_fer.classify import NetworkName
from edge_fer.errors import ModelError, UnavailableError, UsageError
from edge_fer.labels import EXPRESSIONS

if TYPE_CHECKING:
    import keras

    from converter.ckplus.data import CkPlus

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).parents[1] / "weights"

EPOCHS_TRAINED, EPOCHS_RANDOM = 25, 100
"""Default epochs from trained and from random weights; not tuned, because nothing may be tuned on CK+."""

RATE_TRAINED, RATE_RANDOM = 5e-4, 2e-3
"""Peak of the learning rate's cosine, likewise."""

READ_BATCH = 64

Rows = npt.NDArray[np.int64]


class Plan(BaseModel):
    """What decides the figures, together with the data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: NetworkName
    epochs: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    weights: Path | None
    """Trained weights to start from, of all eight expressions; None: random ones."""
    folds: int = Field(default=10, ge=2)
    seed: int = Field(default=0, ge=0)
    dtype: Literal["float32", "mixed_bfloat16"] = "float32"
    """Arithmetic of the training; held-out faces are always read in float32."""
    batch_size: int = Field(default=32, ge=1)
    weight_decay: float = Field(default=0.004, ge=0)
    warmup_epochs: float = Field(default=1, ge=0)
    augment: Augmentation = Augmentation()


class Reading(NamedTuple):
    """What a learner read on the held-out images, as indices in EXPRESSIONS, (N,)."""

    read: Rows
    before: Rows | None
    loss: float


Learn = Callable[[int, Rows, Rows], Reading]
"""Fold, rows to learn from, rows to read afterwards."""


def starting_point(
    network: NetworkName, weights: Path | None, epochs: int | None, *, from_scratch: bool
) -> dict[str, Any]:
    """Keys of a Plan for a start from shipped weights, from `weights`, or from random ones with `from_scratch`."""
    if from_scratch and weights:
        raise UsageError(f"--from-scratch starts from random weights and --weights from {weights}; give one of them")
    if from_scratch:
        return {"weights": None, "epochs": epochs or EPOCHS_RANDOM, "learning_rate": RATE_RANDOM}
    weights = weights or SHIPPED / f"{network}.keras"
    return {"weights": weights, "epochs": epochs or EPOCHS_TRAINED, "learning_rate": RATE_TRAINED}


def cross_validate(faces: CkPlus, plan: Plan, out: Path | None = None, threads: int = 0) -> dict[str, Any]:
    """Train and read each fold; everything about the run, as JSON holds it.

    With `out` each finished fold is kept in its folds.json, and a second call of the same plan and data goes on after
    it; another plan or other data in the same folder is a UsageError, as are fewer subjects than folds.
    UnavailableError where only one expression occurs or a file is missing or damaged. "before" is what the weights of
    the start read on the same folds. Only expressions that occur can be read, so without neutral both are easier than
    a camera's picture.
    """
    settings = _settings(faces, plan)
    assigned = assign_folds(faces.subjects, faces.labels, plan.folds, plan.seed)
    if len(np.unique(faces.labels)) == 1:
        raise UnavailableError(f"every image shows {EXPRESSIONS[faces.labels[0]]!r}; at least two expressions needed")
    done = read_record(out, settings) if out else []
    apart = [sorted({faces.subjects[row] for row in np.flatnonzero(assigned == fold)}) for fold in range(plan.folds)]
    if [result.subjects for result in done] != apart[: len(done)]:
        raise UsageError(f"{out}: holds folds of other subjects; choose another --out or remove it")

    def keep(results: list[FoldResult]) -> None:
        if out:
            keep_record(out, settings, results)

    if len(done) < plan.folds:
        _use_threads(threads)
        done = run_folds(faces, assigned, Learner(faces, plan), done, keep)
    return run_report(faces, settings, done)


def run_folds(
    faces: CkPlus, assigned: Rows, learn: Learn, done: list[FoldResult], keep: Callable[[list[FoldResult]], None]
) -> list[FoldResult]:
    """The folds that are not done yet, in order; `keep` is called with all results after each of them."""
    results = list(done)
    folds = int(assigned.max()) + 1
    for fold in range(len(done), folds):
        began_s = time.monotonic()
        held_out = np.flatnonzero(assigned == fold)
        reading = learn(fold, np.flatnonzero(assigned != fold), held_out)
        seconds = time.monotonic() - began_s
        results.append(_fold_result(faces, fold, held_out, reading, seconds))
        keep(results)
        accuracy = (reading.read == faces.labels[held_out]).mean()
        left_min = seconds * (folds - len(results)) / 60
        log.info("fold %d of %d: accuracy %.4f, about %.0f min left", fold + 1, folds, accuracy, left_min)
    return results


class Learner:
    """One compiled network, set back to its start for each fold: compiling takes longer than some folds."""

    def __init__(self, faces: CkPlus, plan: Plan) -> None:
        """ModelError or UnavailableError where the weights are damaged or of another network."""
        import keras

        self._faces, self._plan = faces, plan
        self._classes = np.unique(faces.labels)
        keras.utils.set_random_seed(plan.seed)
        trained = read_trainable(plan.weights, plan.network) if plan.weights else None
        self._reader = _build(plan.network, len(self._classes), "float32")
        if trained:
            _copy_start(trained, self._reader, self._classes)
        self._start = self._reader.get_weights()
        self._before = self._read(np.arange(len(faces.images))) if trained else None
        self._model = _build(plan.network, len(self._classes), plan.dtype)
        self._optimiser = keras.optimizers.AdamW(plan.learning_rate, weight_decay=plan.weight_decay)
        # Plain cross-entropy, no weights for rare expressions: the protocol counts images.
        self._model.compile(self._optimiser, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        self._optimiser.build(self._model.trainable_variables)
        self._fresh = [np.array(variable) for variable in self._optimiser.variables]

    def __call__(self, fold: int, train: Rows, held_out: Rows) -> Reading:
        """Learn from some rows of the faces, from the start, and read others."""
        self._model.set_weights(self._start)
        for variable, value in zip(self._optimiser.variables, self._fresh, strict=True):
            variable.assign(value)
        loss = math.nan
        for epoch in range(self._plan.epochs):
            loss = self._epoch(fold, epoch, train)
        if not math.isfinite(loss):
            raise ModelError(f"fold {fold + 1}: the training diverged, its loss is {loss}")
        self._reader.set_weights(self._model.get_weights())
        return Reading(self._read(held_out), None if self._before is None else self._before[held_out], loss)

    def _epoch(self, fold: int, epoch: int, train: Rows) -> float:
        """One pass over the rows, the mean loss of it."""
        plan = self._plan
        steps = math.ceil(len(train) / plan.batch_size)
        rng = np.random.default_rng((plan.seed, fold, epoch))
        # The last batch is filled up from the first: batches of one shape are compiled once.
        order = np.resize(rng.permutation(train), (steps, plan.batch_size))
        self._model.reset_metrics()
        loss = math.nan
        for step, rows in enumerate(order, epoch * steps):
            share = learning_rate_share(step, steps * plan.epochs, round(steps * plan.warmup_epochs))
            self._optimiser.learning_rate = plan.learning_rate * share
            images = np.stack([augment(self._faces.images[row], rng, plan.augment) for row in rows])
            targets = np.searchsorted(self._classes, self._faces.labels[rows])
            loss = float(self._model.train_on_batch(normalise(images)[..., None], targets))
        return loss

    def _read(self, rows: Rows) -> Rows:
        """The most probable of the expressions that occur, (N,); batches of one shape here too."""
        padded = np.resize(rows, (math.ceil(len(rows) / READ_BATCH), READ_BATCH))
        batches = [normalise(self._faces.images[batch])[..., None] for batch in padded]
        logits = np.concatenate([self._reader.predict_on_batch(batch) for batch in batches])[: len(rows)]
        return np.asarray(self._classes[logits.argmax(axis=1)], np.int64)


def learning_rate_share(step: int, steps: int, warm_up: int) -> float:
    """Share of the peak at a step: linear growth over the warm-up, then a cosine to zero."""
    if step < warm_up:
        return (step + 1) / warm_up
    return (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up))) / 2


def _fold_result(faces: CkPlus, fold: int, rows: Rows, reading: Reading, seconds: float) -> FoldResult:
    def names(labels: Rows) -> list[str]:
        return [EXPRESSIONS[label] for label in labels]

    return FoldResult(
        fold=fold,
        subjects=sorted({faces.subjects[row] for row in rows}),
        images=[faces.frames[row].file.name for row in rows],
        shown=names(faces.labels[rows]),
        read=names(reading.read),
        read_before=None if reading.before is None else names(reading.before),
        loss=reading.loss,
        seconds=round(seconds, 1),
    )


def _build(network: NetworkName, classes: int, dtype: str) -> keras.Model:
    """The network for that many expressions in this arithmetic, whatever the process uses otherwise."""
    import keras

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        return build(NETWORKS[network], classes)
    finally:
        keras.config.set_dtype_policy(policy)


def _copy_start(trained: keras.Model, model: keras.Model, classes: Rows) -> None:
    """The weights of a network of all eight expressions, of its last layer the columns of the classes alone."""
    for layer in model.layers:
        if layer.weights:
            values = trained.get_layer(layer.name).get_weights()
            layer.set_weights([value[..., classes] for value in values] if layer.name == "logits" else values)


def _use_threads(threads: int) -> None:
    import tensorflow as tf

    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def _settings(faces: CkPlus, plan: Plan) -> dict[str, Any]:
    """Everything that the figures depend on; folds of other settings are never mixed."""
    import keras
    import tensorflow as tf

    weights_sha256 = None
    if plan.weights:
        try:
            weights_sha256 = hashlib.sha256(plan.weights.read_bytes()).hexdigest()
        except OSError as err:
            raise UnavailableError(f"{plan.weights}: cannot read the weights to start from ({err.strerror})") from err
    versions = {"edge_fer": __version__, "keras": keras.__version__, "tensorflow": tf.__version__}
    return {
        **plan.model_dump(exclude={"weights"}),
        "weights_sha256": weights_sha256,
        "data_sha256": faces.sha256,
        "versions": versions | {"numpy": np.__version__, "python": platform.python_version()},
    }

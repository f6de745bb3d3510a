"""A trained checkpoint -> verified TFLite files with their cards."""

from __future__ import annotations

import hashlib
import importlib.metadata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from converter.data import TrainingSet, load_labelled, load_training, log_prior
from converter.describe import write_card_text
from converter.evaluate import set_report
from converter.inference import to_input_size
from converter.quantise import (
    CALIBRATION_SEED,
    calibration_faces,
    load_trained,
    shift_prior,
    to_float32,
    to_int8,
)
from converter.verify import require_faces, verify
from edge_fer.align import normalise
from edge_fer.card import ModelCard, card_path
from edge_fer.classify import model_path, softmax
from edge_fer.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import keras

    from converter.recipe import TrainingRecipe
    from edge_fer.tflite import Precision

TRAIN_FILE, VALID_FILE = "ferplus_train.npz", "ferplus_valid.npz"


@dataclass(frozen=True, slots=True)
class Conversion:
    """What to convert, and to what."""

    checkpoint: Path
    recipe: TrainingRecipe
    data: Path  # folder with TRAIN_FILE and VALID_FILE
    out: Path
    precisions: tuple[Precision, ...] = ("float32", "int8")
    prior_shift: float = 0.0
    force: bool = False  # replace files that are there


def convert(job: Conversion) -> list[Path]:
    """Write model and card of each precision and return the models' paths.

    Nothing is written unless every file passes `verify`. UsageError where a file is there and not `force`;
    UnavailableError where an input cannot be read; ModelError where weights or a converted file are wrong.
    """
    paths = {precision: model_path(job.recipe.network, precision, job.out) for precision in job.precisions}
    _refuse_overwriting([file for path in paths.values() for file in (path, card_path(path))], force=job.force)
    train, valid = job.data / TRAIN_FILE, job.data / VALID_FILE
    faces, labelled = load_training(train, job.recipe.fer2013_votes), load_labelled(valid)
    require_faces(len(labelled.labels), str(valid))
    model = load_trained(job.checkpoint, job.recipe.network)
    if job.prior_shift:
        shift_prior(model, job.prior_shift * log_prior(faces, str(train)))
    images = to_input_size(labelled.images, str(valid))
    expected = model.predict(normalise(images)[..., None], batch_size=256, verbose=0)
    files: dict[Path, bytes] = {}
    for precision, path in paths.items():
        content = _content(model, precision, faces)
        logits = verify(path.name, content, precision, images, expected)
        files[path] = content
        metrics = set_report(softmax(logits), labelled, str(valid))
        files[card_path(path)] = _card(path.stem, content, precision, metrics, _provenance(job, precision, faces))
    _write(files)
    return list(paths.values())


def _refuse_overwriting(files: list[Path], *, force: bool) -> None:
    if not force and (there := [file for file in files if file.exists()]):
        raise UsageError(f"{there[0]}: is there already; --force replaces it")


def _content(model: keras.Model, precision: Precision, faces: TrainingSet) -> bytes:
    return to_float32(model) if precision == "float32" else to_int8(model, calibration_faces(faces.images))


def _card(
    name: str, content: bytes, precision: Precision, metrics: dict[str, Any], provenance: dict[str, Any]
) -> bytes:
    """The card of one file as JSON."""
    card = ModelCard(
        name=name,
        sha256=hashlib.sha256(content).hexdigest(),
        metrics=metrics,
        recipe=provenance,
        precision=precision,
        **write_card_text(provenance["network"], precision),
    )
    return (card.model_dump_json(indent=1) + "\n").encode()


def _provenance(job: Conversion, precision: Precision, faces: TrainingSet) -> dict[str, Any]:
    """The recipe, and everything else that the file depends on."""
    known: dict[str, Any] = {**job.recipe.model_dump(), "prior_shift": job.prior_shift}
    if precision == "int8":
        known["calibration_images"] = len(calibration_faces(faces.images))
        known["calibration_seed"] = CALIBRATION_SEED
    known["checkpoint_sha256"] = file_sha256(job.checkpoint)
    known["train_sha256"] = file_sha256(job.data / TRAIN_FILE)
    known["valid_sha256"] = file_sha256(job.data / VALID_FILE)
    return known | {package: _version(package) for package in ("tensorflow", "keras")}


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _version(package: str) -> str:
    """Of an installed package; TensorFlow's wheel for CPUs has a name of its own."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return importlib.metadata.version(f"{package}-cpu")


def _write(files: dict[Path, bytes]) -> None:
    """All files beside their places, then all renamed, each card after its model: a cut leaves whole files only."""
    waiting = {path: path.with_name(f"{path.name}.next") for path in files}
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            waiting[path].write_bytes(content)
        for path, beside in waiting.items():
            beside.replace(path)
    except OSError as err:
        raise UnavailableError(f"{err.filename}: cannot be written ({err.strerror})") from err
    finally:
        for beside in waiting.values():
            beside.unlink(missing_ok=True)

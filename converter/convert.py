"""Trained weights -> verified TFLite files with their cards."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from converter.apart import run_apart
from converter.data import LabelledSet, load_labelled, read_npz
from converter.describe import write_card_text
from converter.evaluate import set_report
from converter.files import write_whole
from converter.inference import to_input, to_input_size
from converter.operating import AS_TRAINED, DEFAULT_POINT, fit_point, unmeasured_points
from converter.quantise import calibration_faces, to_tflite
from converter.record import TrainingRecord, file_sha256, read_record, record_path, versions
from converter.recrop import DETECTOR
from converter.sources.files import Source, read_weights
from converter.verify import MIN_FACES, Verified, require_faces, require_fast_runtime, verify
from edge_fer.card import MODELS, InputScaling, ModelCard, OutputKind, card_path
from edge_fer.classify import NetworkName
from edge_fer.detect import BLAZEFACE
from edge_fer.errors import ModelError, UnavailableError, UsageError
from edge_fer.labels import EXPRESSIONS
from edge_fer.tflite import installed_runtimes

if TYPE_CHECKING:
    from pathlib import Path

    import keras

    from converter.recipe import ConversionRecipe

VERIFY_SEED = 1
MAX_VERIFY_FACES = 2000
"""Of a calibration file, where there is no validation file to verify on."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What to convert, and to what."""

    weights: Path
    recipes: dict[str, ConversionRecipe]  # by name
    out: Path
    calibration: Path | None = None  # npz with grey faces, for int8 arithmetic
    validation: Path | None = None  # npz with labelled faces, for figures and operating points
    labels: tuple[str, ...] = EXPRESSIONS
    network: NetworkName | None = None  # where the weights do not tell
    name: str | None = None  # of the files, before the recipe's; by default the network's or the weights'
    scaling: InputScaling = "-1..1"
    report: bool = False  # NAME.html beside each model, where there is a validation file
    force: bool = False  # replace files that are there


@dataclass(frozen=True, slots=True)
class Faces:
    """Grey faces of the network's size, and what Keras reads in them."""

    calibration: npt.NDArray[np.uint8] | None
    verification: npt.NDArray[np.uint8]
    labelled: LabelledSet | None  # those of `verification`
    expected: npt.NDArray[np.float32]  # (N, classes)

    @property
    def kind(self) -> OutputKind:
        """Whether the network gives probabilities or logits."""
        sums = self.expected.sum(axis=1, dtype=np.float64)
        return "probabilities" if self.expected.min() >= 0 and np.allclose(sums, 1, atol=1e-3) else "logits"


def convert(job: Conversion) -> list[Path]:
    """Write model and card by each recipe and return the models' paths.

    Nothing is written unless every file passes `verify`. UsageError where a file is there and not `force`, or faces
    are missing; UnavailableError where an input cannot be read; ModelError where weights or a converted file are wrong.
    """
    _require_tools(job)
    source = read_weights(job.weights, job.network, len(job.labels))
    stem = job.name or (f"emotionnet_{source.network}" if source.network else job.weights.resolve().name.split(".")[0])
    paths = {name: job.out / f"{stem}_{name}.tflite" for name in job.recipes}
    wanted = [file for path in paths.values() for file in (path, card_path(path))]
    wanted += [report_path(path) for path in paths.values() if job.report and job.validation]
    _refuse_overwriting(wanted, force=job.force)
    record = read_record(job.weights)
    if record and record.labels != job.labels:
        found, told = ", ".join(job.labels), ", ".join(record.labels)
        raise ModelError(f"{record_path(job.weights)}: the network was trained on {told}, but the labels are {found}")
    faces = _faces(job, source.model)
    files: dict[Path, bytes] = {}
    for name, path in paths.items():
        recipe = job.recipes[name]
        sample = None if faces.calibration is None else calibration_faces(faces.calibration, recipe)
        content = to_tflite(source.model, recipe, sample, job.scaling)
        verified = verify(path.name, content, recipe, faces.verification, faces.expected, job.scaling)
        files[path] = content
        card = _card(job, name, path.stem, content, source, record, faces, verified)
        files[card_path(path)] = (card.model_dump_json(indent=1) + "\n").encode()
    write_whole(files)
    for path in paths.values():
        report_path(path).unlink(missing_ok=True)  # of the model that was there
    if job.report and job.validation:
        for path in paths.values():
            # In a process of its own, as everything that runs the files.
            model_file, data, out = (str(file.resolve()) for file in (path, job.validation, report_path(path)))
            arguments = ("report", "--force", "--model", model_file, "--data", data, "--out", out)
            run_apart("converter", *arguments, failed=f"{report_path(path)}: cannot be written")
    return list(paths.values())


def _require_tools(job: Conversion) -> None:
    """UnavailableError where something is missing that the end of the conversion needs; it takes minutes."""
    for name, recipe in job.recipes.items():
        require_fast_runtime(name, recipe, installed_runtimes())
    if not (job.report and job.validation):
        return
    if not importlib.util.find_spec("matplotlib"):
        raise UnavailableError("the report needs matplotlib: pip install 'edge-fer[convert]', or give --no-report")
    if not (detector := MODELS / BLAZEFACE[DETECTOR].file).is_file():
        raise UnavailableError(f"the report needs {detector}: make models, or give --no-report")


def report_path(model: Path) -> Path:
    """Where the report of a model file is."""
    return model.with_suffix(".html")


def _refuse_overwriting(files: list[Path], *, force: bool) -> None:
    if not force and (there := [file for file in files if file.exists()]):
        raise UsageError(f"{there[0]}: is there already; --force replaces it")


def _faces(job: Conversion, model: keras.Model) -> Faces:
    """All faces that the conversion needs, at the size of the model's input."""
    shape = tuple(model.inputs[0].shape[1:])
    if len(shape) != 3 or shape[0] != shape[1] or shape[2] not in (1, 3):  # noqa: PLR2004 - height, width, channels
        raise ModelError(f"{job.weights}: takes images of {shape}, but must take square ones with 1 or 3 channels")
    calibration = None
    if job.calibration:
        stored = np.asarray(read_npz(job.calibration, ("images",))["images"], np.uint8)
        calibration = to_input_size(stored, str(job.calibration), shape[0])
    labelled = None
    if job.validation:
        labelled = load_labelled(job.validation, job.labels)
        require_faces(len(labelled.labels), str(job.validation))
        verification = to_input_size(labelled.images, str(job.validation), shape[0])
    elif calibration is not None:
        require_faces(len(calibration), str(job.calibration))
        chosen = np.random.default_rng(VERIFY_SEED).permutation(len(calibration))[:MAX_VERIFY_FACES]
        verification = calibration[np.sort(chosen)]
    else:
        raise UsageError(f"--validation or --calibration must name {MIN_FACES} faces or more to verify the files on")
    expected = model.predict(to_input(verification, shape[2], job.scaling), batch_size=256, verbose=0)
    if not np.isfinite(expected).all():
        raise ModelError(
            f"{job.weights}: gives NaN or infinite outputs for faces of {job.validation or job.calibration}"
        )
    return Faces(calibration, verification, labelled, expected)


def _card(  # one file's facts from everywhere
    job: Conversion,
    recipe_name: str,
    name: str,
    content: bytes,
    source: Source,
    record: TrainingRecord | None,
    faces: Faces,
    verified: Verified,
) -> ModelCard:
    prior = np.array(record.training_prior) if record else None
    tau = record.logit_adjustment if record else 0.0
    outputs, size = verified.outcome.outputs, verified.outcome.size
    points, metrics = unmeasured_points(len(job.labels), prior, tau), {}
    if faces.labelled:
        points = {name: fit_point(point, outputs, faces.kind, faces.labelled) for name, point in points.items()}
        metrics = {
            name: set_report(outputs, faces.kind, point, faces.labelled, str(job.validation), job.labels)
            for name, point in points.items()
        }
    return ModelCard(
        name=name,
        sha256=hashlib.sha256(content).hexdigest(),
        labels=job.labels,
        input_px=faces.verification.shape[1],
        input_channels=source.model.inputs[0].shape[-1],
        input_scaling=job.scaling,
        output=faces.kind,
        precision=recipe_name,
        parameters=size.parameters,
        macs=size.macs,
        operators=size.operators,
        size_bytes=len(content),
        training_prior=record.training_prior if record else None,
        operating_points=points,
        default_operating_point=DEFAULT_POINT if DEFAULT_POINT in points else AS_TRAINED,
        metrics=metrics,
        recipe=_provenance(job, job.recipes[recipe_name], source, record, verified),
        **write_card_text(
            source.network,
            job.recipes[recipe_name],
            job.weights.name,
            recorded=record is not None,
            validation=job.validation.name if job.validation else None,
        ),
    )


def _provenance(
    job: Conversion, recipe: ConversionRecipe, source: Source, record: TrainingRecord | None, verified: Verified
) -> dict[str, Any]:
    """Everything that the file depends on, and how far it was compared with its source."""
    files = {"calibration": job.calibration if recipe.arithmetic == "int8" else None, "validation": job.validation}
    return {
        "training": record.model_dump(mode="json", exclude={"history", "training_prior", "labels"}) if record else None,
        "conversion": recipe.model_dump(),
        "weights_sha256": source.sha256,
        **{f"{use}_sha256": file_sha256(path) for use, path in files.items() if path},
        "verified": verified.figures,
        **versions(),
    }

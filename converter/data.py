"""Face sets: the FER+ training votes as soft labels, and any labelled set for evaluation."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from converter.network import INPUT_PX
from edge_fer.errors import UnavailableError
from edge_fer.labels import EXPRESSIONS

if TYPE_CHECKING:
    from pathlib import Path

TRAIN_FILE, VALID_FILE = "ferplus_train.npz", "ferplus_valid.npz"
"""In a folder of training data."""

VOTE_COLUMNS = (*EXPRESSIONS, "unknown", "not-a-face")
"""Columns of a `votes` array: ten annotators per image (Barsoum et al. 2016)."""

MAJORITY_VOTES = 5
"""A "majority" image has more than this many of its ten votes on one expression."""

IMAGE_AXES = ("count", "height", "width")

FER2013_TO_EXPRESSION = np.array([4, 5, 6, 1, 3, 2, 0])
"""FER2013 label (angry, disgust, fear, happy, sad, surprise, neutral) -> index in EXPRESSIONS."""


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Faces with a probability for each expression."""

    images: npt.NDArray[np.uint8]  # (N, 48, 48)
    targets: npt.NDArray[np.float32]  # (N, 8), each row sums to 1

    @property
    def prior(self) -> npt.NDArray[np.float64]:
        """How common each expression is in the set, (8,), sums to 1."""
        prior: npt.NDArray[np.float64] = self.targets.mean(axis=0, dtype=np.float64)
        return prior


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """Faces with one expression each."""

    images: npt.NDArray[np.uint8]  # (N, H, W)
    labels: npt.NDArray[np.int64]  # (N,) index in the labels, EXPRESSIONS by default
    majority: npt.NDArray[np.bool_]  # (N,) annotators agree; all True where there are no votes


def read_npz(path: Path, required: tuple[str, ...]) -> dict[str, npt.NDArray[np.generic]]:
    """All arrays of an npz file; UnavailableError where the file or a required array is missing or damaged."""
    try:
        with zipfile.ZipFile(path):  # np.load would take a bare array too
            pass
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError as err:
        raise UnavailableError(f"{path}: no such file") from err
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as err:
        raise UnavailableError(f"{path}: not a readable npz file ({err})") from err
    if missing := [name for name in required if name not in arrays]:
        raise UnavailableError(f"{path}: holds {sorted(arrays)}, but no {missing[0]!r}")
    images = arrays["images"]
    if images.dtype != np.uint8 or images.ndim != len(IMAGE_AXES):
        raise UnavailableError(
            f"{path}: images are {images.dtype} {images.shape}, but must be uint8 ({', '.join(IMAGE_AXES)})"
        )
    for name, axes in (("votes", 2), ("labels", 1), ("fer2013_label", 1)):
        array = arrays.get(name)
        if array is not None and array.ndim != axes:
            raise UnavailableError(f"{path}: {name} have the shape {array.shape}, but must have {axes} axes")
        if array is not None and len(array) != len(images):
            raise UnavailableError(f"{path}: {len(images)} images, but {len(array)} {name}")
    return arrays


def load_training(path: Path, fer2013_votes: int = 0) -> TrainingSet:
    """FER+ votes as soft labels.

    Dropped: images whose majority is unknown or not a face, and single votes (usual FER+ practice). The original
    FER2013 label counts as `fer2013_votes` more votes where at least one annotator agreed with it.
    """
    arrays = read_npz(path, ("images", "votes"))
    votes = _votes(arrays, path)
    counts = np.where(votes[:, : len(EXPRESSIONS)] > 1, votes[:, : len(EXPRESSIONS)], 0)
    if fer2013_votes:
        original = read_npz(path, ("images", "fer2013_label"))["fer2013_label"].astype(np.int64)
        rows = np.flatnonzero(original < len(FER2013_TO_EXPRESSION))
        columns = FER2013_TO_EXPRESSION[original[rows]]
        agreed = votes[rows, columns] > 0
        counts[rows[agreed], columns[agreed]] += fer2013_votes
    keep = (votes.argmax(axis=1) < len(EXPRESSIONS)) & (counts.sum(axis=1) > 0)
    kept = counts[keep]
    if arrays["images"].shape[1:] != (INPUT_PX, INPUT_PX):
        raise UnavailableError(
            f"{path}: images are {arrays['images'].shape[1:]}, but training needs {INPUT_PX} x {INPUT_PX}"
        )
    return TrainingSet(
        np.asarray(arrays["images"][keep], np.uint8), (kept / kept.sum(axis=1, keepdims=True)).astype(np.float32)
    )


def load_labelled(path: Path, known: tuple[str, ...] = EXPRESSIONS) -> LabelledSet:
    """A set to evaluate on: `images` with `votes` (FER+ columns) or with `labels` (names out of `known`, or places).

    With votes, an image counts where its most frequent vote is an expression; it is "majority" above five votes.
    """
    arrays = read_npz(path, ("images",))
    images = np.asarray(arrays["images"], np.uint8)
    if "votes" in arrays and known == EXPRESSIONS:
        votes = _votes(arrays, path)
        keep = votes.argmax(axis=1) < len(EXPRESSIONS)
        kept = votes[keep]
        return LabelledSet(images[keep], kept.argmax(axis=1), kept.max(axis=1) > MAJORITY_VOTES)
    if "labels" not in arrays:
        wanted = "neither 'votes' nor 'labels'" if known == EXPRESSIONS else f"no 'labels' out of {', '.join(known)}"
        raise UnavailableError(f"{path}: holds {sorted(arrays)}, but {wanted}")
    labels = _label_places(arrays["labels"], known, path)
    return LabelledSet(images, labels, np.ones(len(labels), np.bool_))


def _label_places(labels: npt.NDArray[np.generic], known: tuple[str, ...], path: Path) -> npt.NDArray[np.int64]:
    """Names, or places counted from 0, as places in `known`."""
    if np.issubdtype(labels.dtype, np.integer):
        places = labels.astype(np.int64)
        if len(places) and not (places.min() >= 0 and places.max() < len(known)):
            raise UnavailableError(
                f"{path}: labels are {places.min()} to {places.max()}, but must be 0 to {len(known) - 1}"
            )
        return places
    names = [str(name) for name in labels]
    if unknown := sorted(set(names) - set(known)):
        raise UnavailableError(f"{path}: label {unknown[0]!r} is not one of {', '.join(known)}")
    return np.array([known.index(name) for name in names], np.int64)


def log_prior(faces: TrainingSet, source: str) -> npt.NDArray[np.float64]:
    """Logarithm of the prior, (8,); UnavailableError names `source` where an expression never occurs."""
    if absent := [name for name, share in zip(EXPRESSIONS, faces.prior, strict=True) if not share > 0]:
        raise UnavailableError(f"{source}: no image shows {absent[0]!r}; training needs every expression")
    logs: npt.NDArray[np.float64] = np.log(faces.prior)
    return logs


def _votes(arrays: dict[str, npt.NDArray[np.generic]], path: Path) -> npt.NDArray[np.int64]:
    votes = arrays["votes"]
    if votes.shape[1:] != (len(VOTE_COLUMNS),) or not np.issubdtype(votes.dtype, np.integer):
        raise UnavailableError(
            f"{path}: votes are {votes.dtype} {votes.shape}, but must be integers with the columns {VOTE_COLUMNS}"
        )
    return votes.astype(np.int64)

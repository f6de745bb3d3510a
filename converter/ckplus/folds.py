"""Folds that were read, and what they come to: the figures of a cross-validation, and the file that keeps them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from converter.ckplus.data import counts, differences
from converter.files import write_whole
from edge_fer.errors import UnavailableError, UsageError
from edge_fer.labels import EXPRESSIONS

if TYPE_CHECKING:
    from converter.ckplus.data import CkPlus

RECORD = "folds.json"
"""In the folder of a cross-validation."""


class FoldResult(BaseModel):
    """One fold; expressions are names, one for each held-out image."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fold: int
    subjects: list[str]
    images: list[str]
    shown: list[str]
    read: list[str]
    read_before: list[str] | None  # by the weights that the training started from; None where they were random
    loss: float  # mean of the last epoch
    seconds: float


class Record(BaseModel):
    """What folds.json holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    settings: dict[str, Any]
    folds: list[FoldResult]


def figures(shown: Sequence[str], read: Sequence[str]) -> dict[str, Any]:
    """`accuracy`, `mean_recall` over the expressions shown, `recall` of each, `n`, `confusion` (shown -> read)."""
    classes = [name for name in EXPRESSIONS if name in shown or name in read]
    confusion = {row: dict.fromkeys(classes, 0) for row in classes}
    for truth, answer in zip(shown, read, strict=True):
        confusion[truth][answer] += 1
    recall = {name: row[name] / sum(row.values()) for name, row in confusion.items() if any(row.values())}
    return {
        "accuracy": sum(row[name] for name, row in confusion.items()) / len(shown),
        "mean_recall": sum(recall.values()) / len(recall),
        "recall": recall,
        "n": len(shown),
        "confusion": confusion,
    }


def _summary(shown: list[list[str]], read: list[list[str]]) -> dict[str, Any]:
    """Accuracy and mean recall of each fold, mean and sample deviation of the accuracies, all images pooled."""
    folds = [figures(*pair) for pair in zip(shown, read, strict=True)]
    accuracies = [fold["accuracy"] for fold in folds]
    return {
        "folds": [{key: fold[key] for key in ("accuracy", "mean_recall", "n")} for fold in folds],
        "accuracy_mean": float(np.mean(accuracies)),
        "accuracy_std": float(np.std(accuracies, ddof=1)),
        "pooled": figures(list(chain(*shown)), list(chain(*read))),
    }


def run_report(faces: CkPlus, settings: dict[str, Any], results: list[FoldResult]) -> dict[str, Any]:
    """Everything about a finished run, as JSON holds it."""
    shown = [result.shown for result in results]
    before = [result.read_before for result in results if result.read_before is not None]
    every = faces.frames + faces.without_face
    return {
        "protocol": "CK+, subjects apart, the last epoch of each fold",
        "settings": settings,
        "data": {
            "found": counts(every),
            "differences": differences(every),
            "without_face": [frame.file.name for frame in faces.without_face],
        },
        "result": _summary(shown, [result.read for result in results]),
        "before": _summary(shown, before) if before else None,
        "folds": [result.model_dump() for result in results],
    }


def read_record(out: Path, settings: dict[str, Any]) -> list[FoldResult]:
    """The folds that were finished before, none at first; makes the folder, so that a wrong one is told early."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        record = Record.model_validate_json((out / RECORD).read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValidationError) as err:
        reason = err.strerror if isinstance(err, OSError) else "not what a cross-validation writes"
        raise UnavailableError(f"{out / RECORD}: not readable ({reason}); choose another --out or remove it") from err
    for key, value in settings.items():
        if (stored := record.settings.get(key)) != value:
            raise UsageError(f"{out}: holds folds of {key} {stored}, not {value}; choose another --out or remove it")
    return record.folds


def keep_record(out: Path, settings: dict[str, Any], folds: list[FoldResult]) -> None:
    """Write the folds down, so that a second call goes on after them."""
    write_json(out / RECORD, Record(settings=settings, folds=folds).model_dump())


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write it whole; UnavailableError where that is not possible."""
    write_whole({path: (json.dumps(value, indent=1) + "\n").encode()})

"""How weights came about: `NAME.json` beside `NAME.keras`, written by the training, read by the conversion."""

from __future__ import annotations

import hashlib
import importlib.metadata
import subprocess
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from edge_fer.errors import ModelError, UnavailableError
from edge_fer.labels import EXPRESSIONS


class TrainingRecord(BaseModel):
    """What a training leaves beside its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: tuple[str, ...] = EXPRESSIONS
    training_prior: tuple[float, ...]
    """Mean of the training's targets."""
    recipe: dict[str, Any]
    git_commit: str | None
    """Of the checkout that trained, with "+" where it had changes; None outside of one."""
    inputs: dict[str, str]
    """sha256 of the training and validation sets, and of the weights that it started from or was taught by."""
    versions: dict[str, str]
    history: list[dict[str, float]]
    """Loss, and figures on the validation majority, after each epoch."""

    @property
    def logit_adjustment(self) -> float:
        """Tau of the training."""
        return float(self.recipe.get("logit_adjustment", 0.0))


def record_path(weights: Path) -> Path:
    """Where the record of a weights file is."""
    return weights.with_suffix(".json")


def read_record(weights: Path) -> TrainingRecord | None:
    """The record beside the weights, if there is one; ModelError where it is damaged."""
    path = record_path(weights)
    if not path.is_file():
        return None
    try:
        return TrainingRecord.model_validate_json(path.read_bytes())
    except OSError as err:
        raise UnavailableError(f"{path}: cannot be read ({err.strerror})") from err
    except ValidationError as err:
        first = err.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise ModelError(
            f"{path}: lies beside the weights as their training record, but is none ({key}: {first['msg']})"
        ) from err


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes; UnavailableError where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as err:
        raise UnavailableError(f"{path}: cannot be read ({err.strerror})") from err


def git_commit() -> str | None:
    """Commit of this checkout, with "+" where tracked files differ from it; None where there is none."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True).stdout

    try:
        return git("rev-parse", "HEAD").strip() + ("+" if git("status", "--porcelain", "-uno").strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def versions() -> dict[str, str]:
    """Of the packages that weights and model files depend on."""
    return {package: _version(package) for package in ("tensorflow", "keras")}


def _version(package: str) -> str:
    """Of an installed package; TensorFlow's wheel for CPUs has a name of its own."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return importlib.metadata.version(f"{package}-cpu")

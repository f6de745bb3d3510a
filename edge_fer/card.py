"""The JSON card beside each model file: what it is, how good it is, and the hash that it must have."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from edge_fer.errors import ModelError

MODELS = Path(__file__).parent / "models"
"""Where the package keeps its models."""


class ModelCard(BaseModel):
    """What `<model>.json` holds; written by the converter, read before the model is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    description: str
    sha256: str
    labels: tuple[str, ...]
    """Expressions in the order of the output."""
    input_px: int
    """Height and width of the input."""
    input_channels: Literal[1, 3]
    input_scaling: str
    """From grey level to input value, before quantisation."""
    output: Literal["logits"]
    """What the network gives; probabilities are its softmax."""
    precision: Literal["float32", "int8"]
    parameters: int
    macs: int
    metrics: dict[str, Any]
    training_data: str
    recipe: dict[str, Any]
    intended_use: str
    limits: str
    credits: str


def card_path(model: Path) -> Path:
    """Where the card of a model file is."""
    return model.with_suffix(".json")


def load_verified(model: Path) -> tuple[bytes, ModelCard]:
    """The bytes of a model and its card.

    ModelError where the file or its card is missing, the card is damaged, or the bytes are not those the card was
    written for (a truncated copy, another version).
    """
    path = card_path(model)
    try:
        content = model.read_bytes()
    except OSError as err:
        raise ModelError(f"{model}: cannot read the model ({err.strerror})") from err
    try:
        card = ModelCard.model_validate_json(path.read_bytes())
    except OSError as err:
        raise ModelError(f"{model}: its card {path.name} cannot be read ({err.strerror})") from err
    except ValidationError as err:
        first = err.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise ModelError(f"{path}: not a model card ({key}: {first['msg']})") from err
    check_sha256(model, content, card.sha256)
    return content, card


def check_sha256(model: Path, content: bytes, expected: str) -> None:
    """ModelError where the bytes are not the expected ones.

    Needed before they are loaded: tflite-runtime crashes the process on a truncated model.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ModelError(
            f"{model}: sha256 is {found[:12]}... ({len(content)} bytes), but must be {expected[:12]}...; "
            "the file is damaged or of another version: install it again"
        )

"""The JSON card beside each model file: what it is, how good it is, and the hash that it must have."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge_fer.errors import ModelError

MODELS = Path(__file__).parent / "models"
"""Where the package keeps its models."""


InputScaling = Literal["-1..1", "0..1", "0..255"]
"""Where the grey levels 0..255 lie in the input, before quantisation."""

OutputKind = Literal["logits", "probabilities"]
"""What a network gives. Logarithms of probabilities serve as logits."""


class Coverage(BaseModel):
    """What abstaining below a confidence costs and gains, measured on the validation faces."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_confidence: float
    coverage: float
    """Share of the faces that are still read."""
    accuracy: float | None
    """Of those; None where none is left."""


class OperatingPoint(BaseModel):
    """How common each expression is expected to be, and what makes the probabilities honest there.

    The probabilities are softmax((logits + offset) / temperature).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prior: tuple[float, ...] | None
    """Expected share of each label; None where the network was trained to no known one."""
    offset: tuple[float, ...]
    """Added to the logits: from the prior that the network was trained to, to this one."""
    temperature: float = Field(gt=0)
    """Guo et al. 2017: below 1 the network was too cautious, above 1 too sure. Honest for faces that are as common as
    in the validation set. After the offset: the network has learnt how annotators' votes are shared out, and the
    temperature makes of that how often their majority is met."""
    min_confidence: float = Field(ge=0, le=1)
    """Below it the daemon abstains: a face reads "uncertain"."""
    coverage: tuple[Coverage, ...] = ()


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
    input_scaling: InputScaling
    output: OutputKind
    precision: str
    """Of the weights and the arithmetic: the name of the conversion's recipe."""
    parameters: int
    macs: int
    operators: int
    size_bytes: int
    training_prior: tuple[float, ...] | None
    """How common each label was in training; None where that is not known."""
    operating_points: dict[str, OperatingPoint]
    default_operating_point: str
    metrics: dict[str, Any]
    """Of this very file: under each operating point's name the figures there; empty where nothing was measured."""
    training_data: str
    recipe: dict[str, Any]
    intended_use: str
    limits: str
    credits: str

    @model_validator(mode="after")
    def _fits_together(self) -> ModelCard:
        if self.default_operating_point not in self.operating_points:
            known = ", ".join(self.operating_points)
            raise ValueError(f"default_operating_point {self.default_operating_point!r} is none of {known}")
        for name, point in self.operating_points.items():
            for what, values in (("offsets", point.offset), ("shares", point.prior or self.labels)):
                if len(values) != len(self.labels):
                    raise ValueError(f"operating point {name}: {len(values)} {what} for {len(self.labels)} labels")
        return self


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

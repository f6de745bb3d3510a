"""Recipes: TOML files with everything that decides what a network learns, or how it is converted."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from converter.augment import Augmentation
from edge_fer.classify import NetworkName
from edge_fer.errors import ConfigError, UsageError
from edge_fer.toml import read_toml

Recipe = TypeVar("Recipe", bound=BaseModel)

RECIPES = Path(__file__).parent / "recipes"


class Teacher(BaseModel):
    """A trained network that teaches another."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: NetworkName
    file: str
    """Its weights, relative to the recipe's folder."""


class TrainingRecipe(BaseModel):
    """Keys of `recipes/train_*.toml`; together with the data and the seed they fix a training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: NetworkName
    epochs: int = Field(ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    """Peak of a cosine to zero, after `warmup_epochs` of linear growth."""
    warmup_epochs: float = Field(default=1, ge=0)
    weight_decay: float = Field(default=0.004, ge=0)
    dtype: Literal["float32", "mixed_bfloat16"] = "float32"
    """Arithmetic of the training; the weights are float32 either way."""
    fer2013_votes: int = Field(default=0, ge=0)
    """How many votes the original FER2013 label counts for, where an annotator agreed with it."""
    logit_adjustment: float = Field(default=0.0, ge=0)
    """Tau of logit adjustment (Menon et al. 2021): training sees logits + tau * log prior, so rare classes count."""
    initial_weights: str | None = None
    """Weights to start from instead of random ones, relative to the recipe's folder."""

    teachers: tuple[Teacher, ...] = ()
    """Networks whose mean reading of each image is mixed into its votes."""

    teacher_weight: float = Field(default=0.5, ge=0, le=1)
    """Share of the teachers in the mixture."""

    teacher_logit_adjustment: float = Field(default=0.7, ge=0)
    """The tau that the teachers were trained with; undone before their readings are mixed in."""

    average_decay: float = Field(default=0.0, ge=0, lt=1)
    """What ships is the exponential moving average of the weights over the steps; 0: the last weights themselves."""

    seed: int = 0
    augment: Augmentation = Augmentation()


class ConversionRecipe(BaseModel):
    """Keys of `recipes/{float32,float16,int8,int8-float-io,dynamic}.toml`: how a network becomes a TFLite file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: Literal["float32", "float16", "int8"]
    arithmetic: Literal["float32", "int8"]
    """With int8 weights, float32 arithmetic is "dynamic": activations are quantised as they come."""
    input_output: Literal["float32", "int8"] = "float32"
    calibration_images: int = Field(default=500, ge=1)
    """Faces that the ranges of int8 arithmetic are measured on."""
    calibration_seed: int = 0
    """Draws them from the calibration file."""

    @model_validator(mode="after")
    def _fits_together(self) -> ConversionRecipe:
        if self.arithmetic == "int8" and self.weights != "int8":
            raise ValueError(f"int8 arithmetic needs weights = 'int8', found {self.weights!r}")
        if self.input_output == "int8" and self.arithmetic != "int8":
            raise ValueError(f"int8 input_output needs arithmetic = 'int8', found {self.arithmetic!r}")
        return self


def read_recipe(path: Path) -> TrainingRecipe:
    """The training recipe in a TOML file; ConfigError names the file and every wrong key."""
    return _read(path, TrainingRecipe)


def read_conversion_recipe(name: str) -> tuple[str, ConversionRecipe]:
    """A conversion recipe, and its own name, by the name of a shipped one or by the path of a TOML file.

    UsageError lists the shipped ones where there is no such file; ConfigError names the file and every wrong key.
    """
    shipped = RECIPES / f"{name}.toml"
    path = shipped if shipped.is_file() else Path(name)
    if not path.is_file():
        known = sorted(file.stem for file in RECIPES.glob("*.toml") if not file.stem.startswith("train_"))
        raise UsageError(f"recipe {name!r}: no such file, and none of {', '.join(known)}")
    return path.stem, _read(path, ConversionRecipe)


def _read(path: Path, kind: type[Recipe]) -> Recipe:
    try:
        return kind.model_validate(read_toml(path))
    except ValidationError as err:
        lines = [f"{'.'.join(str(part) for part in item['loc']) or 'recipe'}: {item['msg']}" for item in err.errors()]
        raise ConfigError("\n".join(f"{path}: {line}" for line in lines)) from err

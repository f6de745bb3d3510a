"""A training recipe: a TOML file with everything that decides what the network learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from converter.augment import Augmentation
from edge_fer.errors import ConfigError
from edge_fer.toml import read_toml

if TYPE_CHECKING:
    from pathlib import Path


class TrainingRecipe(BaseModel):
    """Keys of `recipes/train_*.toml`; together with the data and the seed they fix a training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: Literal["nano_a", "nano_b"]
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
    seed: int = 0
    augment: Augmentation = Augmentation()


def read_recipe(path: Path) -> TrainingRecipe:
    """The recipe in a TOML file; ConfigError names the file and every wrong key."""
    try:
        return TrainingRecipe.model_validate(read_toml(path))
    except ValidationError as err:
        lines = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in err.errors()]
        raise ConfigError("\n".join(f"{path}: {line}" for line in lines)) from err

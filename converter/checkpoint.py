"""What a training leaves in its folder after each epoch, and goes on from."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from converter.files import write_whole
from converter.record import TrainingRecord, record_path
from edge_fer.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import keras

    from converter.average import WeightAverage
    from converter.recipe import TrainingRecipe

TRAINED = "trained.keras"
"""The network that ships, its record beside it."""

STATE, HISTORY = "state.json", "history.csv"

UNREADABLE = (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class State(BaseModel):
    """How far a training has come, and of what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: dict[str, Any]
    inputs: dict[str, str]
    """sha256 of the data, and of the weights that it starts from and is taught by."""
    history: list[dict[str, float]]


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of one training. Those of an epoch carry its number, and `state.json`, written last, names it."""

    path: Path

    def model_file(self, epochs: int) -> Path:
        """The whole model with its optimizer after that many epochs."""
        return self.path / f"checkpoint-{epochs:03d}.keras"

    def average_file(self, epochs: int) -> Path:
        """The averaged weights after that many epochs."""
        return self.path / f"average-{epochs:03d}.npz"

    def read_history(self, recipe: TrainingRecipe, inputs: dict[str, str] | None = None) -> list[dict[str, float]]:
        """Metrics of the epochs already trained here; none before the first epoch's end.

        UsageError where the recipe, or the hashes of `inputs` if given, are others than those; UnavailableError where
        the file is damaged.
        """
        file = self.path / STATE
        try:
            state = State.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            return []
        except OSError as err:
            raise UnavailableError(f"{file}: not readable ({err.strerror})") from err
        except ValidationError as err:
            raise UnavailableError(f"{file}: not what a training writes; remove {self.path} to train anew") from err
        if state.recipe != recipe.model_dump(mode="json"):
            raise UsageError(f"{self.path}: holds a training by another recipe; choose another --out or remove it")
        if changed := [name for name, sha256 in (inputs or {}).items() if state.inputs.get(name) != sha256]:
            raise UsageError(
                f"{self.path}: holds a training with another {changed[0]}; choose another --out or remove it"
            )
        return state.history

    def write(
        self,
        recipe: TrainingRecipe,
        record: TrainingRecord,
        model: keras.Model,
        average: WeightAverage,
        shipped: keras.Model,
    ) -> None:
        """Everything after an epoch, the state last: a cut in between repeats one epoch at worst.

        `record` has the history of all epochs so far. UnavailableError where it cannot be written.
        """
        epochs = len(record.history)
        state = State(recipe=recipe.model_dump(mode="json"), inputs=record.inputs, history=record.history)
        columns = list(record.history[-1])
        rows = [[str(epoch[name]) for name in columns] for epoch in record.history]
        write_whole(
            {
                self.model_file(epochs): model.save,
                self.average_file(epochs): average.save,
                self.path / TRAINED: shipped.save,
                record_path(self.path / TRAINED): (record.model_dump_json(indent=1) + "\n").encode(),
                self.path / HISTORY: "".join(",".join(row) + "\n" for row in [columns, *rows]).encode(),
                self.path / STATE: state.model_dump_json(indent=1).encode(),
            }
        )
        for before in range(epochs):
            self.model_file(before).unlink(missing_ok=True)
            self.average_file(before).unlink(missing_ok=True)

    def load_model(self, epochs: int) -> keras.Model:
        """The model after that many epochs; UnavailableError where it is damaged."""
        import keras

        file = self.model_file(epochs)
        try:
            return keras.saving.load_model(file)
        except UNREADABLE as err:
            raise UnavailableError(f"{file}: not readable; remove {self.path} to train anew") from err

    def load_average(self, average: WeightAverage, epochs: int) -> None:
        """The averaged weights after that many epochs; UnavailableError where they are damaged."""
        file = self.average_file(epochs)
        try:
            average.load(file)
        except UNREADABLE as err:
            raise UnavailableError(f"{file}: not readable; remove {self.path} to train anew") from err

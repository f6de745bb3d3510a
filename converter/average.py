"""An exponential moving average of a network's weights while it trains.

It lies in a flatter place than the last weights do, which reads faces of other origins better (Cha et al., "SWAD:
Domain Generalization by Seeking Flat Minima", 2021).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pathlib import Path

    import keras

WARM_UP_STEPS = 10
"""The average forgets faster at first: after n steps its decay is at most (1 + n) / (WARM_UP_STEPS + n)."""


class WeightAverage:
    """The averaged weights of a model, normalisation statistics included."""

    def __init__(self, model: keras.Model, decay: float) -> None:
        self._model = model
        self._decay = decay
        self._steps = 0
        self.values: list[npt.NDArray[np.float32]] = model.get_weights()

    def update(self) -> None:
        """Take the model's weights after a step."""
        decay = min(self._decay, (1 + self._steps) / (WARM_UP_STEPS + self._steps))
        self._steps += 1
        for kept, new in zip(self.values, self._model.get_weights(), strict=True):
            kept[...] += (1 - decay) * (new - kept)

    def save(self, path: Path) -> None:
        """All values and the step count as npz."""
        arrays = {f"w{index:03d}": value for index, value in enumerate(self.values)}
        with path.open("wb") as file:
            np.savez(file, steps=np.int64(self._steps), **arrays)

    def load(self, path: Path) -> None:
        """What `save` wrote for the same network."""
        with np.load(path, allow_pickle=False) as stored:
            self._steps = int(stored["steps"])
            self.values = [stored[f"w{index:03d}"] for index in range(len(self.values))]

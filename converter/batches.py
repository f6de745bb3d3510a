"""One epoch of augmented batches; the same for the same seed and epoch, so a resumed training goes on as begun."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from converter.augment import augment
from edge_fer.align import normalise

if TYPE_CHECKING:
    import keras

    from converter.prepare import Prepared
    from converter.recipe import TrainingRecipe


def epoch_batches(prepared: Prepared, recipe: TrainingRecipe, epoch: int) -> keras.utils.PyDataset:
    """Batches of images (N, 48, 48, 1) in -1..1 with targets (N, 8), to be taken in their order."""
    import keras

    faces, framed = prepared.faces, prepared.framed
    order = np.random.default_rng((recipe.seed, epoch)).permutation(len(faces.images))

    def pick(row: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        product = framed is not None and rng.random() < recipe.augment.product_crop_probability
        chosen: npt.NDArray[np.uint8] = framed[row] if framed is not None and product else faces.images[row]
        return chosen

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
        def __len__(self) -> int:
            return math.ceil(len(order) / recipe.batch_size)

        def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
            rng = np.random.default_rng((recipe.seed, epoch, index))
            rows = order[index * recipe.batch_size : (index + 1) * recipe.batch_size]
            images = np.stack([augment(pick(row, rng), rng, recipe.augment) for row in rows])
            return normalise(images)[..., None], faces.targets[rows]

    return Batches()

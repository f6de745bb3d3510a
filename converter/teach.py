"""What trained networks read in the training images, mixed into the annotators' votes (distillation).

Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015; with teachers of the same size as
the pupil: Furlanello et al., "Born-Again Neural Networks", 2018.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from converter.data import log_prior
from converter.sources.files import read_weights
from edge_fer.align import normalise
from edge_fer.classify import softmax
from edge_fer.labels import EXPRESSIONS

if TYPE_CHECKING:
    from converter.data import TrainingSet
    from converter.recipe import TrainingRecipe
    from edge_fer.classify import NetworkName


def mix_in_teachers(faces: TrainingSet, recipe: TrainingRecipe, folder: Path, source: str) -> TrainingSet:
    """The set with `teacher_weight` of each target replaced by the teachers' mean; unchanged without teachers.

    `folder` is the recipe's; `source` names the set in errors.
    """
    if not recipe.teachers:
        return faces
    offset = recipe.teacher_logit_adjustment * log_prior(faces, source)
    readings = [
        read_both_sides(folder / teacher.file, teacher.network, faces.images, offset) for teacher in recipe.teachers
    ]
    taught = np.mean(readings, axis=0)
    mixed = (1 - recipe.teacher_weight) * faces.targets + recipe.teacher_weight * taught
    return replace(faces, targets=mixed.astype(np.float32))


def read_both_sides(
    weights: Path, network: NetworkName, images: npt.NDArray[np.uint8], offset: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Mean probabilities (N, 8) of each image and its mirror image, with `offset` (8,) added to the logits."""
    model = read_weights(weights, network, len(EXPRESSIONS)).model
    sides = [
        model.predict(normalise(view)[..., None], batch_size=256, verbose=0) for view in (images, images[:, :, ::-1])
    ]
    mean: npt.NDArray[np.float64] = np.mean([softmax(logits + offset) for logits in sides], axis=0)
    return mean

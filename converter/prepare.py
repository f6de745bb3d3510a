"""What a training sees, made once: the teachers' readings, and each face as the product frames it."""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from converter.data import TrainingSet
from converter.files import write_whole
from converter.record import file_sha256
from converter.recrop import CANVAS_PX, DETECTOR, FACE_PX, SURROUNDINGS_PX, recrop
from converter.teach import mix_in_teachers
from edge_fer.align import CENTRE_UP, CROP_PER_BOX
from edge_fer.detect import BLAZEFACE

if TYPE_CHECKING:
    from pathlib import Path

    from converter.recipe import TrainingRecipe

log = logging.getLogger(__name__)

PREPARED = "prepared.npz"


@dataclass(frozen=True, slots=True)
class Prepared:
    """Faces with their targets; `framed` as the product would cut them out, where the recipe wants some of them."""

    faces: TrainingSet
    framed: npt.NDArray[np.uint8] | None  # (N, 48, 48)


def prepare(faces: TrainingSet, recipe: TrainingRecipe, folder: Path, train_npz: Path, out: Path) -> Prepared:
    """The training set by a recipe; kept in `out`, because it takes minutes, for as long as nothing of it changes.

    `faces` are those of `train_npz`; `folder` is where the recipe's own file names start.
    """
    wanted = recipe.augment.product_crop_probability > 0
    if not recipe.teachers and not wanted:
        return Prepared(faces, None)
    key, cache = _key(recipe, folder, train_npz), out / PREPARED
    if (stored := _read(cache, key)) is not None:
        targets, framed = stored
        return Prepared(replace(faces, targets=targets), framed if wanted else None)
    log.info("preparing %d faces: what the teachers read, and what the detector frames", len(faces.images))
    taught = mix_in_teachers(faces, recipe, folder, str(train_npz))
    framed = recrop(faces.images, recipe.seed).images if wanted else faces.images[:0]
    write_whole({cache: lambda path: np.savez(path, key=np.array(key), targets=taught.targets, framed=framed)})
    return Prepared(taught, framed if wanted else None)


def _key(recipe: TrainingRecipe, folder: Path, train_npz: Path) -> str:
    """Changes with everything that the prepared set depends on."""
    parts: dict[str, Any] = {
        "train": file_sha256(train_npz),
        "teachers": [(teacher.network, file_sha256(folder / teacher.file)) for teacher in recipe.teachers],
        "teacher_weight": recipe.teacher_weight,
        "teacher_logit_adjustment": recipe.teacher_logit_adjustment,
        "fer2013_votes": recipe.fer2013_votes,
    }
    if recipe.augment.product_crop_probability:
        framing = (CROP_PER_BOX, CENTRE_UP, CANVAS_PX, FACE_PX, SURROUNDINGS_PX)
        parts["framed"] = [recipe.seed, BLAZEFACE[DETECTOR].sha256, *framing]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _read(cache: Path, key: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]] | None:
    """What was prepared before, if it still holds; a damaged file is made anew."""
    try:
        with np.load(cache, allow_pickle=False) as stored:
            return (stored["targets"], stored["framed"]) if str(stored["key"]) == key else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as err:
        log.warning("%s: not readable, made anew (%s)", cache, err)
        return None

"""Drawn shapes to train on: eight of them for the eight expressions, no face in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from converter.recipe import TrainingRecipe, read_recipe

TRAIN_IMAGES, VALID_IMAGES = 600, 320

RECIPE = """
network = "nano_b"
epochs = 2
batch_size = 4
learning_rate = 0.003
warmup_epochs = 0.5
logit_adjustment = 0.5
seed = 7

[augment]  # only a little: the shapes must stay apart within two epochs
rotation_rad = 0.05
scale = 1.05
shift_px = 1.0
blur_probability = 0.0
low_resolution_probability = 0.0
gamma = 1.1
contrast = 0.1
noise_probability = 0.3
noise_sigma = 4.0
erase_probability = 0.0
"""


def draw(shape: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Bars, discs, rings and checks (48, 48), placed and lit by chance."""
    image = np.full((48, 48), rng.integers(20, 80), np.uint8)
    ink = int(rng.integers(160, 240))
    x, y = (int(place) for place in rng.integers(18, 30, 2))
    if shape == 0:
        image[y - 3 : y + 4] = ink
    elif shape == 1:
        image[:, x - 3 : x + 4] = ink
    elif shape == 2:
        cv2.circle(image, (x, y), 12, ink, -1)
    elif shape == 3:
        cv2.circle(image, (x, y), 14, ink, 2)
    elif shape == 4:
        cv2.line(image, (x - 18, y - 18), (x + 18, y + 18), ink, 5)
    elif shape == 5:
        cv2.line(image, (x - 18, y + 18), (x + 18, y - 18), ink, 5)
    elif shape == 6:
        image[(np.indices((48, 48)) // 4).sum(axis=0) % 2 == 0] = ink
    else:
        image[:] = rng.integers(120, 240)
    return image


def write_set(path: Path, count: int, seed: int) -> None:
    """Drawn images with eight votes for their shape and two for the next one; every tenth without a majority."""
    rng = np.random.default_rng(seed)
    shapes = np.arange(count) % 8
    votes = np.zeros((count, 10), np.uint8)
    votes[np.arange(count), shapes] = 8
    votes[np.arange(count), (shapes + 1) % 8] = 2
    votes[9::10] //= 2
    np.savez_compressed(
        path,
        images=np.stack([draw(shape, rng) for shape in shapes]),
        votes=votes,
        fer2013_label=np.full(count, 255, np.uint8),
    )


@dataclass(frozen=True)
class TinyTraining:
    """Where the files of the tiny training are."""

    data: Path
    recipe_file: Path
    out: Path

    @property
    def recipe(self) -> TrainingRecipe:
        return read_recipe(self.recipe_file)

    @property
    def weights(self) -> Path:
        return self.out / "trained.keras"

    @property
    def train_npz(self) -> Path:
        return self.data / "ferplus_train.npz"

    @property
    def valid_npz(self) -> Path:
        return self.data / "ferplus_valid.npz"

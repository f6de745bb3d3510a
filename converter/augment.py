"""Random changes to a training face: the framing of real detections, the light and grain of real cameras."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

MIRRORED = 0.5
"""Share of faces that are flipped left to right: both sides are equally right."""


class Augmentation(BaseModel):
    """How far each change may go; a probability is the share of images it is applied to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rotation_rad: float = 0.3
    scale: float = 1.25
    """Zoom between 1/scale and scale, as the detector's boxes vary in size."""
    shift_px: float = 5.0
    blur_probability: float = 0.2
    low_resolution_probability: float = 0.15
    """Shrunk and enlarged again, as a small face is."""
    gamma: float = 1.6
    contrast: float = 0.3
    noise_probability: float = 0.3
    noise_sigma: float = 12.0
    erase_probability: float = 0.1
    """A grey rectangle over part of the face: a hand, a mug, hair."""


def augment(image: npt.NDArray[np.uint8], rng: np.random.Generator, limits: Augmentation) -> npt.NDArray[np.uint8]:
    """A changed copy of one grey square face, uint8 of the same shape."""
    return _erase(_expose(_soften(_reframe(image, rng, limits), rng, limits), rng, limits), rng, limits)


def _reframe(image: npt.NDArray[np.uint8], rng: np.random.Generator, limits: Augmentation) -> npt.NDArray[np.uint8]:
    """Rotate, zoom, shift and flip in one resampling."""
    size = image.shape[0]
    centre = (size - 1) / 2
    angle_deg = np.degrees(rng.uniform(-limits.rotation_rad, limits.rotation_rad))
    zoom = limits.scale ** rng.uniform(-1, 1)
    matrix = cv2.getRotationMatrix2D((centre, centre), angle_deg, zoom)
    matrix[:, 2] += rng.uniform(-limits.shift_px, limits.shift_px, 2)
    moved = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved[:, ::-1] if rng.random() < MIRRORED else moved, np.uint8)


def _soften(image: npt.NDArray[np.uint8], rng: np.random.Generator, limits: Augmentation) -> npt.NDArray[np.uint8]:
    size = image.shape[0]
    if rng.random() < limits.blur_probability:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.3)), np.uint8)
    if rng.random() < limits.low_resolution_probability:
        small = int(rng.integers(size // 2, size))
        shrunk = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
        image = np.asarray(cv2.resize(shrunk, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)
    return image


def _expose(image: npt.NDArray[np.uint8], rng: np.random.Generator, limits: Augmentation) -> npt.NDArray[np.uint8]:
    """Gamma, contrast and brightness by a table of 256 values, then sensor noise."""
    levels = np.linspace(0, 1, 256) ** (limits.gamma ** rng.uniform(-1, 1)) * 255
    gain = 1 + rng.uniform(-limits.contrast, limits.contrast)
    table = np.clip((levels - 128) * gain + 128 + rng.uniform(-20, 20), 0, 255).astype(np.uint8)
    image = table[image]
    if rng.random() < limits.noise_probability:
        noise = rng.normal(0, rng.uniform(0, limits.noise_sigma), image.shape)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return image


def _erase(image: npt.NDArray[np.uint8], rng: np.random.Generator, limits: Augmentation) -> npt.NDArray[np.uint8]:
    if rng.random() < limits.erase_probability:
        size = image.shape[0]
        height, width = rng.integers(size // 8, size // 2, 2)
        top, left = rng.integers(0, size - height), rng.integers(0, size - width)
        image = image.copy()
        image[top : top + height, left : left + width] = rng.integers(0, 256)
    return image

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

    strip_probability: float = 0.0
    """A grey strip over up to half of the face, from one side: a door, a scarf, the frame's border."""

    jpeg_probability: float = 0.0
    """Compressed as a camera's stream is, quality 20 to 80."""

    product_crop_probability: float = 0.0
    """Share of faces that are taken as the product's own detector frames them, before the other changes."""


def augment(image: npt.NDArray[np.uint8], rng: np.random.Generator, limits: Augmentation) -> npt.NDArray[np.uint8]:
    """A changed copy of one grey square face, uint8 of the same shape."""
    seen = _soften(_reframe(image, rng, limits), rng, limits)
    return _compress(_cover(_erase(_expose(seen, rng, limits), rng, limits), rng, limits), rng, limits)


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


def _cover(image: npt.NDArray[np.uint8], rng: np.random.Generator, limits: Augmentation) -> npt.NDArray[np.uint8]:
    # No draw where the strip is off: recipes without it give the images that they always gave.
    if limits.strip_probability and rng.random() < limits.strip_probability:
        size = image.shape[0]
        turns = int(rng.integers(0, 4))
        turned = np.rot90(image, turns).copy()
        turned[: rng.integers(size // 8, size // 2, endpoint=True)] = rng.integers(0, 256)
        image = np.ascontiguousarray(np.rot90(turned, -turns))
    return image


def _compress(image: npt.NDArray[np.uint8], rng: np.random.Generator, limits: Augmentation) -> npt.NDArray[np.uint8]:
    if limits.jpeg_probability and rng.random() < limits.jpeg_probability:
        image = jpeg(image, int(rng.integers(20, 80, endpoint=True)))
    return image


def jpeg(image: npt.NDArray[np.uint8], quality: int) -> npt.NDArray[np.uint8]:
    """A grey image after JPEG compression of this quality (1..100)."""
    _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE), np.uint8)

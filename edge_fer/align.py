"""Faces to what the network sees: upright 48x48 grey crops, framed as the training images are."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from edge_fer.frame import Face

CROP_PX = 48
"""Height and width of what the network sees."""

CROP_PER_BOX = 1.18
"""Side of the crop over the side of a BlazeFace box, and how far (in crop sides) its centre lies above the box's.

Measured by finding 600 training faces again on a larger canvas: medians of the image side over the box side, and of
the distance of the centres. docs/training.md has the table.
"""
CENTRE_UP = 0.05

OVERSAMPLED = 2
"""A large face is sampled at this many times the resolution of the crop, or up to twice as many."""


def crop_face(bgr: npt.NDArray[np.uint8], face: Face, size_px: int = CROP_PX) -> npt.NDArray[np.uint8]:
    """The face, eyes level, as a grey image (size, size); beyond the frame's border its edge is repeated."""
    side = CROP_PER_BOX * max(face.box.width, face.box.height)
    points = face.landmarks
    angle = math.atan2(points.right_y - points.left_y, points.right_x - points.left_x)
    cos, sin = math.cos(angle), math.sin(angle)
    cx, cy = face.box.centre
    up = CENTRE_UP * side
    return sample_square(bgr, (cx + sin * up, cy - cos * up), side, angle, size_px)


def sample_square(
    bgr: npt.NDArray[np.uint8], centre: tuple[float, float], side: float, angle_rad: float, size_px: int
) -> npt.NDArray[np.uint8]:
    """A turned square of the image, resampled to (size, size) grey.

    A large one is halved by averages first, then sampled at twice or more the resolution and averaged down: plain
    bilinear aliases.
    """
    part, left, top, step = _grey_part(bgr, centre, side, angle_rad, size_px)
    x, y, side = (centre[0] - left) / step, (centre[1] - top) / step, side / step
    factor = max(1, math.ceil(side / size_px))
    grid = size_px * factor
    cos, sin = math.cos(angle_rad) * side / grid, math.sin(angle_rad) * side / grid
    half = (grid - 1) / 2
    matrix = np.array(
        [
            [cos, -sin, x - 0.5 - cos * half + sin * half],
            [sin, cos, y - 0.5 - sin * half - cos * half],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    grey = cv2.warpAffine(part, matrix, (grid, grid), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    if factor > 1:
        grey = cv2.resize(grey, (size_px, size_px), interpolation=cv2.INTER_AREA)
    return np.asarray(grey, np.uint8)


def _grey_part(
    bgr: npt.NDArray[np.uint8], centre: tuple[float, float], side: float, angle_rad: float, size_px: int
) -> tuple[npt.NDArray[np.uint8], int, int, int]:
    """The part of the frame under a turned square, in grey, as small as it may be; its left, top and pixels per pixel.

    One channel is resampled instead of three, and half the CPU is saved where the face is large.
    """
    reach = (abs(math.cos(angle_rad)) + abs(math.sin(angle_rad))) * side / 2 + 2
    left, right = _clipped(centre[0], reach, bgr.shape[1])
    top, bottom = _clipped(centre[1], reach, bgr.shape[0])
    part = cv2.cvtColor(bgr[top:bottom, left:right], cv2.COLOR_BGR2GRAY)
    step = 1
    while side >= 2 * OVERSAMPLED * size_px * step and min(part.shape) >= 2 * OVERSAMPLED:
        # An odd last row or column is left out: halving by not quite two is ten times slower.
        rows, columns = part.shape[0] // 2, part.shape[1] // 2
        part = cv2.resize(part[: 2 * rows, : 2 * columns], (columns, rows), interpolation=cv2.INTER_AREA)
        step *= 2
    return np.asarray(part, np.uint8), left, top, step


def _clipped(centre: float, reach: float, size: int) -> tuple[int, int]:
    """First and last + 1 of the pixels that lie within reach and in the frame; the nearest one where there is none."""
    first = min(max(0, math.floor(centre - reach)), size - 1)
    return first, max(first + 1, min(size, math.ceil(centre + reach)))


def normalise(crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Grey levels 0..255 -> -1..1, the scaling that every network of edge-fer is trained with."""
    return crops.astype(np.float32) / np.float32(127.5) - np.float32(1)

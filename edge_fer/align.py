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


def crop_face(bgr: npt.NDArray[np.uint8], face: Face, size_px: int = CROP_PX) -> npt.NDArray[np.uint8]:
    """The face, eyes level, as a grey image (size, size); beyond the frame's border its edge is repeated."""
    side = CROP_PER_BOX * max(face.box.width, face.box.height)
    dx, dy = face.eyes.right_x - face.eyes.left_x, face.eyes.right_y - face.eyes.left_y
    angle = math.atan2(dy, dx)
    cos, sin = math.cos(angle), math.sin(angle)
    cx, cy = face.box.centre
    up = CENTRE_UP * side
    return sample_square(bgr, (cx + sin * up, cy - cos * up), side, angle, size_px)


def sample_square(
    bgr: npt.NDArray[np.uint8], centre: tuple[float, float], side: float, angle_rad: float, size_px: int
) -> npt.NDArray[np.uint8]:
    """A turned square of the image, resampled to (size, size) grey.

    Sampled at twice or more the resolution where the face is large, then averaged down: plain bilinear aliases.
    """
    factor = max(1, math.ceil(side / size_px))
    grid = size_px * factor
    scale = side / grid
    cos, sin = math.cos(angle_rad) * scale, math.sin(angle_rad) * scale
    half = (grid - 1) / 2
    # Only the part of the frame under the square is turned to grey, and one channel is resampled instead of three.
    reach = (abs(cos) + abs(sin)) * grid / 2 + 2
    left, right = _clipped(centre[0], reach, bgr.shape[1])
    top, bottom = _clipped(centre[1], reach, bgr.shape[0])
    part = cv2.cvtColor(bgr[top:bottom, left:right], cv2.COLOR_BGR2GRAY)
    matrix = np.array(
        [
            [cos, -sin, centre[0] - left - 0.5 - cos * half + sin * half],
            [sin, cos, centre[1] - top - 0.5 - sin * half - cos * half],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    grey = cv2.warpAffine(part, matrix, (grid, grid), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    if factor > 1:
        grey = cv2.resize(grey, (size_px, size_px), interpolation=cv2.INTER_AREA)
    return np.asarray(grey, np.uint8)


def _clipped(centre: float, reach: float, size: int) -> tuple[int, int]:
    """First and last + 1 of the pixels that lie within reach and in the frame; the nearest one where there is none."""
    first = min(max(0, math.floor(centre - reach)), size - 1)
    return first, max(first + 1, min(size, math.ceil(centre + reach)))


def normalise(crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Grey levels 0..255 -> -1..1, the scaling that every network of edge-fer is trained with."""
    return crops.astype(np.float32) / np.float32(127.5) - np.float32(1)

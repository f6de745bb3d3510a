"""Whether a face can be read: size, sharpness, light and pose, and the reason where it cannot.

The limits are where the shipped int8 network, on validation faces that were made as bad as that, is right in about 8 of
10 (undisturbed: 0.86): docs/faces.md has the table. Nothing is estimated that the network does not mind: of faces
with little contrast, or tilted by 50 degrees and put upright, it reads as many rightly as of others.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from edge_fer.align import CENTRE_UP, CROP_PER_BOX
from edge_fer.frame import Box, Face, Landmarks
from edge_fer.readability import Quality, Refusal
from edge_fer.toml import Settings

NOSE_REACH = 1.66
"""Distance of the eyes over how far the tip of the nose lies before them: 63 mm / 38 mm, of an average adult."""

WHITE = 250
"""Grey level from which a pixel may be burnt out."""

_SECOND_DIFFERENCES = [
    np.array(kernel, np.float32)
    for kernel in (
        [[0, 0, 0], [1, -2, 1], [0, 0, 0]],
        [[0, 1, 0], [0, -2, 0], [0, 1, 0]],
        [[0.5, 0, 0], [0, -1, 0], [0, 0, 0.5]],
        [[0, 0, 0.5], [0, -1, 0], [0.5, 0, 0]],
    )
]


class QualitySettings(Settings):
    """`[quality]`: which faces are read. Those that are not count as present and read "uncertain"."""

    min_size_px: int = Field(default=16, ge=0, le=4320)
    """Longer side of the face's box in the frame."""

    max_cut_off: float = Field(default=0.2, ge=0, le=1)
    """Share of the face that may lie beyond the frame's border."""

    max_yaw_deg: float = Field(default=55, ge=0, le=180)
    """Turned to a side."""

    max_roll_deg: float = Field(default=60, ge=0, le=180)
    """Tilted; the face is put upright before it is read."""

    min_brightness: int = Field(default=20, ge=0, le=255)
    """Mean grey level of the face, 0 to 255."""

    max_brightness: int = Field(default=245, ge=0, le=255)
    """The same, at the other end."""

    max_burnt_out: float = Field(default=0.5, ge=0, le=1)
    """Share of the face that may be white without any detail."""

    min_sharpness: float = Field(default=0.005, ge=0, le=10)
    """0 is flat; sharp faces have 0.04 to 0.25. See `sharpness`."""

    @model_validator(mode="after")
    def _leaves_something(self) -> QualitySettings:
        if self.min_brightness >= self.max_brightness:
            raise ValueError(
                f"min_brightness {self.min_brightness} must be below max_brightness {self.max_brightness}: "
                "no face would be read"
            )
        return self


def assess(
    crop: npt.NDArray[np.uint8], face: Face, frame_width: int, frame_height: int, settings: QualitySettings
) -> Quality:
    """How well a face can be read, from its grey crop (48, 48) and its place in a frame of this size, px.

    The refusal is the first reason in the order of the settings.
    """
    size_px = max(face.box.width, face.box.height)
    cut = cut_off(face.box, frame_width, frame_height)
    yaw, roll = yaw_deg(face.landmarks), roll_deg(face.landmarks)
    brightness, sharp = float(cv2.mean(crop)[0]), sharpness(crop)
    burnt_out = cv2.countNonZero(cv2.compare(crop, WHITE, cv2.CMP_GE)) / crop.size
    reasons: tuple[tuple[bool, Refusal], ...] = (
        (size_px < settings.min_size_px, "too-small"),
        (cut > settings.max_cut_off, "cut-off"),
        (abs(yaw) > settings.max_yaw_deg, "turned"),
        (abs(roll) > settings.max_roll_deg, "tilted"),
        (brightness < settings.min_brightness, "too-dark"),
        (brightness > settings.max_brightness or burnt_out > settings.max_burnt_out, "too-bright"),
        (sharp < settings.min_sharpness, "blurred"),
    )
    return Quality(
        size_px=round(size_px),
        brightness=round(brightness),
        sharpness=round(sharp, 4),
        yaw_deg=round(yaw, 1),
        roll_deg=round(roll, 1),
        cut_off=round(cut, 3),
        burnt_out=round(burnt_out, 3),
        refusal=next((reason for is_so, reason in reasons if is_so), None),
    )


def roll_deg(points: Landmarks) -> float:
    """Angle of the line through the eyes; two detectors differ by 2 to 4 degrees (standard deviation)."""
    return math.degrees(math.atan2(points.right_y - points.left_y, points.right_x - points.left_x))


def yaw_deg(points: Landmarks) -> float:
    """From where the tip of the nose lies between the eyes.

    A head turned by the angle a shows its eyes at half their distance times +-cos(a), and the tip of its nose at its
    reach before them times sin(a): the offset of the nose over the distance of the eyes is tan(a) / NOSE_REACH. Noses
    differ by a quarter, and so does the tangent; the same from the ears agrees within 3 degrees (standard deviation).
    """
    across_x, across_y = points.right_x - points.left_x, points.right_y - points.left_y
    off_x = points.nose_x - (points.left_x + points.right_x) / 2
    off_y = points.nose_y - (points.left_y + points.right_y) / 2
    distance_2 = across_x**2 + across_y**2
    # Along the line of the eyes, so that the tilt does not count.
    offset = (off_x * across_x + off_y * across_y) / distance_2 if distance_2 else 0.0
    return math.degrees(math.atan(NOSE_REACH * offset))


def cut_off(box: Box, frame_width: int, frame_height: int) -> float:
    """Share of a face's crop, taken as upright, that lies beyond the frame's border, 0..1."""
    side = CROP_PER_BOX * max(box.width, box.height)
    if side <= 0:
        return 1.0
    x, y = box.centre
    y -= CENTRE_UP * side
    width = min(frame_width, x + side / 2) - max(0.0, x - side / 2)
    height = min(frame_height, y + side / 2) - max(0.0, y - side / 2)
    return max(0.0, 1 - max(0.0, width) * max(0.0, height) / side**2)


def sharpness(crop: npt.NDArray[np.uint8]) -> float:
    """Variance of the second difference over that of the grey levels, in the direction where it is least.

    The usual variance of the Laplacian (Pertuz et al. 2013), but free of contrast, and of one direction at a time: the
    Laplacian of a face that moves sideways still sees its horizontal edges.
    """
    grey = crop.astype(np.float32)
    contrast = _variance(grey)
    if contrast < 1:
        return 0.0
    return min(_variance(cv2.filter2D(grey, -1, kernel)[1:-1, 1:-1]) for kernel in _SECOND_DIFFERENCES) / contrast


def _variance(values: npt.NDArray[np.float32]) -> float:
    return float(cv2.meanStdDev(values)[1][0, 0]) ** 2

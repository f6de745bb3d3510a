"""A face drawn in code, of nobody: what the self-test looks at. No photograph, no data file."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from edge_fer.frame import Box

PICTURE_PX = 384
"""Side of the drawing, which is then scaled to the frame."""

UNIT_SHARE = 0.27
"""One unit of the drawing over the side of the picture; a face is 1.84 units high."""

CENTRE = (0.5, 0.47)
"""Origin of the units in the picture, (x, y): on the nose."""

FACE = (-0.68, -0.47, 1.36, 1.36)
"""Left, top, width and height in units of what a BlazeFace box holds: from the brows to the chin."""

_Point = tuple[float, float]
_Colour = tuple[int, int, int]  # blue, green, red

_WALL, _SHIRT, _HAIR = (168, 172, 176), (120, 92, 70), (32, 42, 58)
_SKIN, _SHADE, _LIGHT, _CHEEK = (150, 180, 222), (96, 122, 168), (190, 212, 240), (150, 176, 240)
_WHITE, _IRIS, _PUPIL, _LASHES = (226, 230, 234), (60, 80, 96), (12, 12, 14), (40, 44, 60)
_LIP, _TEETH, _MOUTH, _NOSTRIL = (92, 88, 170), (236, 240, 242), (38, 30, 60), (50, 62, 96)


def drawn_frame(width_px: int, height_px: int, *, share: float = 1.0) -> npt.NDArray[np.uint8]:
    """A head before a plain wall, smiling, in the middle of a BGR frame (height, width, 3).

    Head and shoulders fill `share` of the shorter side; the face is about 0.4 of that.
    """
    left, top, side = _place(width_px, height_px, share)
    way = cv2.INTER_AREA if side < PICTURE_PX else cv2.INTER_LINEAR
    head = cv2.resize(_head(), (side, side), interpolation=way)
    bottom, right = height_px - side - top, width_px - side - left
    return np.asarray(cv2.copyMakeBorder(head, top, bottom, left, right, cv2.BORDER_REPLICATE), np.uint8)


def drawn_face_box(width_px: int, height_px: int, *, share: float = 1.0) -> Box:
    """Where the face is in the frame that `drawn_frame` gives, as BlazeFace frames it."""
    left, top, side = _place(width_px, height_px, share)
    unit = UNIT_SHARE * side
    return Box(
        left + CENTRE[0] * side + FACE[0] * unit,
        top + CENTRE[1] * side + FACE[1] * unit,
        FACE[2] * unit,
        FACE[3] * unit,
    )


def _place(width_px: int, height_px: int, share: float) -> tuple[int, int, int]:
    """Left, top and side of the picture in the frame."""
    side = round(min(width_px, height_px) * share)
    return (width_px - side) // 2, (height_px - side) // 2, side


def _head() -> npt.NDArray[np.uint8]:
    pen = _Pen()
    pen.oval((0, 1.75), (1.35, 0.75), _SHIRT)
    pen.oval((0, -0.12), (0.84, 1.04), _HAIR)
    pen.shape([(-0.33, 0.55), (0.33, 0.55), (0.33, 1.25), (-0.33, 1.25)], _SHADE)  # neck
    for side in (-1, 1):
        pen.oval((side * 0.70, 0.10), (0.10, 0.20), _SHADE)  # ear
    pen.oval((0, 0.08), (0.70, 0.92), _SKIN)
    pen.oval((0, -0.86), (0.62, 0.32), _HAIR)
    pen.soften(0.05)
    pen.round_off((0, 0.08), (0.70, 0.92))
    for side in (-1, 1):
        _eye(pen, side * 0.29, -0.09)
    _nose(pen)
    _smile(pen)
    pen.soften(0.008)
    return pen.picture


def _eye(pen: _Pen, x: float, y: float) -> None:
    pen.tint((x, y - 0.02), (0.22, 0.15), _SHADE, 0.5)
    pen.oval((x, y), (0.125, 0.058), _WHITE)
    pen.oval((x, y - 0.005), (0.058, 0.058), _IRIS)
    pen.oval((x, y - 0.005), (0.028, 0.028), _PUPIL)
    pen.oval((x - 0.02, y - 0.025), (0.012, 0.012), (255, 255, 255))
    pen.arc((x, y + 0.01), (0.135, 0.075), (190, 350), _LASHES, 0.022)
    pen.arc((x, y), (0.125, 0.06), (15, 165), _SHADE, 0.01)
    pen.arc((x, y - 0.08), (0.20, 0.10), (205, 335), _HAIR, 0.045)  # brow


def _nose(pen: _Pen) -> None:
    pen.tint((0, 0.10), (0.06, 0.26), _LIGHT, 0.7)
    pen.tint((0, 0.32), (0.16, 0.05), _SHADE, 0.8)
    for side in (-1, 1):
        pen.tint((side * 0.10, 0.16), (0.05, 0.18), _SHADE, 0.45)
        pen.oval((side * 0.065, 0.295), (0.032, 0.018), _NOSTRIL)


def _smile(pen: _Pen) -> None:
    """Raised cheeks, folds from the nose, corners of the mouth up, teeth."""
    for side, fold in ((-1, (185, 255)), (1, (285, 355))):
        pen.tint((side * 0.40, 0.24), (0.16, 0.12), _CHEEK, 0.8)
        pen.arc((side * 0.16, 0.42), (0.24, 0.26), fold, _SHADE, 0.02)
    turn = np.linspace(0, np.pi, 40)
    upper, lower = (np.stack([0.31 * np.cos(turn), 0.46 + dip * np.sin(turn)], axis=1) for dip in (0.06, 0.20))
    edge, tips = (np.stack([0.26 * np.cos(turn), 0.475 + dip * np.sin(turn)], axis=1) for dip in (0.055, 0.12))
    pen.shape(np.concatenate([lower, upper[::-1]]), _MOUTH)
    pen.shape(np.concatenate([tips, edge[::-1]]), _TEETH)
    pen.line(lower, _LIP, 0.045)
    pen.line(upper, _LIP, 0.03)
    pen.tint((0, 0.76), (0.2, 0.05), _SHADE, 0.6)


class _Pen:
    """Draws on a square picture in units of the face, x to the right and y down."""

    def __init__(self) -> None:
        self.picture = np.full((PICTURE_PX, PICTURE_PX, 3), _WALL, np.uint8)

    def oval(self, centre: _Point, radii: _Point, colour: _Colour) -> None:
        cv2.ellipse(self.picture, self._at(centre), self._lengths(radii), 0, 0, 360, colour, -1, cv2.LINE_AA)

    def arc(self, centre: _Point, radii: _Point, degrees: tuple[int, int], colour: _Colour, width: float) -> None:
        thick = self._length(width)
        cv2.ellipse(self.picture, self._at(centre), self._lengths(radii), 0, *degrees, colour, thick, cv2.LINE_AA)

    def shape(self, points: Sequence[_Point] | npt.NDArray[np.float64], colour: _Colour) -> None:
        cv2.fillPoly(self.picture, [self._all_at(points)], colour, cv2.LINE_AA)

    def line(self, points: npt.NDArray[np.float64], colour: _Colour, width: float) -> None:
        cv2.polylines(self.picture, [self._all_at(points)], False, colour, self._length(width), cv2.LINE_AA)  # noqa: FBT003

    def tint(self, centre: _Point, radii: _Point, colour: _Colour, strength: float) -> None:
        """Mix in a colour, less with the distance."""
        weight = (strength * np.exp(-self._distance(centre, radii)))[..., None]
        self._paint(self.picture * (1 - weight) + np.array(colour, np.float32) * weight)

    def round_off(self, centre: _Point, radii: _Point) -> None:
        """Darken an oval towards its border, as light from the front does."""
        inside = self._distance(centre, radii)
        self._paint(self.picture * np.where(inside < 1, 1 - 0.35 * inside**1.5, 1)[..., None])

    def soften(self, radius: float) -> None:
        self._paint(cv2.GaussianBlur(self.picture, (0, 0), radius * UNIT_SHARE * PICTURE_PX))

    def _paint(self, picture: npt.NDArray[np.generic]) -> None:
        self.picture[:] = picture.astype(np.uint8)

    def _distance(self, centre: _Point, radii: _Point) -> npt.NDArray[np.float32]:
        """Squared distance of each pixel from an oval's centre, 1 on its border."""
        (x, y), (width, height) = self._at(centre), self._lengths(radii)
        rows, columns = np.ogrid[:PICTURE_PX, :PICTURE_PX]
        return np.asarray(((columns - x) / width) ** 2 + ((rows - y) / height) ** 2, np.float32)

    def _at(self, point: _Point) -> tuple[int, int]:
        x, y = ((share + place * UNIT_SHARE) * PICTURE_PX for share, place in zip(CENTRE, point, strict=True))
        return round(x), round(y)

    def _all_at(self, points: Sequence[_Point] | npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
        return np.array([self._at((float(x), float(y))) for x, y in points], np.int32)

    def _lengths(self, radii: _Point) -> tuple[int, int]:
        return self._length(radii[0]), self._length(radii[1])

    @staticmethod
    def _length(length: float) -> int:
        return max(1, round(length * UNIT_SHARE * PICTURE_PX))

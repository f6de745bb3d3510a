from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from drawn_faces import landmarks

from edge_fer.align import CENTRE_UP, CROP_PER_BOX, crop_face, normalise, sample_square
from edge_fer.frame import Box, Face


def gradient(width: int = 300, height: int = 200) -> npt.NDArray[np.uint8]:
    """Grey level is a function of the place: x/2 in the left 300 px."""
    x = np.arange(width) / 2
    return np.repeat(np.repeat(x[None, :, None], height, axis=0), 3, axis=2).astype(np.uint8)


def test_the_centre_of_the_square_is_the_centre_of_the_crop() -> None:
    crop = sample_square(gradient(), (150, 100), 96, 0, 48)
    assert crop.shape == (48, 48)
    # Columns run from x = 150 - 48 to 150 + 48, two pixels each: the mean of x/2 over the middle two is 75.
    # One grey level: rounding of the source.
    assert crop[24, 23:25].mean() == pytest.approx(75, abs=1)
    assert crop[0, 0] == pytest.approx((150 - 48 + 0.5) / 2, abs=1)


def test_shrinking_averages_instead_of_aliasing() -> None:
    stripes = np.zeros((480, 480, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = sample_square(stripes, (240, 240), 480, 0, 48)
    # Ten columns of 0 and 255 in turn average to 127.5; bilinear sampling alone would give 0 or 255 in places.
    assert np.abs(crop[4:-4, 4:-4].astype(int) - 127).max() <= 1


def test_a_turned_head_is_put_upright() -> None:
    upright = np.full((200, 200, 3), 50, np.uint8)
    upright[80:90, 70:80] = upright[80:90, 120:130] = 250
    angle = math.radians(20)
    face = face_with_eyes(75, 85, 125, 85)
    centre = np.array([100.0, 100.0])
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    left, right = (turn @ (np.array(eye) - centre) + centre for eye in ((75, 85), (125, 85)))
    tilted = rotate(upright, angle)
    want = crop_face(upright, face).astype(int)
    found = crop_face(tilted, face_with_eyes(*left, *right)).astype(int)
    # Two resamplings soften the edges of the eyes; their places must agree.
    assert np.unravel_index(want.argmax(), want.shape)[0] == pytest.approx(
        np.unravel_index(found.argmax(), found.shape)[0], abs=2
    )
    assert np.abs(want - found).mean() < 4


def rotate(image: npt.NDArray[np.uint8], angle_rad: float) -> npt.NDArray[np.uint8]:
    import cv2

    matrix = cv2.getRotationMatrix2D((99.5, 99.5), -math.degrees(angle_rad), 1)
    return np.asarray(cv2.warpAffine(image, matrix, (200, 200), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def face_with_eyes(left_x: float, left_y: float, right_x: float, right_y: float) -> Face:
    return Face(Box(50, 50, 100, 100), landmarks(left_x, left_y, right_x, right_y), 0.9)


def test_a_face_at_the_border_is_filled_with_the_edge_and_not_with_black() -> None:
    white = np.full((100, 100, 3), 255, np.uint8)
    crop = crop_face(white, Face(Box(-40, -40, 80, 80), landmarks(-10, -10, 10, -10), 0.9))
    assert crop.min() == 255


def test_the_crop_is_framed_as_pinned() -> None:
    image = np.zeros((400, 400, 3), np.uint8)
    side = CROP_PER_BOX * 100
    top = 200 - side / 2 - CENTRE_UP * side
    image[round(top) :, :] = 200
    crop = crop_face(image, Face(Box(150, 150, 100, 100), landmarks(180, 190, 220, 190), 0.9))
    # The frame turns bright exactly at the crop's upper edge; half a row may mix.
    assert crop[1:].min() >= 195


def test_normalise_maps_black_and_white_to_minus_one_and_one() -> None:
    assert normalise(np.array([0, 255], np.uint8)).tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("side", [96, 191, 193, 400, 1501])
@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_a_face_looks_the_same_at_every_size(side: int, angle: float) -> None:
    def scene(scale: float) -> npt.NDArray[np.uint8]:
        y, x = np.mgrid[: round(60 * scale), : round(60 * scale)] / scale
        grey = 128 + 60 * np.sin(x / 4) + 50 * np.cos(y / 5)
        return np.repeat(grey[:, :, None], 3, axis=2).astype(np.uint8)

    scale = side / 40
    found = sample_square(scene(scale), (30 * scale, 30 * scale), side, angle, 48).astype(int)
    want = sample_square(scene(4), (120, 120), 160, angle, 48).astype(int)
    # Of 110 levels: waves of 25 px in the crop lose a little by each average.
    assert np.abs(found - want).mean() < 1.5
    assert np.abs(found - want).max() <= 8


def test_a_narrow_picture_can_hold_a_large_face() -> None:
    assert sample_square(np.full((2000, 3, 3), 9, np.uint8), (1, 900), 1900, 0.3, 48).tolist() == [[9] * 48] * 48

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from clip_frames import clip_frames
from drawn_faces import face_at, landmarks
from pydantic import ValidationError

from edge_fer.align import crop_face
from edge_fer.frame import Box, Face, Landmarks
from edge_fer.quality import NOSE_REACH, QualitySettings, assess, cut_off, roll_deg, sharpness, yaw_deg
from edge_fer.tracking.follow import FaceFollower
from edge_fer.tracking.search import FaceSearch

SETTINGS = QualitySettings()
FACE = face_at(200, 150, 80)


def textured(seed: int = 0) -> npt.NDArray[np.uint8]:
    """A crop with detail of the size that sharp faces have."""
    noise = np.random.default_rng(seed).normal(0, 1, (48, 48))
    smooth = cv2.GaussianBlur(noise, (0, 0), 0.8) * 2 + cv2.GaussianBlur(noise, (0, 0), 5) * 20
    return np.asarray(np.clip(smooth / smooth.std() * 50 + 128, 0, 255), np.uint8)


def seen_at(yaw: float, roll: float = 0.0) -> Landmarks:
    """The points of a head in 3D (mm; x right, y down, z to the viewer), turned, tilted and projected."""
    points = [(-31.5, 0, 0), (31.5, 0, 0), (0, 32, 38), (0, 68, 15), (-70, 15, -85), (70, 15, -85)]
    a, b = math.radians(yaw), math.radians(roll)
    flat = []
    for x, y, z in points:
        turned = x * math.cos(a) + z * math.sin(a)
        flat += [turned * math.cos(b) - y * math.sin(b), turned * math.sin(b) + y * math.cos(b)]
    return Landmarks(*flat)


@pytest.mark.parametrize("yaw", [-60, -30, 0, 10, 45])
@pytest.mark.parametrize("roll", [-50, 0, 20])
def test_yaw_and_roll_of_a_turned_head_are_found_again(yaw: float, roll: float) -> None:
    points = seen_at(yaw, roll)
    # NOSE_REACH is the head's 63 / 38 with three digits.
    assert yaw_deg(points) == pytest.approx(yaw, abs=0.1)
    assert roll_deg(points) == pytest.approx(roll, abs=1e-6)
    assert pytest.approx(63 / 38, abs=0.005) == NOSE_REACH


def test_eyes_in_one_place_are_no_division_by_zero() -> None:
    assert yaw_deg(Landmarks(*[5.0] * 12)) == 0


def test_a_good_face_is_not_refused_and_its_figures_are_those_of_the_crop() -> None:
    crop = textured()
    quality = assess(crop, FACE, 640, 480, SETTINGS)
    assert quality.refusal is None
    assert (quality.size_px, quality.brightness) == (80, round(float(crop.mean())))
    assert (quality.yaw_deg, quality.roll_deg, quality.cut_off, quality.burnt_out) == pytest.approx(
        (0, 0, 0, 0), abs=0.01
    )
    assert quality.sharpness == pytest.approx(sharpness(crop), abs=1e-4)


def turned(degrees: float) -> Face:
    return replace(FACE, landmarks=seen_at(degrees))


def tilted(degrees: float) -> Face:
    return replace(FACE, landmarks=seen_at(0, degrees))


@pytest.mark.parametrize(
    ("crop", "face", "reason"),
    [
        (textured(), face_at(200, 150, 15), "too-small"),
        (textured(), face_at(600, 150, 80), "cut-off"),
        (textured(), turned(58), "turned"),
        (textured(), turned(-58), "turned"),
        (textured(), tilted(65), "tilted"),
        (textured() // 10, FACE, "too-dark"),
        (np.maximum(textured(), 251), FACE, "too-bright"),
        (cv2.GaussianBlur(textured(), (0, 0), 3), FACE, "blurred"),
        (np.full((48, 48), 128, np.uint8), FACE, "blurred"),
    ],
)
def test_each_reason_alone(crop: npt.NDArray[np.uint8], face: Face, reason: str) -> None:
    assert assess(crop, face, 640, 480, SETTINGS).refusal == reason


def test_of_several_reasons_the_first_in_a_fixed_order_is_told() -> None:
    black = np.zeros((48, 48), np.uint8)
    small_outside = face_at(630, 470, 12)
    loose = [
        {},
        {"min_size_px": 0},
        {"max_cut_off": 1.0},
        {"min_brightness": 0},
    ]
    told, changes = [], {}
    for change in loose:
        changes |= change
        told.append(assess(black, small_outside, 640, 480, QualitySettings(**changes)).refusal)
    assert told == ["too-small", "cut-off", "too-dark", "blurred"]


def test_limits_are_inside_and_no_limit_refuses_nothing() -> None:
    crop = textured()
    exactly = QualitySettings(min_size_px=80, min_brightness=round(float(crop.mean())) - 1)
    assert assess(crop, FACE, 640, 480, exactly).refusal is None
    none = QualitySettings(
        min_size_px=0,
        max_cut_off=1,
        max_yaw_deg=180,
        max_roll_deg=180,
        min_brightness=0,
        max_brightness=255,
        max_burnt_out=1,
        min_sharpness=0,
    )
    assert assess(np.full((48, 48), 255, np.uint8), face_at(2000, 0, 4), 640, 480, none).refusal is None


def test_the_share_beyond_the_border() -> None:
    # A box of 100 px has a crop of 118 px around a centre 5.9 px higher.
    assert cut_off(Box(200, 200, 100, 100), 640, 480) == 0
    assert cut_off(Box(-50, 200, 100, 100), 640, 480) == pytest.approx(0.5)
    assert cut_off(Box(200, 430 + 5.9, 100, 100), 640, 480) == pytest.approx(0.5)
    assert cut_off(Box(900, 200, 100, 100), 640, 480) == 1
    assert cut_off(Box(900, 200, 0, 0), 640, 480) == 1


def test_contrast_and_light_do_not_make_a_face_sharper() -> None:
    crop = textured()
    faint = (crop.astype(np.float32) * 0.3 + 90).astype(np.uint8)
    # Rounding to whole grey levels adds noise of 1/12 of a level squared.
    assert sharpness(faint) == pytest.approx(sharpness(crop), rel=0.1)


@pytest.mark.parametrize("angle", [0, 45, 90, 135])
def test_motion_in_any_direction_takes_sharpness_away(angle: float) -> None:
    line = np.zeros((9, 9), np.float32)
    line[4] = 1
    line = cv2.warpAffine(line, cv2.getRotationMatrix2D((4, 4), angle, 1), (9, 9))
    smeared = cv2.filter2D(textured(), -1, line / line.sum())
    assert sharpness(np.asarray(smeared, np.uint8)) < sharpness(textured()) / 5


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"min_brightness": 200, "max_brightness": 100}, "min_brightness 200 must be below max_brightness 100"),
        ({"max_yaw_deg": 200}, "less than or equal to 180"),
        ({"min_size": 20}, "Extra inputs"),
    ],
)
def test_settings_that_make_no_sense(table: dict[str, int], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        QualitySettings(**table)


@pytest.mark.parametrize("clip", ["single_face.mp4", "head-pose-face-detection-female-and-male.gif"])
def test_faces_of_real_clips_are_read(media: Path, clip: str) -> None:
    follower = FaceFollower(FaceSearch())
    refusals = []
    for frame in clip_frames(media / clip):
        for seen in follower.follow(frame).found:
            crop = crop_face(frame.bgr, seen.face)
            refusals.append(assess(crop, seen.face, frame.width_px, frame.height_px, SETTINGS).refusal)
    assert len(refusals) > 60
    assert set(refusals) == {None}


def test_the_drawn_landmarks_are_frontal() -> None:
    assert yaw_deg(landmarks(10, 10, 30, 10)) == pytest.approx(0)
    assert roll_deg(landmarks(10, 10, 30, 30)) == pytest.approx(45)

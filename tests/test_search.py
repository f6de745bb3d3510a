from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from clip_frames import clip_frames
from pydantic import ValidationError

from edge_fer.detect import BLAZEFACE
from edge_fer.errors import ModelError
from edge_fer.frame import Box
from edge_fer.tracking.search import MAX_TILES, READABLE_PX, DetectorSettings, FaceSearch, plan_search


def px(image: object) -> npt.NDArray[np.uint8]:
    return np.asarray(image, np.uint8)


@pytest.mark.parametrize(
    ("wish", "model", "views"),
    [
        ({}, "full", 1),
        ({"min_face_px": 100}, "short", 1),
        ({"min_face_px": 96}, "short", 1),  # 15 % of 640
        ({"min_face_px": 50}, "full", 1),
        ({"min_face_px": 34}, "back", 1),
        ({"min_face_px": 24}, "full", 5),  # some tiles
        ({"max_distance_m": 0.5}, "short", 1),
        ({"max_distance_m": 1.5}, "full", 1),
    ],
)
def test_auto_takes_the_cheapest_search_that_finds_what_is_wanted(
    wish: dict[str, float], model: str, views: int
) -> None:
    plan = plan_search(DetectorSettings(**wish), 640, 360)
    assert plan.model == model
    if views == 1:
        assert plan.views == (Box(0, 0, 640, 360),)
    else:
        assert len(plan.views) > 1
    wanted = DetectorSettings(**wish).wanted_px(640)
    assert wanted is None or plan.smallest_px <= wanted


def test_a_distance_is_a_size_at_a_field_of_view() -> None:
    # At 62 degrees a picture is 2 * 3 m * tan(31 deg) = 3.605 m wide in 3 m: 0.15 m of it are 4.16 % of 1280 px.
    settings = DetectorSettings(max_distance_m=3)
    assert settings.wanted_px(1280) == pytest.approx(53.3, abs=0.1)
    assert DetectorSettings(max_distance_m=3, field_of_view_deg=100).wanted_px(1280) == pytest.approx(26.9, abs=0.1)


def test_the_same_wish_takes_another_search_in_another_size() -> None:
    settings = DetectorSettings(min_face_px=40)
    models = [plan_search(settings, *size).model for size in ((240, 180), (480, 270), (800, 450))]
    assert models == ["short", "full", "back"]


@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (1920, 1080), (720, 1280), (3840, 2160), (1920, 200)])
@pytest.mark.parametrize("wanted", [16, 20, 30, 45])
def test_in_tiles_every_face_is_whole_in_a_view_that_finds_it(size: tuple[int, int], wanted: int) -> None:
    width, height = size
    plan = plan_search(DetectorSettings(min_face_px=wanted), width, height)
    assert len(plan.views) <= MAX_TILES
    rng = np.random.default_rng(0)
    share = BLAZEFACE[plan.model].smallest_face
    for _ in range(300):
        side = plan.smallest_px * float(rng.uniform(1, 6))
        if side > min(size):
            continue
        left, top = rng.uniform(0, width - side), rng.uniform(0, height - side)
        assert any(
            view.left <= left
            and view.top <= top
            and left + side <= view.left + view.width
            and top + side <= view.top + view.height
            and side >= share * max(view.width, view.height) * 0.999
            for view in plan.views
        ), (side, left, top)


def test_a_wish_beyond_reach_gets_the_best_there_is_and_the_log_line_says_so() -> None:
    plan = plan_search(DetectorSettings(max_distance_m=100), 1920, 1080)
    assert plan.wanted_px is not None
    assert plan.wanted_px < READABLE_PX <= plan.smallest_px
    assert f"finds faces of {plan.smallest_px:.0f} px, {plan.wanted_px:.0f} px wanted" in str(plan)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"min_face_px": 40, "max_distance_m": 3.0}, "both say how small a face may be; give one of them"),
        ({"model": "short", "min_face_px": 40}, 'model = "short" leaves min_face_px no choice'),
        ({"model": "full", "max_distance_m": 3.0}, 'model = "full" leaves max_distance_m no choice'),
        ({"min_face_px": READABLE_PX - 1}, "greater than or equal to 16"),
        ({"max_distance_m": 0.0}, "greater than or equal to 0.2"),
        ({"max_distance_m": -1.0}, "greater than or equal to 0.2"),
        ({"max_distance_m": float("nan")}, "max_distance_m"),
        ({"field_of_view_deg": 180.0}, "less than or equal to 170"),
        ({"model": "huge"}, "'auto'"),
    ],
)
def test_wishes_that_make_no_sense(table: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DetectorSettings(**table)  # type: ignore[arg-type]


def test_only_what_may_be_needed_is_loaded_and_missing_files_are_named_at_the_start(tmp_path: Path) -> None:
    assert list(FaceSearch().detectors) == ["full", "short"]
    assert list(FaceSearch(DetectorSettings(model="short")).detectors) == ["short"]
    assert list(FaceSearch(DetectorSettings(min_face_px=30)).detectors) == ["short", "full", "back"]
    with pytest.raises(ModelError, match="make models"):
        FaceSearch(models=tmp_path)


def five_people(media: Path, width: int, height: int, face_px: float, left: float, top: float) -> npt.NDArray[np.uint8]:
    """The photo of five people, whose faces are 106 px wide, made small on a plain picture; 0..1 places it there."""
    photo = px(cv2.imread(str(media / "multi_face.jpg")))
    scale = face_px / 106
    small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    canvas = np.full((height, width, 3), 90, np.uint8)
    x, y = round(left * (width - small.shape[1])), round(top * (height - small.shape[0]))
    canvas[y : y + small.shape[0], x : x + small.shape[1]] = small
    return canvas


@pytest.mark.parametrize(
    ("width", "height", "face_px", "model", "views"),
    [
        (640, 480, 64, "full", "one"),
        (1920, 1080, 140, "back", "one"),
        (1920, 1080, 80, "full", "tiles"),
        (1920, 1080, 48, "full", "tiles"),
        (1280, 720, 34, "full", "tiles"),
    ],
)
@pytest.mark.parametrize(("left", "top"), [(0.02, 0.03), (0.67, 0.41)])
def test_five_people_are_found_at_the_size_that_was_wanted(
    media: Path, width: int, height: int, face_px: int, model: str, views: str, left: float, top: float
) -> None:
    bgr = five_people(media, width, height, face_px, left, top)
    # The smallest of the five is four fifths of the others, and nine in ten is not all: wish for a little less.
    search = FaceSearch(DetectorSettings(min_face_px=round(face_px * 0.72)))
    plan = search.plan(width, height)
    assert (plan.model, "tiles" if len(plan.views) > 1 else "one") == (model, views)
    faces = search.whole(bgr, plan)
    assert len(faces) == 5
    assert all(0.6 * face_px < face.box.width < 1.4 * face_px for face in faces)


def test_smaller_faces_than_wanted_are_not_found_without_tiles(media: Path) -> None:
    search = FaceSearch()
    bgr = five_people(media, 1920, 1080, 44, 0.02, 0.03)
    assert search.whole(bgr, search.plan(1920, 1080)) == []


def test_a_large_face_across_the_borders_of_tiles_is_one_face_and_whole(sample_clip: Path) -> None:
    bgr = next(iter(clip_frames(sample_clip))).bgr
    plain, tiled = FaceSearch(), FaceSearch(DetectorSettings(min_face_px=16))
    assert len(tiled.plan(640, 360).views) > 4
    (whole,) = plain.whole(bgr, plain.plan(640, 360))
    (merged,) = tiled.whole(bgr, tiled.plan(640, 360))
    assert merged.box.iou(whole.box) > 0.8


def test_a_region_gives_the_same_box_as_the_whole_frame(sample_clip: Path) -> None:
    search = FaceSearch()
    plan = search.plan(640, 360)
    ratios, moved = [], []
    for frame in clip_frames(sample_clip):
        if frame.seq % 20:
            continue
        for face in search.whole(frame.bgr, plan):
            # Expected a tenth beside where it is, as after a few frames of motion.
            (near,) = search.near(frame.bgr, face.box.moved(0.1 * face.box.width, -0.1 * face.box.width))
            ratios.append(near.box.width / face.box.width)
            (x0, y0), (x1, y1) = face.box.centre, near.box.centre
            moved.append(((x1 - x0) / face.box.width, (y1 - y0) / face.box.width))
    assert len(ratios) >= 15
    # Training varies the crop by far more: sides by 10 %, places by 6 %.
    assert np.median(ratios) == pytest.approx(1, abs=0.06)
    assert np.abs(np.median(moved, axis=0)).max() < 0.03


def test_a_region_beyond_the_picture_holds_nobody() -> None:
    bgr = np.full((360, 640, 3), 127, np.uint8)
    assert FaceSearch().near(bgr, Box(900, 100, 80, 80)) == []
    assert FaceSearch().near(bgr, Box(630, 350, 80, 80)) == []

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_fer.capture.open import open_source
from edge_fer.capture.uri import parse_camera_uri
from edge_fer.detect import BLAZEFACE, FaceDetector, _anchors, _blend
from edge_fer.errors import ModelError


@pytest.mark.parametrize(("name", "size_px", "count"), [("short", 128, 896), ("full", 192, 2304), ("back", 256, 896)])
def test_anchors_are_as_many_as_the_model_has_outputs_and_centred_in_their_cells(
    name: str, size_px: int, count: int
) -> None:
    grids = BLAZEFACE[name].grids  # type: ignore[index]
    anchors = _anchors(size_px, grids)
    assert anchors.shape == (count, 2)
    stride, per_cell = grids[0]
    assert anchors[0].tolist() == [stride / 2, stride / 2]
    assert anchors[per_cell].tolist() == [stride * 1.5, stride / 2]  # x runs first


def test_boxes_of_one_face_are_averaged_by_score_and_another_face_is_kept() -> None:
    raw = np.zeros((3, 16))
    raw[:, :4] = [[100, 100, 40, 40], [104, 100, 40, 40], [300, 100, 40, 40]]
    first, second = _blend(raw, np.array([0.9, 0.3, 0.6]))
    # (0.9 * 100 + 0.3 * 104) / 1.2 = 101
    assert first.box.centre == pytest.approx((101, 100))
    assert first.score == pytest.approx(0.9)
    assert second.box.centre == pytest.approx((300, 100))


@pytest.mark.parametrize("name", ["short", "full", "back"])
def test_every_detector_finds_the_one_face_of_the_sample_clip_with_its_eyes_inside(
    name: str, sample_clip: Path
) -> None:
    detector = FaceDetector(name)  # type: ignore[arg-type]
    source = open_source(parse_camera_uri(str(sample_clip)))
    found = [detector.detect(picture.bgr) for number, picture in enumerate(source.pictures()) if number % 60 == 0]
    source.close()
    assert [len(faces) for faces in found] == [1] * len(found)
    for (face,) in found:
        box, eyes = face.box, face.landmarks
        assert box.left < eyes.left_x < eyes.right_x < box.left + box.width
        assert box.top < eyes.left_y < box.top + box.height / 2
        assert 100 < box.width < 300  # she fills about a third of the 640 px


def test_the_place_of_a_face_does_not_depend_on_the_shape_of_the_picture(sample_clip: Path) -> None:
    detector = FaceDetector("back")
    bgr = next(iter(open_source(parse_camera_uri(str(sample_clip))).pictures())).bgr
    tall = cv2.copyMakeBorder(bgr, 0, 280, 0, 0, cv2.BORDER_CONSTANT)  # 640x640 with the same face at the same place
    (wide_face,), (tall_face,) = detector.detect(bgr), detector.detect(tall)
    # The letterbox shifts by whole input pixels, 2.5 px of the frame each.
    assert tall_face.box.centre == pytest.approx(wide_face.box.centre, abs=5)


@pytest.mark.parametrize("shape", [(48, 48), (1, 500), (2000, 60)])
def test_no_face_in_an_empty_picture_of_any_shape(shape: tuple[int, int]) -> None:
    assert FaceDetector("short").detect(np.full((*shape, 3), 127, np.uint8)) == []


def test_five_people_are_five_faces(media: Path) -> None:
    picture = cv2.imread(str(media / "multi_face.jpg"))
    assert picture is not None
    assert len(FaceDetector("full").detect(np.asarray(picture, np.uint8))) == 5


def test_nobody_is_found_where_nobody_is(media: Path) -> None:
    detector = FaceDetector("full")
    source = open_source(parse_camera_uri(str(media / "no_face.mp4")))
    found = [len(detector.detect(picture.bgr)) for number, picture in enumerate(source.pictures()) if number % 10 == 0]
    source.close()
    assert sum(found) == 0


def test_a_missing_or_damaged_detector_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"face_detection_back\.tflite.*make models"):
        FaceDetector("back", models=tmp_path)
    (tmp_path / "face_detection_back.tflite").write_bytes(b"TFL3" * 10)
    with pytest.raises(ModelError, match=r"face_detection_back\.tflite: sha256 is .*install it again"):
        FaceDetector("back", models=tmp_path)

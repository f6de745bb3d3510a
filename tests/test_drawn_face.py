from __future__ import annotations

import functools

import numpy as np
import pytest

from edge_fer.align import crop_face
from edge_fer.classify import ExpressionReader, model_path
from edge_fer.detect import BLAZEFACE, FaceDetector
from edge_fer.health.drawn_face import drawn_face_box, drawn_frame
from edge_fer.health.selftest import FRAME_PX, LEAST_OVERLAP
from edge_fer.labels import EXPRESSIONS
from edge_fer.tflite import installed_runtimes

PRECISIONS = {"litert": ("float32", "int8"), "tflite-runtime": ("float32",)}
SIZES_PX = [FRAME_PX, (640, 480), (640, 360), (1280, 720), (480, 640), (96, 96)]

# tflite-runtime leaves int8 to slow kernels, and is refused.
READABLE = [(precision, runtime) for runtime in installed_runtimes() for precision in PRECISIONS[runtime]]

drawn = functools.cache(drawn_frame)


@pytest.mark.parametrize("size_px", [*SIZES_PX, (97, 61), (2000, 48)])
def test_the_frame_has_the_size_that_was_asked_for_and_the_face_lies_within(size_px: tuple[int, int]) -> None:
    frame, box = drawn_frame(*size_px), drawn_face_box(*size_px)
    assert frame.shape == (size_px[1], size_px[0], 3)
    assert frame.dtype == np.uint8
    assert box.left >= 0 < box.top
    assert box.left + box.width < size_px[0]
    assert box.top + box.height < size_px[1]


def test_the_same_frame_is_drawn_each_time() -> None:
    assert np.array_equal(drawn_frame(*FRAME_PX), drawn_frame(*FRAME_PX))


@pytest.mark.parametrize("runtime", installed_runtimes())
@pytest.mark.parametrize("name", list(BLAZEFACE))
def test_every_detector_finds_one_face_where_it_was_drawn(name: str, runtime: str) -> None:
    detector = FaceDetector(name, runtime=runtime)  # type: ignore[arg-type]
    for size_px in SIZES_PX:
        for share in (1.0, 0.7, 0.5):
            if min(size_px) * share < 96:
                continue
            (face,) = detector.detect(drawn(*size_px, share=share))
            assert face.box.iou(drawn_face_box(*size_px, share=share)) >= LEAST_OVERLAP, size_px


@pytest.mark.parametrize(("precision", "runtime"), READABLE)
@pytest.mark.parametrize("network", ["nano_a", "nano_b"])
def test_every_network_reads_the_smile_above_its_threshold(network: str, precision: str, runtime: str) -> None:
    reader = ExpressionReader(model_path(network, precision), runtime=runtime)  # type: ignore[arg-type]
    for name in BLAZEFACE:
        detector = FaceDetector(name, runtime=runtime)  # type: ignore[arg-type]
        for size_px in SIZES_PX:
            frame = drawn(*size_px)
            probabilities = reader.read(crop_face(frame, detector.detect(frame)[0]))
            assert EXPRESSIONS[int(probabilities.argmax())] == "happiness"
            assert probabilities.max() > reader.point.min_confidence, (name, size_px)

"""Frame -> faces, by MediaPipe's BlazeFace on TFLite.

Sources: Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs", 2019; anchors and
decoding as in MediaPipe's ssd_anchors_calculator and tensors_to_detections_calculator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from edge_fer.card import MODELS, check_sha256
from edge_fer.errors import ModelError
from edge_fer.frame import Box, Face, Landmarks
from edge_fer.tflite import Graph, RuntimeChoice

DetectorName = Literal["short", "full", "back"]

SCORE_CLIP = 100.0
"""Logits beyond this overflow exp() in float32."""

LANDMARKS = slice(4, 16)
"""Of the 16 numbers of a box: centre, size, then six points in the order of `Landmarks`."""

SAME_FACE_IOU, SAME_FACE_INSIDE = 0.3, 0.6
"""Two boxes that share this much are of one face; the second is for a part of a face in the box of the whole."""


@dataclass(frozen=True, slots=True)
class BlazeFaceModel:
    """What differs between the three files."""

    file: str
    sha256: str
    grids: tuple[tuple[int, int], ...]  # (stride in px, anchors per cell), in the order of the output
    boxes: str  # name of the output with 16 numbers per anchor
    scores: str  # name of the output with one logit per anchor
    smallest_face: float  # share of the image's longer side of which it finds nine faces in ten
    cost: float  # CPU of one image, that of "short" being 1; measured, pictures of 640x360
    box_scale: float = 1.0  # makes its boxes as large as those of "full", which the crops are framed by
    box_up: float = 0.0  # and moves them up to the same place, in box sides


BLAZEFACE: dict[DetectorName, BlazeFaceModel] = {
    "short": BlazeFaceModel(
        "face_detection_short_range.tflite",
        "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633",
        ((8, 2), (16, 6)),
        "regressors",
        "classificators",
        0.15,
        1.0,
        1.05,
        0.05,
    ),
    "full": BlazeFaceModel(
        "face_detection_full_range.tflite",
        "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3",
        ((4, 1),),
        "reshaped_regressor_face_4",
        "reshaped_classifier_face_4",
        0.07,
        2.5,
    ),
    "back": BlazeFaceModel(
        "face_detection_back.tflite",
        "e376cf6b168d5ece8a3cedb94acc4eb168a136aede125ccc3d903ef38f5beda8",
        ((16, 2), (32, 6)),
        "regressors",
        "classificators",
        0.05,
        6.3,
        1.05,
        0.05,
    ),
}


class FaceDetector:
    """Finds faces in BGR images of any size."""

    def __init__(
        self,
        name: DetectorName = "full",
        *,
        min_score: float = 0.6,
        runtime: RuntimeChoice = "auto",
        threads: int = 1,
        models: Path = MODELS,
    ) -> None:
        """ModelError where the detector's file is missing or damaged."""
        self.model = BLAZEFACE[name]
        path = models / self.model.file
        try:
            content = path.read_bytes()
        except OSError as err:
            raise ModelError(f"{path}: cannot read the detector ({err.strerror}); in a checkout: make models") from err
        check_sha256(path, content, self.model.sha256)
        self.graph = Graph(str(path), content, runtime=runtime, threads=threads)
        self._size_px = self.graph.inputs[0].shape[1]
        self._anchors = _anchors(self._size_px, self.model.grids)
        self._min_logit = float(np.log(min_score / (1 - min_score)))
        names = [output.name for output in self.graph.outputs]
        if {self.model.boxes, self.model.scores} - set(names):
            raise ModelError(f"{path}: outputs are {names}, but need {self.model.boxes!r} and {self.model.scores!r}")
        self._boxes_at, self._scores_at = names.index(self.model.boxes), names.index(self.model.scores)

    def detect(self, bgr: npt.NDArray[np.uint8]) -> list[Face]:
        """Faces of an image (height, width, 3), best first."""
        padded, scale, left_px, top_px = _letterbox(bgr, self._size_px)
        outputs = self.graph.run(padded)
        logits = np.clip(outputs[self._scores_at][0, :, 0], -SCORE_CLIP, SCORE_CLIP)
        likely = np.flatnonzero(logits >= self._min_logit)
        if not len(likely):
            return []
        raw = outputs[self._boxes_at][0, likely].astype(np.float64)
        raw[:, :2] += self._anchors[likely]
        raw[:, 4:] += np.tile(self._anchors[likely], 6)
        offset = np.array([left_px, top_px])
        raw[:, :2] = (raw[:, :2] - offset) / scale
        raw[:, 4:] = (raw[:, 4:] - np.tile(offset, 6)) / scale
        raw[:, 2:4] /= scale
        scores = 1 / (1 + np.exp(-logits[likely].astype(np.float64)))
        raw[:, 1] -= self.model.box_up * raw[:, 3]
        raw[:, 2:4] *= self.model.box_scale
        return _blend(raw, scores)


def distinct(faces: Sequence[Face]) -> list[Face]:
    """Each face once, the best of its detections; best first."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if not any(same_face(face.box, other.box) for other in kept):
            kept.append(face)
    return kept


def same_face(box: Box, other: Box) -> bool:
    """Whether two boxes are of one face: two heads do not cover each other that far and are both found."""
    return box.iou(other) > SAME_FACE_IOU or box.inside(other) > SAME_FACE_INSIDE


def _anchors(size_px: int, grids: tuple[tuple[int, int], ...]) -> npt.NDArray[np.float64]:
    """Centres in input pixels, (count, 2), row by row, each cell repeated for its anchors."""
    parts = []
    for stride, per_cell in grids:
        line = (np.arange(size_px // stride) + 0.5) * stride
        y, x = np.meshgrid(line, line, indexing="ij")
        parts.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), per_cell, axis=0))
    return np.concatenate(parts)


def _letterbox(bgr: npt.NDArray[np.uint8], size_px: int) -> tuple[npt.NDArray[np.float32], float, int, int]:
    """The whole image on a black square, RGB in -1..1 of shape (1, size, size, 3); scale and offset undo it."""
    height, width = bgr.shape[:2]
    scale = size_px / max(height, width)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    small = _shrunk(bgr, new_width, new_height)
    left, top = (size_px - new_width) // 2, (size_px - new_height) // 2
    padded = np.full((1, size_px, size_px, 3), -1, np.float32)
    inner = padded[0, top : top + new_height, left : left + new_width]
    np.multiply(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.float32(1 / 127.5), out=inner, dtype=np.float32)
    inner -= 1
    return padded, scale, left, top


def _shrunk(bgr: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
    """Resampled to this size; halved by averages first, since bilinear alone would alias small faces away.

    A fifth of the CPU of area filtering to any size, which was a quarter of the detector's.
    """
    while bgr.shape[1] >= 2 * width and bgr.shape[0] >= 2 * height:
        rows, columns = bgr.shape[0] // 2, bgr.shape[1] // 2
        # An odd last row or column is left out: halving by not quite two is ten times slower.
        even = bgr[: 2 * rows, : 2 * columns]
        bgr = np.asarray(cv2.resize(even, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.resize(bgr, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _blend(raw: npt.NDArray[np.float64], scores: npt.NDArray[np.float64]) -> list[Face]:
    """Non-maximum suppression that averages, weighted by score, what it would throw away (BlazeFace, section 4)."""
    first, last = raw[:, :2] - raw[:, 2:4] / 2, raw[:, :2] + raw[:, 2:4] / 2
    areas = raw[:, 2] * raw[:, 3]
    waiting = np.argsort(-scores, kind="stable")
    faces = []
    while len(waiting):
        best = waiting[0]
        sides = np.minimum(last[best], last[waiting]) - np.maximum(first[best], first[waiting])
        shared = np.maximum(sides, 0).prod(axis=1)
        alike = shared > SAME_FACE_IOU * (areas[best] + areas[waiting] - shared)
        alike[0] = True
        group, waiting = waiting[alike], waiting[~alike]
        weights = scores[group] / scores[group].sum()
        mean = weights @ raw[group]
        box = Box(*(mean[:2] - mean[2:4] / 2).tolist(), *mean[2:4].tolist())
        faces.append(Face(box, Landmarks(*mean[LANDMARKS].tolist()), float(scores[best])))
    return faces

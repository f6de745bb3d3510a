"""Training faces as the daemon would cut them out: found again by its detector on a larger picture."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from converter.apart import run_apart
from converter.network import INPUT_PX
from edge_fer.align import crop_face
from edge_fer.detect import DetectorName, FaceDetector
from edge_fer.errors import EdgeFerError
from edge_fer.frame import Face

DETECTOR: DetectorName = "full"
"""The daemon's own, unless its configuration says otherwise."""

CANVAS_PX = 320
"""Side of the square picture that a face is put on."""

FACE_PX = (64, 176)
"""Smallest and largest side of the enlarged training image on it."""

SURROUNDINGS_PX = 16
"""Around the face the picture is as blurred as if it had this many pixels a side."""

MIN_OVERLAP = 0.3
"""A detection counts as the face where it overlaps the place of the training image by this much (IoU)."""


@dataclass(frozen=True, slots=True)
class Recropped:
    """What the product sees of a set of faces."""

    images: npt.NDArray[np.uint8]  # (N, 48, 48), the original where no face was found
    found: npt.NDArray[np.bool_]  # (N,)


def recrop(images: npt.NDArray[np.uint8], seed: int, detector: DetectorName = DETECTOR) -> Recropped:
    """Paste each grey face (N, 48, 48) on a larger picture, find it there and cut it out as the daemon does.

    Size and place are drawn from the seed. Runs in a child process: TensorFlow and tflite-runtime do not share one.
    """
    with tempfile.TemporaryDirectory(prefix="edge-fer-") as folder:
        faces, out = Path(folder, "faces.npy"), Path(folder, "out.npz")
        np.save(faces, images)
        arguments = (str(faces), str(out), str(seed), detector)
        run_apart("converter.recrop", *arguments, failed=f"cannot find faces with the detector {detector!r}")
        with np.load(out) as stored:
            return Recropped(stored["images"], stored["found"])


def recrop_face(
    image: npt.NDArray[np.uint8], detector: FaceDetector, rng: np.random.Generator
) -> npt.NDArray[np.uint8] | None:
    """One face (48, 48) as the daemon would cut it out of a larger picture; None where its detector finds none."""
    side = int(rng.integers(*FACE_PX, endpoint=True))
    left, top = (int(place) for place in rng.integers(0, CANVAS_PX - side, 2, endpoint=True))
    large = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
    # The picture's blurred continuation: on a plain canvas the detector finds a fifth fewer faces.
    below, right = CANVAS_PX - side - top, CANVAS_PX - side - left
    canvas = cv2.copyMakeBorder(large, top, below, left, right, cv2.BORDER_REPLICATE)
    coarse = cv2.resize(canvas, (SURROUNDINGS_PX, SURROUNDINGS_PX), interpolation=cv2.INTER_AREA)
    canvas = cv2.resize(coarse, (CANVAS_PX, CANVAS_PX), interpolation=cv2.INTER_LINEAR)
    canvas[top : top + side, left : left + side] = large
    bgr = np.asarray(cv2.cvtColor(canvas, cv2.COLOR_GRAY2BGR), np.uint8)
    faces = [face for face in detector.detect(bgr) if _covers(face, left, top, side)]
    return crop_face(bgr, faces[0], INPUT_PX) if faces else None


def _covers(face: Face, left: int, top: int, side: int) -> bool:
    return face.box.iou(face.box._replace(left=left, top=top, width=side, height=side)) > MIN_OVERLAP


def _child(faces: str, out: str, seed: str, name: DetectorName) -> None:
    images = np.load(faces)
    detector = FaceDetector(name)
    found = np.zeros(len(images), np.bool_)
    crops = images.copy()
    for index, image in enumerate(images):
        crop = recrop_face(image, detector, np.random.default_rng((int(seed), index)))
        if crop is not None:
            crops[index], found[index] = crop, True
    np.savez(out, images=crops, found=found)


if __name__ == "__main__":
    try:
        _child(*sys.argv[1:])  # type: ignore[arg-type]  # the parent passes a DetectorName
    except EdgeFerError as err:
        sys.exit(str(err))

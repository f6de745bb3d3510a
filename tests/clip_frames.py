"""Frames of a clip, with the times of its own frame rate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edge_fer.frame import Frame


def clip_frames(path: Path) -> Iterator[Frame]:
    clip = cv2.VideoCapture(str(path))
    assert clip.isOpened(), path
    period_ns = 1e9 / clip.get(cv2.CAP_PROP_FPS)
    number = 0
    while True:
        there, bgr = clip.read()
        if not there:
            break
        yield Frame("front", number, round(number * period_ns), 0, np.asarray(bgr, np.uint8))
        number += 1
    clip.release()
    assert number > 1, path

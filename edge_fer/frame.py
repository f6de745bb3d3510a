"""The values that travel from camera to event."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Box(NamedTuple):
    """A rectangle in pixels of the frame; it may reach over the frame's border."""

    left: float
    top: float
    width: float
    height: float

    @property
    def centre(self) -> tuple[float, float]:
        """Middle point, (x, y)."""
        return self.left + self.width / 2, self.top + self.height / 2

    def moved(self, dx: float, dy: float) -> Box:
        """The same box elsewhere."""
        return self._replace(left=self.left + dx, top=self.top + dy)

    def iou(self, other: Box) -> float:
        """Intersection over union, 0..1."""
        shared = self._shared(other)
        return shared / (self.width * self.height + other.width * other.height - shared) if shared else 0.0

    def inside(self, other: Box) -> float:
        """Intersection over the smaller of both, 0..1: 1 where one lies within the other."""
        shared = self._shared(other)
        return shared / min(self.width * self.height, other.width * other.height) if shared else 0.0

    def _shared(self, other: Box) -> float:
        width = min(self.left + self.width, other.left + other.width) - max(self.left, other.left)
        height = min(self.top + self.height, other.top + other.height) - max(self.top, other.top)
        return width * height if width > 0 and height > 0 else 0.0


class Landmarks(NamedTuple):
    """The six points of a BlazeFace face in pixels of the frame; left and right as the viewer sees them."""

    left_x: float  # centre of an eye
    left_y: float
    right_x: float
    right_y: float
    nose_x: float  # its tip
    nose_y: float
    mouth_x: float  # its middle
    mouth_y: float
    left_ear_x: float  # tragion: the notch in front of the ear canal
    left_ear_y: float
    right_ear_x: float
    right_ear_y: float

    def moved(self, dx: float, dy: float) -> Landmarks:
        """The same points elsewhere."""
        return Landmarks(*(value + (dy if number % 2 else dx) for number, value in enumerate(self)))


@dataclass(frozen=True, slots=True)
class Face:
    """One detected face."""

    box: Box
    landmarks: Landmarks
    score: float  # 0..1, the detector's own

    def moved(self, dx: float, dy: float) -> Face:
        """The same face elsewhere."""
        return Face(self.box.moved(dx, dy), self.landmarks.moved(dx, dy), self.score)


@dataclass(frozen=True, slots=True)
class Frame:
    """One camera image, as captured."""

    camera: str
    seq: int  # counts captures of this camera, so a gap is a lost frame
    time_ns: int  # timeline of all decisions: time.monotonic_ns() at capture, or the position in a clip
    captured_unix_ns: int  # wall clock when the frame was handed over
    bgr: npt.NDArray[np.uint8]  # (height, width, 3)
    clip_ms: float | None = None  # position in a clip; None for a live camera

    def without_picture(self) -> Frame:
        """The same size and times around a black picture that takes no memory."""
        return replace(self, bgr=np.broadcast_to(np.uint8(0), self.bgr.shape))

    @property
    def width_px(self) -> int:
        """Columns of the image."""
        return int(self.bgr.shape[1])

    @property
    def height_px(self) -> int:
        """Rows of the image."""
        return int(self.bgr.shape[0])

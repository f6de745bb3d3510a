"""Where to look for faces, and with which detector: whole frames, tiles of them, and regions around known faces."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from edge_fer.card import MODELS
from edge_fer.detect import BLAZEFACE, DetectorName, FaceDetector, distinct
from edge_fer.frame import Box, Face
from edge_fer.tflite import Graph, RuntimeChoice
from edge_fer.toml import Settings

FACE_WIDTH_M = 0.15
"""Of an adult between the cheekbones, as wide as a BlazeFace box."""

READABLE_PX = 16
"""Width of the smallest face that says anything about its expression: see `edge_fer.quality`."""

MAX_TILES = 24
"""Views of a frame. More would look away from the other cameras for too long."""

SMALLEST_TILE = 0.2
"""Of the view above it: then a face that is too small for that view is whole in some tile."""

OVERLAP = 1.3
"""Of tiles, in widths of the smallest face that the view above them finds: room for a face and what is around it."""

REGION_SIDES = 2.5
"""Side of the square around an expected face, in sides of its box: the face may move, and `short` finds it surely."""

REGION_MODEL: DetectorName = "short"

CUT_SHARE = 0.02
"""A box that ends this near (in sides of the view) to a border inside the frame may go on behind it."""


class DetectorSettings(Settings):
    """`[detector]`: how faces are found and followed."""

    model: DetectorName | Literal["auto"] = "auto"
    """Smallest face, as a share of the frame's longer side: short 15 %, full 7 %, back 5 %. back needs most work and
    takes most things for faces. auto: what the wishes below need, tiles of the frame for the smallest; without a wish,
    full: a face 1.8 m away, at 62 degrees."""

    min_face_px: int | None = Field(default=None, ge=READABLE_PX, le=4320)
    """Width of the smallest face that is to be found, in pixels of the frame; for model "auto"."""

    max_distance_m: float | None = Field(default=None, ge=0.2, le=100)
    """Or, instead: how far away the farthest face is."""

    field_of_view_deg: float = Field(default=62, ge=10, le=170)
    """Of the camera, from the left to the right border of its picture."""

    min_score: float = Field(default=0.6, gt=0, lt=1)
    every_frames: int = Field(default=3, ge=1, le=1000)
    """Faces are looked for in every n-th frame. In between, tracks move on as they moved."""

    search_ms: int = Field(default=500, ge=0, le=60_000)
    """While faces are followed, the whole frame is searched for others this often."""

    lost_after_ms: int = Field(default=1000, ge=0, le=3_600_000)
    """A face that is not found for this long has left."""

    @model_validator(mode="after")
    def _one_wish(self) -> DetectorSettings:
        if self.min_face_px is not None and self.max_distance_m is not None:
            raise ValueError("min_face_px and max_distance_m both say how small a face may be; give one of them")
        if self.model != "auto" and (self.min_face_px is not None or self.max_distance_m is not None):
            wish = "min_face_px" if self.min_face_px is not None else "max_distance_m"
            raise ValueError(f'model = "{self.model}" leaves {wish} no choice; leave one of them out')
        return self

    def wanted_px(self, width_px: int) -> float | None:
        """Width of the smallest face that is to be found in frames of this width; None without a wish."""
        if self.max_distance_m is None:
            return self.min_face_px
        across_m = 2 * self.max_distance_m * math.tan(math.radians(self.field_of_view_deg) / 2)
        return width_px * FACE_WIDTH_M / across_m


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """How whole frames of one size are searched."""

    model: DetectorName
    views: tuple[Box, ...]  # each goes through the detector; the first is the whole frame
    smallest_px: float  # width of the smallest face of which nine in ten are found
    wanted_px: float | None = None

    @property
    def cost(self) -> float:
        """CPU of one search, in looks at a region."""
        return BLAZEFACE[self.model].cost / BLAZEFACE[REGION_MODEL].cost * len(self.views)

    def __str__(self) -> str:
        tiles = f" and {len(self.views) - 1} tiles" if len(self.views) > 1 else ""
        wanted = "" if self.wanted_px is None else f", {self.wanted_px:.0f} px wanted"
        return f"detector {self.model} on the whole frame{tiles}; finds faces of {self.smallest_px:.0f} px{wanted}"


def needed_detectors(settings: DetectorSettings) -> list[DetectorName]:
    """Those that frames of any size may need; the one for whole frames first, as far as that is known."""
    if settings.min_face_px is not None or settings.max_distance_m is not None:
        return list(BLAZEFACE)
    whole: DetectorName = settings.model if settings.model != "auto" else "full"
    return list(dict.fromkeys((whole, REGION_MODEL)))


def plan_search(settings: DetectorSettings, width_px: int, height_px: int) -> SearchPlan:
    """The cheapest search of frames of this size that finds faces as small as wanted, or nearly so where none does."""
    wanted_px = settings.wanted_px(width_px)
    if settings.model != "auto":
        return _plain(settings.model, width_px, height_px)
    if wanted_px is None:
        return _plain("full", width_px, height_px)
    plans = [_plain(model, width_px, height_px, wanted_px) for model in BLAZEFACE]
    plans += _tiled(width_px, height_px, wanted_px)
    fitting = [plan for plan in plans if plan.smallest_px <= wanted_px]
    return min(fitting, key=lambda plan: plan.cost) if fitting else min(plans, key=lambda plan: plan.smallest_px)


def _plain(model: DetectorName, width_px: int, height_px: int, wanted_px: float | None = None) -> SearchPlan:
    smallest_px = BLAZEFACE[model].smallest_face * max(width_px, height_px)
    return SearchPlan(model, (Box(0, 0, width_px, height_px),), smallest_px, wanted_px)


def _tiled(width_px: int, height_px: int, wanted_px: float) -> list[SearchPlan]:
    """The plan whose tiles are small enough, or as small as their number allows; none where one view is enough."""
    share, longer = BLAZEFACE["full"].smallest_face, max(width_px, height_px)
    side = max(wanted_px, READABLE_PX) / share
    while side < longer:
        views = _views(width_px, height_px, side)
        if len(views) <= MAX_TILES:
            return [SearchPlan("full", tuple(views), share * side, wanted_px)]
        side *= 1.05
    return []


def _views(width_px: int, height_px: int, side: float) -> list[Box]:
    """The whole frame and smaller and smaller tiles, so that a face of any size is whole in a view that finds it."""
    views, above = [Box(0, 0, width_px, height_px)], float(max(width_px, height_px))
    while above > side:
        overlap = OVERLAP * BLAZEFACE["full"].smallest_face * above
        above = max(side, SMALLEST_TILE * above)
        views += _grid(width_px, height_px, above, overlap)
    return views


def _grid(width_px: int, height_px: int, side: float, overlap: float) -> list[Box]:
    """Squares that cover the frame, evenly spread; they end with it."""
    return [
        Box(left, top, min(side, width_px), min(side, height_px))
        for top in _starts(height_px, side, overlap)
        for left in _starts(width_px, side, overlap)
    ]


def _starts(length: float, side: float, overlap: float) -> list[float]:
    count = max(1, math.ceil((length - overlap) / (side - overlap)))
    return [number * (length - side) / (count - 1) for number in range(count)] if count > 1 else [0.0]


class FaceSearch:
    """The detectors that the settings call for, loaded; looks at whole frames and at regions of them."""

    def __init__(
        self,
        settings: DetectorSettings | None = None,
        *,
        runtime: RuntimeChoice = "auto",
        threads: int = 1,
        models: Path = MODELS,
    ) -> None:
        """ModelError where the file of a detector that may be needed is missing or damaged."""
        self._settings = settings or DetectorSettings()
        self.detectors = {
            name: FaceDetector(
                name, min_score=self._settings.min_score, runtime=runtime, threads=threads, models=models
            )
            for name in needed_detectors(self._settings)
        }

    @property
    def main(self) -> FaceDetector:
        """The detector for whole frames."""
        return next(iter(self.detectors.values()))

    @property
    def graphs(self) -> list[Graph]:
        """Of all detectors, the one for whole frames first."""
        return [detector.graph for detector in self.detectors.values()]

    def plan(self, width_px: int, height_px: int) -> SearchPlan:
        """How frames of this size are searched."""
        return plan_search(self._settings, width_px, height_px)

    def whole(self, bgr: npt.NDArray[np.uint8], plan: SearchPlan) -> list[Face]:
        """Faces of a frame (height, width, 3) of the plan's size, each once, best first."""
        detector = self.detectors[plan.model]
        if len(plan.views) == 1:
            return distinct(detector.detect(bgr))
        return distinct([face for view in plan.views for face in look_at(detector, bgr, view)])

    def near(self, bgr: npt.NDArray[np.uint8], box: Box) -> list[Face]:
        """Faces of the frame around the place where one is expected."""
        side = REGION_SIDES * max(box.width, box.height)
        x, y = box.centre
        return look_at(self.detectors[REGION_MODEL], bgr, Box(x - side / 2, y - side / 2, side, side))


def look_at(detector: FaceDetector, bgr: npt.NDArray[np.uint8], view: Box) -> list[Face]:
    """Faces in a part of the frame, but none that its borders cut: those are whole elsewhere, or not looked for."""
    height, width = bgr.shape[:2]
    left, right = max(0, math.floor(view.left)), min(width, math.ceil(view.left + view.width))
    top, bottom = max(0, math.floor(view.top)), min(height, math.ceil(view.top + view.height))
    if left >= right or top >= bottom:
        return []
    margin = CUT_SHARE * max(view.width, view.height)
    faces = [face.moved(left, top) for face in detector.detect(bgr[top:bottom, left:right])]
    return [
        face
        for face in faces
        if (left == 0 or face.box.left > left + margin)
        and (top == 0 or face.box.top > top + margin)
        and (right == width or face.box.left + face.box.width < right - margin)
        and (bottom == height or face.box.top + face.box.height < bottom - margin)
    ]

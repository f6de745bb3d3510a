"""How much the networks do, counted where they are called: faces read, and looks for faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_fer.frame import Box, Face
from edge_fer.perceive import Reader
from edge_fer.tracking.follow import Search
from edge_fer.tracking.search import SearchPlan


@dataclass(slots=True)
class Workload:
    """Totals since the start, of all cameras; networks that are replaced go on counting. Main thread only."""

    images: int = 0
    """Faces that the expression network read."""

    detections: int = 0
    """Runs of a detector, on a frame, a tile or a region."""

    def counting_search(self, search: Search) -> Search:
        """The same search, counted."""
        return _CountingSearch(search, self)

    def counting_reader(self, reader: Reader) -> Reader:
        """The same reader, counted."""
        return _CountingReader(reader, self)


class _CountingSearch:
    def __init__(self, search: Search, counts: Workload) -> None:
        self._search, self._counts = search, counts

    def plan(self, width_px: int, height_px: int) -> SearchPlan:
        return self._search.plan(width_px, height_px)

    def whole(self, bgr: npt.NDArray[np.uint8], plan: SearchPlan) -> list[Face]:
        self._counts.detections += len(plan.views)
        return self._search.whole(bgr, plan)

    def near(self, bgr: npt.NDArray[np.uint8], box: Box) -> list[Face]:
        self._counts.detections += 1
        return self._search.near(bgr, box)


class _CountingReader:
    def __init__(self, reader: Reader, counts: Workload) -> None:
        self._reader, self._counts = reader, counts

    def read_all(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self._counts.images += len(crops)
        return self._reader.read_all(crops)

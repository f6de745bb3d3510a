"""Faces that no detector found: for tests that need their places only."""

from __future__ import annotations

from edge_fer.frame import Box, Face, Landmarks


def landmarks(left_x: float, left_y: float, right_x: float, right_y: float) -> Landmarks:
    """A frontal face of average proportions around its eyes, which may be tilted."""
    across_x, across_y = right_x - left_x, right_y - left_y
    x, y = (left_x + right_x) / 2, (left_y + right_y) / 2

    def place(right: float, down: float) -> tuple[float, float]:
        return x + right * across_x - down * across_y, y + right * across_y + down * across_x

    return Landmarks(
        left_x, left_y, right_x, right_y, *place(0, 0.6), *place(0, 1.1), *place(-1.2, 0.25), *place(1.2, 0.25)
    )


def face_at(x: float, y: float = 100, size: float = 50, score: float = 0.9) -> Face:
    """A square box with its left upper corner here, and a frontal face in it."""
    points = landmarks(x + size * 0.3, y + size * 0.35, x + size * 0.7, y + size * 0.35)
    return Face(Box(x, y, size, size), points, score)

"""Coarse colours below a face: tells apart two people whose ways cross where neither is seen.

Kept in memory with a track and nowhere else; nothing of it is stored, logged or sent.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edge_fer.frame import Box

BELOW, BESIDE = (0.15, 1.0), 0.6
"""The region: from so far to so far below the box, and to both sides of its middle, in its sides."""

SAMPLES = 16
"""Rows and columns of pixels that are looked at."""

MIN_ROWS = 0.4
"""Share of the region that must be in the picture."""

LEVELS = 4
"""Of blue, green and red each."""

UNKNOWN = 0.2
"""Unlikeness of clothing of which one was not seen: as one person's on two looks; two people's is about 0.6."""

Colours = npt.NDArray[np.float32]
"""Square roots of the shares of LEVELS**3 colours: the product of two is their Bhattacharyya coefficient."""


def clothing(bgr: npt.NDArray[np.uint8], box: Box) -> Colours | None:
    """Colours below a face of an image (height, width, 3); None where too little of it is in the picture."""
    height, width = bgr.shape[:2]
    size, (x, _) = max(box.width, box.height), box.centre
    bottom = box.top + box.height
    first, last = math.floor(bottom + BELOW[0] * size), math.ceil(bottom + BELOW[1] * size)
    left, right = max(0, math.floor(x - BESIDE * size)), min(width, math.ceil(x + BESIDE * size))
    seen = min(height, last) - max(0, first)
    if seen < MIN_ROWS * (last - first) or right - left < MIN_ROWS * size:
        return None
    part = bgr[max(0, first) : last : max(1, seen // SAMPLES), left : right : max(1, (right - left) // SAMPLES)]
    levels = (part >> 6).reshape(-1, 3).astype(np.intp)  # LEVELS of 256
    codes = levels @ np.array([LEVELS**2, LEVELS, 1])
    shares = np.bincount(codes, minlength=LEVELS**3) / len(codes)
    return np.asarray(np.sqrt(shares), np.float32)


def unlike(one: Colours | None, other: Colours | None) -> float:
    """0 for the same colours, 1 for entirely different ones; what is not known is nearly the same."""
    if one is None or other is None:
        return UNKNOWN
    return max(0.0, 1 - float(one @ other))


def blended(before: Colours | None, now: Colours | None, share: float = 0.3) -> Colours | None:
    """What is known after another look."""
    if before is None or now is None:
        return before if now is None else now
    mixed = (1 - share) * before**2 + share * now**2
    return np.asarray(np.sqrt(mixed), np.float32)

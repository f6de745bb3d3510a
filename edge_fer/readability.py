"""How well a face can be read, as a value: what it is measured by is in `edge_fer.quality`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Refusal = Literal["too-small", "too-dark", "too-bright", "blurred", "turned", "tilted", "cut-off"]
"""Why a face is not read. It counts as present, and reads "uncertain"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How well a face can be seen in one frame."""

    size_px: int  # longer side of the face's box
    brightness: int  # mean grey level of the crop, 0..255
    sharpness: float  # 0 flat; see `sharpness`
    yaw_deg: float  # turned to a side, 0 frontal, positive to the viewer's right
    roll_deg: float  # tilted in the picture, 0 upright, positive clockwise
    cut_off: float = 0.0  # share of the crop beyond the frame's border, 0..1
    burnt_out: float = 0.0  # share of the crop that is white, 0..1
    refusal: Refusal | None = None

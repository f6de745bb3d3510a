"""What perception hands to decision: all that is known of a moment, without a pixel.

The daemon, the recording of scores and their replay share these values, so a replay decides exactly as the run did.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge_fer.events import CameraCondition
from edge_fer.frame import Box
from edge_fer.readability import Quality

SCORE_DIGITS = 4
"""Digits of a probability that decisions see and recordings keep."""

MS_DIGITS, PX_DIGITS, DEG_DIGITS, SHARPNESS_DIGITS, SHARE_DIGITS = 3, 1, 1, 4, 3


@dataclass(frozen=True, slots=True)
class FaceLook:
    """One face in one frame."""

    track: int
    box: Box
    quality: Quality
    probabilities: tuple[float, ...] | None  # of EXPRESSIONS, calibrated, sum 1; None: refused, see quality.refusal


@dataclass(frozen=True, slots=True)
class Look:
    """One camera in one frame."""

    camera: str
    seq: int  # of the frame
    time_ns: int  # timeline of all decisions, see Frame
    unix_ns: int  # wall clock of the capture
    clip_ms: float | None
    age_ms: float  # from capture to this look
    width_px: int
    height_px: int
    faces: tuple[FaceLook, ...]  # seen in this frame, refused ones too
    lost: tuple[int, ...] = ()  # tracks that ended with this frame
    waiting: tuple[int, ...] = ()  # tracks seen in this frame, whose turn to be read it was not

    def rounded(self) -> Look:
        """The same look with the digits that a recording keeps; rounding it again changes nothing."""
        return replace(
            self,
            clip_ms=None if self.clip_ms is None else round(self.clip_ms, MS_DIGITS),
            age_ms=round(self.age_ms, MS_DIGITS),
            faces=tuple(_rounded(face) for face in self.faces),
        )


@dataclass(frozen=True, slots=True)
class CameraNews:
    """A camera came, went, or sees nothing; `time_ns` is of the node's clock (time.monotonic_ns)."""

    camera: str
    state: CameraCondition
    reason: str
    time_ns: int
    unix_ns: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed, whether anything was seen or not. Of the node's clock, like `CameraNews`."""

    time_ns: int
    unix_ns: int


@dataclass(frozen=True, slots=True)
class Stop:
    """The daemon ends in good order."""

    reason: str  # for people
    time_ns: int
    unix_ns: int


Observation = Look | CameraNews | Tick | Stop
"""Everything that a decision can rest on."""


def _rounded(face: FaceLook) -> FaceLook:
    left, top, width, height = face.box
    quality = face.quality
    return FaceLook(
        face.track,
        Box(round(left, PX_DIGITS), round(top, PX_DIGITS), round(width, PX_DIGITS), round(height, PX_DIGITS)),
        replace(
            quality,
            sharpness=round(quality.sharpness, SHARPNESS_DIGITS),
            yaw_deg=round(quality.yaw_deg, DEG_DIGITS),
            roll_deg=round(quality.roll_deg, DEG_DIGITS),
            cut_off=round(quality.cut_off, SHARE_DIGITS),
            burnt_out=round(quality.burnt_out, SHARE_DIGITS),
        ),
        None
        if face.probabilities is None
        else tuple(round(float(share), SCORE_DIGITS) for share in face.probabilities),
    )

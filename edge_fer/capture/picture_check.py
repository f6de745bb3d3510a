"""Whether a camera's pictures show anything: the same one again and again, or darkness. Numbers and times only."""

from __future__ import annotations

from typing import Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

RECOVERY_S = 1.0
"""Good pictures for this long end frozen and dark; at once in the first picture after the camera was opened again."""

GRID_PX, PARTS = 64, 8
"""GRID_PX x GRID_PX pixels of each picture are looked at, averaged to PARTS x PARTS against the sensor's noise."""


class PictureFacts(NamedTuple):
    """What is told from one picture by itself and the one before."""

    same: bool  # every sampled pixel is bit-identical to the picture before: a sensor's noise never is
    brightness: float  # 0..255, mean
    contrast: float  # 0..255, standard deviation between PARTS x PARTS parts


class Levels(NamedTuple):
    """Of brightness and contrast; below either, a picture shows nothing."""

    brightness: float
    contrast: float


# Lit faces in an unlit room leave a mean of 15 and more; a taped lens 0 to 10. The amplified noise of a covered lens
# (20 of 255) averages to a contrast of 20 / (GRID_PX / PARTS) * 0.7 (luma of three channels) = 1.7; a wall has 4.
DARK_BELOW = Levels(12.0, 2.0)
LIGHT_ABOVE = Levels(16.0, 3.0)
"""A dark camera is back above these: higher, so that it does not flap at the threshold."""


class PictureSampler:
    """Pictures (height, width, 3) -> facts, from the same few thousand pixels of each; 20 us on a slow x86 core."""

    def __init__(self) -> None:
        self._shape: tuple[int, ...] = ()
        self._before: npt.NDArray[np.uint8] | None = None

    def look(self, bgr: npt.NDArray[np.uint8]) -> PictureFacts:
        """The facts of the next picture; one of another size is another one."""
        sampled = np.asarray(cv2.resize(bgr, (GRID_PX, GRID_PX), interpolation=cv2.INTER_NEAREST), np.uint8)
        same = self._before is not None and self._shape == bgr.shape and np.array_equal(sampled, self._before)
        self._shape, self._before = bgr.shape, sampled
        parts = cv2.resize(sampled, (PARTS, PARTS), interpolation=cv2.INTER_AREA)
        mean, deviation = cv2.meanStdDev(cv2.cvtColor(parts, cv2.COLOR_BGR2GRAY))
        return PictureFacts(same, float(mean[0, 0]), float(deviation[0, 0]))

    def forget(self) -> None:
        """Keep no pixel of the picture before."""
        self._before = None


class FrozenCheck:
    """Frozen once no picture has changed for `after_s`; not any more once pictures keep changing for RECOVERY_S.

    Pictures that come twice, as from a camera slower than its stream, still count as moving.
    """

    def __init__(self, after_s: float) -> None:
        """`after_s` of 0 switches the check off."""
        self._after_ns = round(after_s * 1e9)
        self._changed_ns: int | None = None
        self._moving_since_ns: int | None = None
        self.active = False

    def update(self, *, changed: bool, now_ns: int, first: bool) -> None:
        """Take the next picture; `first` of an attempt to open the camera."""
        still_ns = 0 if self._changed_ns is None else now_ns - self._changed_ns
        if changed or self._changed_ns is None:
            self._changed_ns = now_ns
        if not self.active:
            self.active = not changed and 0 < self._after_ns <= still_ns
            self._moving_since_ns = None
        elif not changed:
            # Half of `after_s`: what is too slow to be moving again here is on its way to be called frozen anyway.
            if still_ns >= self._after_ns // 2:
                self._moving_since_ns = None
        elif first:
            self.active = False
        elif self._moving_since_ns is None:
            self._moving_since_ns = now_ns
        else:
            self.active = now_ns - self._moving_since_ns < RECOVERY_S * 1e9


class DarkCheck:
    """Dark once all pictures of `after_s` were below DARK_BELOW; light once all of RECOVERY_S are above LIGHT_ABOVE."""

    def __init__(self, after_s: float) -> None:
        """`after_s` of 0 switches the check off."""
        self._after_ns = round(after_s * 1e9)
        self._otherwise_since_ns: int | None = None
        self.active = False
        self.shows_nothing = False  # the newest picture

    def update(self, facts: PictureFacts, *, now_ns: int, first: bool) -> None:
        """Take the next picture; `first` of an attempt to open the camera."""
        if not self._after_ns:
            return
        levels = LIGHT_ABOVE if self.active else DARK_BELOW
        self.shows_nothing = facts.brightness < levels.brightness or facts.contrast < levels.contrast
        if self.shows_nothing is self.active:
            self._otherwise_since_ns = None
            return
        if self._otherwise_since_ns is None:
            self._otherwise_since_ns = now_ns
        needed_ns = self._after_ns if self.shows_nothing else 0 if first else RECOVERY_S * 1e9
        if now_ns - self._otherwise_since_ns >= needed_ns:
            self.active, self._otherwise_since_ns = self.shows_nothing, None


class PictureChecks:
    """Both checks. They outlast a lost connection: a camera that comes back as dark as it went is dark at once."""

    def __init__(self, *, frozen_after_s: float, dark_after_s: float) -> None:
        """Seconds; 0 switches a check off."""
        self._frozen, self._dark = FrozenCheck(frozen_after_s), DarkCheck(dark_after_s)
        self._frozen_text = f"the same picture for {frozen_after_s:g} s"
        self._dark_after_s = dark_after_s
        self._dark_text = ""

    def update(self, facts: PictureFacts, *, now_ns: int, first: bool) -> tuple[Literal["frozen", "dark"], str] | None:
        """What is wrong with the pictures up to this one, and why; None if nothing."""
        was_dark = self._dark.active
        self._dark.update(facts, now_ns=now_ns, first=first)
        # The sensor of a covered camera may give plain black: that is dark, and no frozen picture.
        self._frozen.update(changed=not facts.same or self._dark.shows_nothing, now_ns=now_ns, first=first)
        if self._dark.active:
            if not was_dark:
                self._dark_text = self._why_dark(facts)
            return "dark", self._dark_text
        return ("frozen", self._frozen_text) if self._frozen.active else None

    def _why_dark(self, facts: PictureFacts) -> str:
        if facts.brightness < DARK_BELOW.brightness:
            found, causes = f"too dark (brightness {facts.brightness:.0f} of 255)", "covered, or no light"
        else:
            found, causes = f"nothing stands out (contrast {facts.contrast:.1f} of 255)", "covered, or dazzled"
        return f"{found} for {self._dark_after_s:g} s: {causes}"

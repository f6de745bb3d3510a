"""How a face moves: where it will be, how sure that is, and how well a detection fits.

A Kalman filter per face whose velocity decays (an integrated Ornstein-Uhlenbeck process, as in Blackman and Popoli,
"Design and Analysis of Modern Tracking Systems", 1999, 4.2): nobody walks on for ever. All noise is in sizes of the
face, so that near and far faces are treated alike, and all times are seconds, so that the frame rate does not matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from edge_fer.frame import Box

MEASURED = 0.04
"""Standard deviation of a box's centre, in its sides: between frames 0.005, between detectors 0.04."""

SPEED = 5.0
"""Of a face that has just been found, in its sides per second: walking past at 0.75 m/s."""

AGITATION = 3.0
"""How far the speed changes within a second, in sides per second."""

SPEED_FADES_S = 2.0
"""Time constant in which an unseen face comes to rest."""

FARTHEST = 1.5
"""Standard deviation of a place, in sides, beyond which a face that is long unseen is not looked for."""

MEASURED_SIZE = 0.06
"""Standard deviation of the logarithm of a box's side."""

SIZE_CHANGES = 0.15
"""And of its drift within a second."""


class Expected(NamedTuple):
    """Where a face should be at some time."""

    x: float  # px, centre of the box
    y: float
    size: float  # px, side of the box
    sigma: float  # px, standard deviation of x and of y of a detection there
    size_variance: float  # of the logarithm of a detection's size


@dataclass(slots=True)
class Motion:
    """Place, speed and size of one face, as last detected."""

    x: float  # px
    y: float
    log_size: float
    time_ns: int
    speed_x: float = 0.0  # px/s
    speed_y: float = 0.0
    place_variance: float = MEASURED**2  # of both axes alike, in sides and seconds
    covariance: float = 0.0
    speed_variance: float = SPEED**2
    size_variance: float = MEASURED_SIZE**2

    @classmethod
    def starting(cls, box: Box, time_ns: int) -> Motion:
        """Of a face that was detected for the first time."""
        x, y = box.centre
        return cls(x, y, math.log(side(box)), time_ns)

    def shift(self, time_ns: int) -> tuple[float, float]:
        """How far the face has probably moved since it was last detected, (x, y) in px."""
        way = _way_s(self._seconds(time_ns))
        return self.speed_x * way, self.speed_y * way

    def expected(self, time_ns: int) -> Expected:
        """Where a detection should be at this time."""
        seconds, size = self._seconds(time_ns), math.exp(self.log_size)
        dx, dy = self.shift(time_ns)
        place, _, _ = self._spread(seconds)
        size_variance = self.size_variance + SIZE_CHANGES**2 * seconds + MEASURED_SIZE**2
        return Expected(
            self.x + dx, self.y + dy, size, min(math.sqrt(place + MEASURED**2), FARTHEST) * size, size_variance
        )

    def take(self, box: Box, time_ns: int) -> None:
        """Learn from a detection; less from one of another size: what half covers a face moves its box too."""
        seconds = self._seconds(time_ns)
        dx, dy = self.shift(time_ns)
        fade = math.exp(-seconds / SPEED_FADES_S)
        place, covariance, speed = self._spread(seconds)
        size_variance = self.size_variance + SIZE_CHANGES**2 * seconds
        resized = math.log(side(box)) - self.log_size
        noise = MEASURED**2 * (1 + resized**2 / (size_variance + MEASURED_SIZE**2))
        gain, speed_gain = place / (place + noise), covariance / (place + noise)
        x, y = box.centre
        off_x, off_y = x - self.x - dx, y - self.y - dy
        self.x, self.y = self.x + dx + gain * off_x, self.y + dy + gain * off_y
        self.speed_x, self.speed_y = self.speed_x * fade + speed_gain * off_x, self.speed_y * fade + speed_gain * off_y
        self.place_variance, self.covariance = place * (1 - gain), covariance * (1 - gain)
        self.speed_variance = speed - speed_gain * covariance
        size_gain = size_variance / (size_variance + MEASURED_SIZE**2)
        self.log_size += size_gain * resized
        self.size_variance = size_variance * (1 - size_gain)
        self.time_ns = time_ns

    def _seconds(self, time_ns: int) -> float:
        return max(0, time_ns - self.time_ns) / 1e9

    def _spread(self, seconds: float) -> tuple[float, float, float]:
        """Variance of place, covariance and variance of speed after some time, in sides and seconds."""
        way, fade, noise = _way_s(seconds), math.exp(-seconds / SPEED_FADES_S), AGITATION**2 * seconds
        place = self.place_variance + 2 * way * self.covariance + way**2 * self.speed_variance
        covariance = fade * (self.covariance + way * self.speed_variance)
        speed = fade**2 * self.speed_variance
        # The noise of a speed that wanders freely: for the seconds that matter, its fading changes little.
        return place + noise * seconds**2 / 3, covariance + noise * seconds / 2, speed + noise


def side(box: Box) -> float:
    """The longer side of a box, px, never 0."""
    return max(box.width, box.height, 1e-6)


def _way_s(seconds: float) -> float:
    """How long a face at full speed would need for the way that a fading one makes in this time."""
    return SPEED_FADES_S * (1 - math.exp(-seconds / SPEED_FADES_S))

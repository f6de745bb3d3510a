"""How often a node looks, as a table: each level costs about two thirds of the one before."""

from __future__ import annotations

from typing import NamedTuple


class Level(NamedTuple):
    """How often each live camera is looked at, and how often faces are searched in what is looked at."""

    max_fps: float | None  # None: as configured
    detect_every_frames: int  # at least; the configured number where that is larger

    @property
    def look_every_ms(self) -> int | None:
        """Longest time between two looks for faces, when they are looked for in every n-th frame; None: as ever."""
        return None if self.max_fps is None else round(1000 * self.detect_every_frames / self.max_fps)


# Of a camera at 25 fps with one face: a search of a frame costs about six times what reading the face does
# (docs/performance.md), so that full rate is 25 readings and 25 / 3 * 6 = 50 for searches, 75 in all.
LEVELS = (
    Level(None, 1),  # 75: 100 %
    Level(15.0, 3),  # 15 + 5.0 * 6 = 45: 60 %
    Level(10.0, 3),  # 10 + 3.3 * 6 = 30: 40 %
    Level(6.0, 3),  #   6 + 2.0 * 6 = 18: 24 %
    Level(4.0, 3),  #   4 + 1.3 * 6 = 12: 16 %
    Level(2.0, 2),  #   2 + 1.0 * 6 =  8: 11 %
)
"""At the slowest a face is still read twice a second, and somebody new is found within a second."""

SLOWEST = len(LEVELS) - 1

THROTTLED_SLOWEST = 3
"""For throttling alone, no slower than this: it may come of a weak supply, which no slower looking cures."""

"""How often: attempts to open a camera, and pictures that are handed on."""

from __future__ import annotations

import random

FIRST_S, LAST_S = 2.0, 30.0
"""Longest first pause and longest of all; each is at least half as long, so all are within 1 to 30 s."""

WORKED_S = 10.0
"""A camera that delivered pictures for this long is not one that connects and dies."""


class Backoff:
    """Pauses between attempts: each up to twice as long as the one before, with jitter.

    Without the jitter, all cameras of a switch that was restarted would come back at the same moment.
    """

    def __init__(
        self, *, first_s: float = FIRST_S, last_s: float = LAST_S, chance: random.Random | None = None
    ) -> None:
        """`chance` gives the jitter."""
        self._first_s, self._last_s = first_s, last_s
        self._longest_s = first_s
        self._chance = chance or random.Random()  # noqa: S311 - jitter, no secret

    def next_s(self) -> float:
        """The pause before the next attempt."""
        longest_s = min(self._longest_s, self._last_s)
        self._longest_s = min(2 * longest_s, self._last_s)
        return self._chance.uniform(longest_s / 2, longest_s)

    def worked(self, for_s: float) -> None:
        """The last attempt delivered pictures for so long; long enough, and the next pause is a first one."""
        if for_s >= WORKED_S:
            self.reset()

    def reset(self) -> None:
        """The next pause is a first one."""
        self._longest_s = self._first_s


class Pacer:
    """Picks at most `max_fps` pictures a second, as evenly as those that come allow."""

    def __init__(self, max_fps: float | None) -> None:
        """None picks all."""
        self._period_ns = 0
        self._due_ns: int | None = None
        self._last_ns = 0
        self.limit(max_fps)

    def limit(self, max_fps: float | None) -> None:
        """Pick so many from now on; the next picture is one of them if there are more to be."""
        period_ns = 0 if max_fps is None else round(1e9 / max_fps)
        if not period_ns or period_ns < self._period_ns:
            self.hurry()
        self._period_ns = period_ns

    def hurry(self) -> None:
        """The next picture is one of them, whenever it comes."""
        self._due_ns = None

    def picks(self, time_ns: int) -> bool:
        """Whether the picture of this time is one of them; times never go back."""
        if not self._period_ns:
            return True
        if self._due_ns is None:
            self._due_ns = self._last_ns = time_ns
        # The picture nearest to the time that is due; cameras jitter, so one a little early is not refused for that.
        early_ns = min((time_ns - self._last_ns) // 2, self._period_ns // 4)
        self._last_ns = time_ns
        if time_ns < self._due_ns - early_ns:
            return False
        self._due_ns = max(self._due_ns + self._period_ns, time_ns + self._period_ns * 3 // 4)
        return True

"""Readings of the sensors -> the level: lower before the kernel throttles, faster only when that has proven to last.

No clock, file or thread: time comes with each call.

A board is two thermal resistances in a row. The chip with its heat sink follows a change of load with a time constant
of 20 to 60 s, the board in its case with one of 5 to 15 minutes. A level too fast shows in the first, so one step down
needs no longer than that; that a level lasts shows only after the second. Whoever raises the level as soon as it is
cool again therefore swings for ever. Here each raise that had to be taken back makes the wait before the next longer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from edge_fer.events import GovernorCause
from edge_fer.governor.findings import MARGIN_C, STUCK_S, UNKNOWN_THROTTLE_C, Found, Heat, S, Throttled, Watts
from edge_fer.governor.levels import LEVELS, SLOWEST, Level
from edge_fer.governor.settings import GovernorSettings
from edge_fer.sensors.readings import Reading

LOWER_AFTER_S = 20.0
"""Between two steps down: most of a step shows in a chip's temperature after that, at least in its direction."""

URGENT_AFTER_S = 4.0
"""The same from the middle of the margin on: better too slow for a minute than throttled."""

FALLING_C = 0.3
"""It cools by at least this in LOWER_AFTER_S: then the level is low enough, and waits for the heat to go."""

FIRST_WAIT_S, LONGEST_WAIT_S = 60.0, 3600.0
"""All has to be well for so long before a step up: a chip's own time constant, and longer with each relapse."""

LONGER = 3.0
"""So many times as long after a relapse: after 1, 3, 9 and 27 minutes it is tried once an hour."""

RELAPSE_S = 1800.0
"""A step up that lasted for this long was right: two and more time constants of a closed case."""

STALE_S = 30.0
"""Older readings are none; at least so many, and three periods of the sensors."""


FELT_FROM = 2
"""From this level down to the slowest is a third of all work less: that is felt by any zone that measures something."""


class Held(NamedTuple):
    """The level, and why."""

    level: int = 0  # of LEVELS
    cause: GovernorCause = "none"
    reason: str = "within all limits"

    @property
    def rate(self) -> Level:
        """What the level means."""
        return LEVELS[self.level]


class Governor:
    """One board's level."""

    def __init__(self, settings: GovernorSettings, throttle_point_c: float | None = None) -> None:
        """`throttle_point_c`: where the kernel begins to throttle; None where it does not tell."""
        self._throttle_point_c = throttle_point_c
        self._heat, self._watts = Heat(), Watts()
        self._throttled = Throttled()
        self._steps = _Steps()
        self._newest_ns: int | None = None
        self._period_ns = 0
        self.use(settings)

    def use(self, settings: GovernorSettings) -> None:
        """Keep to other limits from now on; a level that they do not need any more is left after a first wait."""
        self._enabled, self._watts.limit_w = settings.enabled, settings.max_power_w
        point_c = UNKNOWN_THROTTLE_C if self._throttle_point_c is None else self._throttle_point_c
        self._heat.limit_c = point_c - MARGIN_C if settings.max_temperature_c is None else settings.max_temperature_c
        self._steps.forgive()
        if not settings.enabled:
            self._steps = _Steps()

    @property
    def held(self) -> Held:
        """As last decided."""
        return self._steps.held

    @property
    def blind(self) -> bool:
        """Whether something that was measured is not any more, so that the level stays."""
        return self._steps.blind

    @property
    def stuck(self) -> str:
        """Zones that are not believed, because they tell the same whatever is done; "" where there are none."""
        return self._heat.stuck

    @property
    def limit_c(self) -> float:
        """Of the hottest zone."""
        return self._heat.limit_c

    def take(self, reading: Reading | None, now_ns: int) -> Held:
        """The level from now on. `reading` is the newest, None before the first; the same one may come again."""
        if not self._enabled:
            return self._steps.held
        stale_ns = max(round(STALE_S * S), 3 * self._period_ns)
        if (felt_ns := self._steps.felt_ns(now_ns)) is not None:
            self._heat.disbelieve(felt_ns)
        if reading is not None and reading.time_ns != self._newest_ns:
            self._read(reading)
        elif self._newest_ns is None or now_ns - self._newest_ns <= stale_ns:
            return self._steps.held
        found = [
            self._heat.found(now_ns, stale_ns),
            self._watts.found(now_ns, stale_ns),
            self._throttled.found(now_ns, self._steps.held.level),
        ]
        before = self._steps.held.level
        self._steps.take(found, self._heat.smooth_c, now_ns)
        if self._steps.held.level != before:
            self._watts.restart()
        return self._steps.held

    def _read(self, reading: Reading) -> None:
        if self._newest_ns is not None:
            self._period_ns = min(max(0, reading.time_ns - self._newest_ns), 60 * S)  # the longest `sample_s`
        self._newest_ns = reading.time_ns
        self._heat.take(reading)
        self._watts.take(reading)
        self._throttled.take(reading)


class _Steps:
    """Up and down the levels, one at a time."""

    def __init__(self) -> None:
        self.held, self.blind = Held(), False
        self._reason = ""  # of the newest step
        self._lowered_ns: int | None = None
        self._felt_ns: int | None = None  # when it was last lowered from FELT_FROM
        self._reference_c: float | None = None  # smoothed temperature at the last step down, or when it was waived
        self._calm_ns: int | None = None  # since when all is well
        self._raised_ns: int | None = None  # the newest of the steps up that have not proven right yet
        self._wait_s = FIRST_WAIT_S
        self._risked_s = 0.0  # the longest wait before one of these steps

    def forgive(self) -> None:
        """Other limits: what went wrong with the old ones tells nothing."""
        self._wait_s, self._risked_s, self._raised_ns = FIRST_WAIT_S, 0.0, None

    def felt_ns(self, now_ns: int) -> int | None:
        """Since when a zone that is cooled must have told something else; None where that is not to be expected yet."""
        if self.held.level < SLOWEST or self._lowered_ns is None or now_ns - self._lowered_ns < STUCK_S * S:
            return None
        return self._felt_ns

    def take(self, found: Iterable[Found], smooth_c: float | None, now_ns: int) -> None:
        found = list(found)
        over = [one for one in found if one.grade in ("over", "urgent")]
        unknown = next((one for one in found if one.grade == "unknown"), None)
        self.blind = unknown is not None
        if self._raised_ns is not None and now_ns - self._raised_ns >= RELAPSE_S * S:
            # Halved, not forgotten: at the very edge of a limit the noise of a sensor takes half an hour to tell.
            self._raised_ns, self._risked_s, self._wait_s = None, 0.0, max(FIRST_WAIT_S, self._wait_s / 2)
        if any(one.grade != "calm" for one in found):
            self._calm_ns = None
        elif self._calm_ns is None:
            self._calm_ns = now_ns
        if over:
            self._lower(min(over, key=lambda one: one.grade != "urgent"), smooth_c, now_ns)
        elif self.held.level and self._calm_ns is not None and now_ns - self._calm_ns >= self._wait_s * S:
            self._raise(next(one.text for one in found if one.cause == self.held.cause), now_ns)
        if self.held.level:
            self.held = self.held._replace(reason=f"{self._reason}; {unknown.text}" if unknown else self._reason)

    def _lower(self, worst: Found, smooth_c: float | None, now_ns: int) -> None:
        if self.held.level == SLOWEST or not self._may_lower(worst, smooth_c, now_ns):
            return
        if self._raised_ns is not None:  # the step up was wrong
            self._wait_s = min(LONGEST_WAIT_S, LONGER * self._risked_s)
            self._raised_ns, self._risked_s = None, 0.0
        self._lowered_ns, self._reference_c = now_ns, smooth_c
        if self.held.level == FELT_FROM:
            self._felt_ns = now_ns
        self._reason = worst.text
        self.held = Held(self.held.level + 1, worst.cause, worst.text)

    def _may_lower(self, worst: Found, smooth_c: float | None, now_ns: int) -> bool:
        if self._lowered_ns is None:
            return True
        waited_s = (now_ns - self._lowered_ns) / S
        if worst.grade == "urgent":
            return waited_s >= URGENT_AFTER_S
        if waited_s < LOWER_AFTER_S:
            return False
        reference_c = self._reference_c
        if worst.cause != "temperature" or smooth_c is None or reference_c is None:
            return True
        if smooth_c > reference_c - FALLING_C:
            return True
        self._lowered_ns, self._reference_c = now_ns, smooth_c
        return False

    def _raise(self, text: str, now_ns: int) -> None:
        level = self.held.level - 1
        self._reason = f"one level faster: {text}"
        self.held = Held(level, self.held.cause, self._reason) if level else Held(reason=f"within all limits: {text}")
        # The way up after a long wait may be quicker, but all of it counts as one attempt if it fails.
        self._risked_s = max(self._risked_s, self._wait_s)
        self._wait_s = max(FIRST_WAIT_S, self._wait_s / 2)
        self._raised_ns, self._calm_ns = now_ns, now_ns

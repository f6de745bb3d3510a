"""Quiet hours: times of the week by the clock on the wall."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOUR_MINUTES, DAY_MINUTES = 60, 24 * 60

_WINDOW = re.compile(r"^(?:(?P<days>[a-z,\s-]+)\s)?\s*(?P<start>\d{1,2}:\d{2})\s*-\s*(?P<end>\d{1,2}:\d{2})$")
_EXAMPLES = "write '22:00-07:00', 'sat,sun 00:00-24:00' or 'mon-fri 12:00-14:00'"


class QuietWindow(NamedTuple):
    """From start to end, on the days on which it begins; an end before the start is on the next day."""

    days: frozenset[int]  # 0 is Monday
    start_minute: int
    end_minute: int

    def covers(self, day: int, minute: int) -> bool:
        """Whether a minute of a day is in it."""
        if self.start_minute < self.end_minute:
            return day in self.days and self.start_minute <= minute < self.end_minute
        began_yesterday = (day - 1) % len(DAYS) in self.days and minute < self.end_minute
        return began_yesterday or (day in self.days and minute >= self.start_minute)


class QuietHours:
    """When alerts wait. Where the clocks change, their hands decide: an hour that comes twice is quiet twice."""

    def __init__(self, windows: Sequence[str], zone: str | None) -> None:
        """ValueError where a window or the zone makes no sense; without windows, no hour is quiet."""
        self._windows = [parse_window(text) for text in windows]
        self._zone = find_zone(zone) if zone else None

    def quiet_at(self, unix_ns: int) -> bool:
        """Whether this moment is in quiet hours."""
        if not self._windows:
            return False
        local = datetime.fromtimestamp(unix_ns // 1_000_000_000, tz=self._zone)
        minute = local.hour * HOUR_MINUTES + local.minute
        return any(window.covers(local.weekday(), minute) for window in self._windows)


def parse_window(text: str) -> QuietWindow:
    """A window as it stands in the configuration; ValueError says what would be right."""
    match = _WINDOW.match(text.strip().lower())
    if not match:
        raise ValueError(f"{text!r} is no time of the day or week; {_EXAMPLES}")
    start, end = _minute(match["start"], text), _minute(match["end"], text)
    if start == DAY_MINUTES:
        raise ValueError(f"{text!r} begins at 24:00; begin at 00:00 of the next day")
    if start == end:
        raise ValueError(f"{text!r} has no length; a whole day is 00:00-24:00")
    return QuietWindow(_days(match["days"], text), start, end)


def find_zone(name: str) -> ZoneInfo:
    """The time zone; ValueError names the nearest, or the package that is missing."""
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # unknown; with .. or / in front; a folder of zones
        known = available_timezones()
    if not known:
        raise ValueError("this system has no time zones: install the package tzdata (apt-get install tzdata)")
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else "write it like 'Europe/Berlin'"
    raise ValueError(f"{name!r} is no time zone; {hint}")


def _minute(clock: str, text: str) -> int:
    hours, minutes = (int(part) for part in clock.split(":"))
    if minutes >= HOUR_MINUTES or hours * HOUR_MINUTES + minutes > DAY_MINUTES:
        raise ValueError(f"{text!r}: there is no {clock}; times are 00:00 to 24:00")
    return hours * HOUR_MINUTES + minutes


def _days(names: str | None, text: str) -> frozenset[int]:
    if names is None:
        return frozenset(range(len(DAYS)))
    days: set[int] = set()
    for part in names.split(","):
        first, _, last = (piece.strip() for piece in part.partition("-"))
        for name in (first, last or first):
            if name not in DAYS:
                raise ValueError(f"{text!r}: {name!r} is no day; days are {', '.join(DAYS)}")
        number, end = DAYS.index(first), DAYS.index(last or first)
        days.add(number)
        while number != end:  # fri-mon goes over the end of the week
            number = (number + 1) % len(DAYS)
            days.add(number)
    return frozenset(days)

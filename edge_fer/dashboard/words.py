"""Figures for people."""

from __future__ import annotations

from datetime import datetime, tzinfo
from itertools import pairwise

_UNITS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def clock(unix_ns: int, zone: tzinfo | None = None) -> str:
    """The time of day; in the zone of this machine where none is given."""
    return f"{datetime.fromtimestamp(unix_ns // 1_000_000_000, tz=zone).astimezone(zone):%H:%M:%S}"


def span(seconds: float) -> str:
    """How long, in its two largest units: 2h 03m, 45s."""
    left = max(0, int(seconds))
    for (large, name), (small, small_name) in pairwise(_UNITS):
        if left >= large:
            return f"{left // large}{name} {left % large // small:02d}{small_name}"
    return f"{left}s"


def age(since_ns: int | None, now_ns: int) -> str:
    """How long ago; a time that is still to come, by a clock that is wrong, is now."""
    return "" if since_ns is None else span((now_ns - since_ns) / 1e9)


def amount(count: int, what: str, more: str = "") -> str:
    """`1 face`, `2 faces`."""
    return f"{count} {what if count == 1 else more or what + 's'}"


def mebibytes(count: int) -> str:
    """Memory."""
    return f"{count / 1024**2:.0f} MiB"

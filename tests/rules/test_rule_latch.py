from __future__ import annotations

from edge_fer.rules.hours import QuietHours
from edge_fer.rules.latch import Latch

S = 1_000_000_000
NEVER = QuietHours([], None)


def told(latch: Latch, script: str, *, stays: str | None = None) -> str:
    """One letter a second: `#` holds, `.` does not. The answer: A active, C cleared, - nothing new."""
    marks = {"active": "A", "cleared": "C", None: "-"}
    return "".join(
        marks[latch.update(number * S, number * S, holds=mark == "#", stays=stay == "#")]
        for number, (mark, stay) in enumerate(zip(script, stays or script, strict=True))
    )


def test_an_alert_clears_after_it_has_been_gone_long_enough() -> None:
    assert told(Latch(NEVER, clear_after_s=3, cooldown_s=0), ".##..#....#") == "-A------" + "-CA"


def test_what_stays_keeps_an_alert_that_it_would_not_raise() -> None:
    latch = Latch(NEVER, clear_after_s=0, cooldown_s=0)
    assert told(latch, "..##....", stays=".#####..") == "--A---C-"


def test_a_cooldown_counts_from_one_alert_to_the_next_and_forgets_nothing() -> None:
    assert told(Latch(NEVER, clear_after_s=0, cooldown_s=6), "#.##.####") == "AC----A--"


def test_in_quiet_hours_it_waits() -> None:
    first_minute = QuietHours(["00:00-00:01"], "UTC")
    latch = Latch(first_minute, clear_after_s=0, cooldown_s=0)
    assert latch.update(0, 59 * S, holds=True, stays=True) is None
    assert latch.waited
    assert latch.update(S, 60 * S, holds=True, stays=True) == "active"
    latch = Latch(first_minute, clear_after_s=0, cooldown_s=0)
    latch.update(0, 58 * S, holds=True, stays=True)
    latch.update(S, 59 * S, holds=False, stays=False)
    assert not latch.waited

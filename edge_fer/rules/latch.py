"""From "it holds now" to an alert that does not flicker."""

from __future__ import annotations

from edge_fer.events import AlertState
from edge_fer.rules.hours import QuietHours


class Latch:
    """One rule's alert: active or cleared, by turns; with hysteresis in time, cooldown and quiet hours."""

    def __init__(self, quiet: QuietHours, *, clear_after_s: float, cooldown_s: float) -> None:
        self._quiet = quiet
        self._clear_after_ns, self._cooldown_ns = round(clear_after_s * 1e9), round(cooldown_s * 1e9)
        self._raised_ns: int | None = None  # when it last became active
        self._gone_ns: int | None = None  # since when an active alert has nothing to rest on
        self.active = False
        self.waited = False  # what holds now began to hold in quiet hours, and waited for their end

    def update(self, now_ns: int, unix_ns: int, *, holds: bool, stays: bool) -> AlertState | None:
        """Returns what the alert has just become, if it changed.

        `holds` raises it; an active one goes on while it `stays`, which is less. `now_ns` never goes back.
        """
        if not self.active:
            self.waited = self.waited and holds
            return self._raise(now_ns, unix_ns) if holds else None
        if stays or holds:
            self._gone_ns = None
            return None
        if self._gone_ns is None:
            self._gone_ns = now_ns
        if now_ns - self._gone_ns < self._clear_after_ns:
            return None
        self.clear()
        return "cleared"

    def clear(self) -> None:
        """Clear at once."""
        self.active = self.waited = False
        self._gone_ns = None

    def _raise(self, now_ns: int, unix_ns: int) -> AlertState | None:
        if self._quiet.quiet_at(unix_ns):
            self.waited = True
            return None
        if self._raised_ns is not None and now_ns - self._raised_ns < self._cooldown_ns:
            return None
        self.active, self._raised_ns = True, now_ns
        return "active"

"""How this node is: its problems, and the counters that show one coming."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import psutil

from edge_fer.events import Health, Problem, rfc3339
from edge_fer.privacy import hide_password

PERIOD_S = 60.0
"""Between two samples while no problem comes or goes."""

CHANGE_S = 1.0
"""The least time between two samples: a problem that flickers does not flood."""

TEXT_S = 10.0
"""The same where only the text of a problem changes: it may hold a count."""

LONGEST_TEXT = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What others count; totals since the start."""

    outbox_events: int = 0  # waiting now
    events_lost: int = 0
    camera_restarts: Mapping[str, int] = field(default_factory=dict)
    frames_dropped: Mapping[str, int] = field(default_factory=dict)
    self_test_at: str | None = None
    outbox_bytes: int = 0
    outbox_oldest_s: float = 0.0
    telemetry_lost: int = 0
    clock_synced: bool | None = None


class HealthMonitor:
    """Collects problems, and says when they are to be published. Main thread only."""

    def __init__(self, *, boot_id: str, started_ns: int, unix_ns: Callable[[], int] = time.time_ns) -> None:
        """`started_ns` is of the timeline that `due` and `sample` are asked by."""
        self._boot_id, self._started_ns, self._unix_ns = boot_id, started_ns, unix_ns
        self._process = psutil.Process()
        self._problems: dict[str, Problem] = {}
        self._sampled_ns: int | None = None
        self._sampled: Mapping[str, Problem] = {}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Those of now, the oldest first."""
        return tuple(self._problems.values())

    def set(self, code: str, text: str) -> None:
        """There is this problem; its `since` stays while it lasts, its text may change."""
        text = hide_password(text)[:LONGEST_TEXT]
        known = self._problems.get(code)
        if known is None or known.text != text:
            since = known.since if known else rfc3339(self._unix_ns())
            self._problems[code] = Problem(code=code, text=text, since=since)

    def clear(self, code: str) -> None:
        """There is no such problem (any more)."""
        self._problems.pop(code, None)

    def keep(self, code: str, text: str) -> None:
        """The problem that a part of the daemon tells of itself, in each turn: none while the text is empty."""
        if text:
            self.set(code, text)
        else:
            self.clear(code)

    def due(self, now_ns: int) -> bool:
        """Whether a sample is to be published: there was none, a problem came, went or changed, a period has passed."""
        if self._sampled_ns is None:
            return True
        elapsed_s = (now_ns - self._sampled_ns) / 1e9
        if elapsed_s >= PERIOD_S or (elapsed_s >= TEXT_S and self._problems != self._sampled):
            return True
        return elapsed_s >= CHANGE_S and self._problems.keys() != self._sampled.keys()

    def sample(self, counters: Counters, now_ns: int) -> Health:
        """What to publish now."""
        self._sampled_ns, self._sampled = now_ns, dict(self._problems)
        return Health(
            ok=not self._problems,
            problems=list(self._problems.values()),
            uptime_s=(now_ns - self._started_ns) // 1_000_000_000,
            rss_bytes=self._process.memory_info().rss,
            load_1m=round(os.getloadavg()[0], 2),
            outbox_events=counters.outbox_events,
            events_lost=counters.events_lost,
            camera_restarts=dict(counters.camera_restarts),
            frames_dropped=dict(counters.frames_dropped),
            self_test_at=counters.self_test_at,
            occurred_at=rfc3339(self._unix_ns()),
            boot_id=self._boot_id,
            outbox_bytes=counters.outbox_bytes,
            outbox_oldest_s=round(counters.outbox_oldest_s, 1),
            telemetry_lost=counters.telemetry_lost,
            clock_synced=counters.clock_synced,
        )

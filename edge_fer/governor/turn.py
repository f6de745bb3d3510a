"""The governor in the daemon: newest reading -> level -> pacing, and what is told of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from edge_fer.events import GovernorState, rfc3339
from edge_fer.governor.core import Governor, Held
from edge_fer.governor.levels import SLOWEST
from edge_fer.governor.pacing import Pacing
from edge_fer.governor.settings import GovernorSettings
from edge_fer.sensors.thread import SensorWatch

log = logging.getLogger(__name__)

IDLE_TOLD_NS = 5_000_000_000
"""Least time between two messages that only tell of idle cameras; the newest is told in the end."""


class GovernorTurn:
    """One node's governor. Main thread only; never waits."""

    def __init__(
        self,
        settings: GovernorSettings,
        pacing: Pacing,
        publish: Callable[[GovernorState], None],
        *,
        boot_id: str,
        watch: SensorWatch | None = None,
        throttle_point_c: float | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`watch` None: no sensor is read, and there is only idling."""
        self._governor = Governor(settings, throttle_point_c)
        self._pacing, self._publish, self._watch = pacing, publish, watch
        self._boot_id, self._wall_ns = boot_id, wall_ns
        self._since = ""
        self._told: tuple[Held, list[str]] | None = None
        self._told_ns = 0

    @property
    def held(self) -> Held:
        """The level, and why."""
        return self._governor.held

    @property
    def problem(self) -> str:
        """What people should know: it can go no slower, or goes by a temperature of the past; "" if all is well."""
        held = self.held
        if stuck := self._governor.stuck:
            return f"a sensor of temperature is stuck ({stuck}, whatever the load): the governor does not go by it"
        if self._governor.blind and held.level:
            return held.reason
        return f"looked at as rarely as possible: {held.reason}" if held.level == SLOWEST else ""

    def use(self, settings: GovernorSettings) -> None:
        """Other limits from now on."""
        self._governor.use(settings)
        self._pacing.use(settings)

    def turn(self, now_ns: int) -> None:
        """Take the newest reading; to be called every fraction of a second. `now_ns` is of the readings' clock."""
        held = self._governor.take(self._watch.newest if self._watch else None, now_ns)
        self._pacing.keep_to(held.rate)
        if self._told is None or self._told[0] != held:
            self._log(held)
            if self._told is None or self._told[0].level != held.level:
                self._since = rfc3339(self._wall_ns())
        elif self._told[1] == self._pacing.idle_cameras or now_ns - self._told_ns < IDLE_TOLD_NS:
            return
        self._tell(held, now_ns)

    def _tell(self, held: Held, now_ns: int) -> None:
        idle = self._pacing.idle_cameras
        self._told, self._told_ns = (held, idle), now_ns
        self._publish(
            GovernorState(
                level=held.level,
                levels=SLOWEST,
                cause=held.cause,
                reason=held.reason,
                max_fps=held.rate.max_fps,
                detect_every_frames=held.rate.detect_every_frames,
                idle_cameras=idle,
                since=self._since,
                boot_id=self._boot_id,
            )
        )

    def _log(self, held: Held) -> None:
        before = self._told[0].level if self._told else 0
        if held.level > before:
            log.warning("governor: level %d of %d, looks less often: %s", held.level, SLOWEST, held.reason)
        elif held.level < before:
            log.info("governor: level %d of %d, looks more often: %s", held.level, SLOWEST, held.reason)
        elif held.level:
            log.warning("governor: level %d of %d stays: %s", held.level, SLOWEST, held.reason)

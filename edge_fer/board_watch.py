"""Readings of the board's sensors -> what the node tells of its watts, heat, throttling and power mode."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from edge_fer.events import Power, rfc3339
from edge_fer.power_modes.mode import PowerMode
from edge_fer.remote.errand import Errand
from edge_fer.sensors.energy import MAX_GAP_S, EnergyMeter
from edge_fer.sensors.readings import PowerReading, Reading

log = logging.getLogger(__name__)

HOLD_NS = 60_000_000_000
"""What is held back, or cannot be read, now and then stays a problem for so long after each time: health must not
flutter."""

SILENT_S = 15.0
"""Sensors that have told nothing for so long, or for five of their periods, hang."""

MODE_PERIOD_NS = 60_000_000_000
"""Asking for the power mode runs a program; besides this board's own helper, somebody may set it at the board."""


class Sensing(Protocol):
    """What is needed of the thread that reads the sensors."""

    def readings(self) -> Sequence[Reading]:
        """Those since the last call, the oldest first."""

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""


@dataclass(frozen=True, slots=True)
class Senses:
    """What this board can tell, so that nothing is shown that will never be known."""

    power: bool = False
    temperature: bool = False
    throttling: bool = False
    clock: bool = False
    mode: bool = False

    def __or__(self, other: Senses) -> Senses:
        """All that either can tell."""
        return Senses(
            self.power or other.power,
            self.temperature or other.temperature,
            self.throttling or other.throttling,
            self.clock or other.clock,
            self.mode or other.mode,
        )


@dataclass(frozen=True, slots=True)
class BoardProblems:
    """In words for people; "" where all is well."""

    sensor: str = ""
    throttled: str = ""
    under_voltage: str = ""


class BoardWatch:
    """Follows the sensors and the power mode. Main thread only; never waits."""

    def __init__(
        self,
        sensors: Sensing,
        *,
        boot_id: str,
        sample_s: float,
        ask_mode: Callable[[], PowerMode | None] | None = None,
        throttle_point_c: float | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        unix_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`ask_mode` may wait for a program: it is called in a thread; None: this board has no modes.

        `throttle_point_c` is where the board is slowed down, as far as is known; `clock_ns` is the readings' clock.
        """
        self.throttle_point_c = throttle_point_c
        self._sensors, self._boot_id = sensors, boot_id
        self._silent_ns = round(max(SILENT_S, 5 * sample_s) * 1e9)
        self._ask_mode, self._asking, self._mode_due_ns = ask_mode, Errand[PowerMode | None]("power mode"), 0
        self._mode: PowerMode | None = None
        self._clock_ns, self._unix_ns = clock_ns, unix_ns
        self._newest: Reading | None = None
        self._newest_ns = self._sampled_ns = clock_ns()
        self._energy = EnergyMeter(max(MAX_GAP_S, 3 * sample_s))
        self._sampled_j, self._sampled_energy_s = 0.0, 0.0
        self._hangs = False
        self._held_ns: dict[str, int] = {}  # when a flag was last seen
        self._broken: tuple[tuple[str, ...], int] = ((), 0)  # problems of the sensors, and when they were last seen
        self.senses = Senses(mode=ask_mode is not None)
        """What it has told so far."""

    @property
    def newest(self) -> Reading | None:
        """The newest reading, however old it is; None before the first."""
        return self._newest

    @property
    def energy_j(self) -> float | None:
        """Energy since the start; None where watts were never read."""
        return self._energy.energy_j

    @property
    def reading(self) -> Reading | None:
        """The newest; None before the first, and where the sensors hang: nothing may be decided on an old one."""
        return None if self._silent_for_ns > self._silent_ns else self._newest

    @property
    def mode(self) -> PowerMode | None:
        """The power mode as it was asked for last; None where there is none, or it is not known."""
        return self._mode

    def ask_mode_again(self) -> None:
        """Somebody has just set it. From any thread."""
        self._mode_due_ns = 0

    def turn(self) -> None:
        """Take what the sensors have read since the last turn."""
        for reading in self._sensors.readings():
            self._take(reading)
        self._log_silence()
        self._follow_mode(self._clock_ns())

    @property
    def problems(self) -> BoardProblems:
        """What is wrong now."""
        return BoardProblems(self._sensor_problem(), self._throttled(), self._under_voltage())

    def sample(self) -> Power:
        """What to publish of the time since the last sample."""
        now_ns, reading = self._clock_ns(), self.reading
        period_s, self._sampled_ns = (now_ns - self._sampled_ns) / 1e9, now_ns
        power = reading.power if reading else PowerReading("unavailable", reason=self._sensor_problem() or _NOT_YET)
        energy_j = self._energy.energy_j
        hottest = reading.hottest if reading else None
        online = [core for core in reading.cores if core.online] if reading else []
        clocks = [core.mhz for core in online if core.mhz is not None]
        throttling = reading.throttling if reading else None
        return Power(
            source=power.source,
            reason=power.reason,
            total_w=self._mean_w(power),
            rails_w={rail.name: round(rail.power_w, 3) for rail in power.rails},
            energy_j=None if energy_j is None else round(energy_j, 2),
            mode=self._mode.name if self._mode else None,
            mode_id=self._mode.id if self._mode else None,
            temperature_c=round(hottest.celsius, 1) if hottest else None,
            temperatures_c={zone: round(celsius, 1) for zone, celsius in (reading.temperatures if reading else ())},
            throttled=list(throttling.now) if throttling else [],
            throttled_since_boot=list(throttling.since_boot) if throttling else [],
            throttling_known=throttling is not None,
            cpu_mhz=round(sum(clocks) / len(clocks), 1) if clocks else None,
            cores_online=len(online) if online else None,
            period_s=round(period_s, 3),
            occurred_at=rfc3339(self._unix_ns()),
            boot_id=self._boot_id,
        )

    @property
    def _silent_for_ns(self) -> int:
        return self._clock_ns() - self._newest_ns

    def _log_silence(self) -> None:
        if self._hangs != (hangs := self._silent_for_ns > self._silent_ns):
            self._hangs = hangs
            if hangs:
                log.warning("sensor: %s", self._sensor_problem())
            else:
                log.info("sensors: they answer again")

    def _take(self, reading: Reading) -> None:
        self._newest, self._newest_ns = reading, reading.time_ns
        if reading.problems:
            self._broken = reading.problems, reading.time_ns
        self._energy.add(reading)
        for flag in reading.throttling.now if reading.throttling else ():
            self._held_ns[flag] = reading.time_ns
        self.senses |= Senses(
            # One that counts energy tells no watts before its second reading.
            power=reading.power.total_w is not None or reading.power.energy_j is not None,
            temperature=bool(reading.temperatures),
            throttling=reading.throttling is not None,
            clock=any(core.mhz is not None for core in reading.cores),
        )

    def _mean_w(self, power: PowerReading) -> float | None:
        """Energy over the time that it was measured in; before two readings are in a period, the newest one."""
        energy_j, energy_s = self._energy.energy_j or 0.0, self._energy.seconds
        joules, seconds = energy_j - self._sampled_j, energy_s - self._sampled_energy_s
        self._sampled_j, self._sampled_energy_s = energy_j, energy_s
        if power.total_w is None:
            return None
        return round(joules / seconds if seconds > 0 else power.total_w, 3)

    def _follow_mode(self, now_ns: int) -> None:
        if self._ask_mode is None:
            return
        if self._asking.busy:
            # None is an answer too: there is no telling it from "not yet" but by the errand's being busy no more.
            found = self._asking.take()
            if self._asking.busy:
                return
            if isinstance(found, Exception):
                log.debug("the power mode is not known: %s", found)
                found = None
            self._mode = found
        elif now_ns >= self._mode_due_ns:
            self._mode_due_ns = now_ns + MODE_PERIOD_NS
            self._asking.start(self._ask_mode)

    def _sensor_problem(self) -> str:
        if not self._sensors.alive:
            return "the thread of the sensors has crashed, its error is in the log; cameras are watched all the same"
        silent_ns = self._silent_for_ns
        if silent_ns > self._silent_ns:
            # In steps, or the text would change with each look.
            minutes = silent_ns // 60_000_000_000
            return f"the sensors have not answered for {f'{minutes} min' if minutes else 'some seconds'}"
        problems, seen_ns = self._broken
        if not problems or self._newest_ns - seen_ns > HOLD_NS:
            return ""
        return problems[0] + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")

    def _lately(self) -> list[str]:
        """Flags of the last minute, by the clock of the newest reading."""
        return sorted(flag for flag, seen_ns in self._held_ns.items() if self._newest_ns - seen_ns <= HOLD_NS)

    def _throttled(self) -> str:
        flags = [flag for flag in self._lately() if flag != "under-voltage"]
        return f"the board was held back within the last minute: {', '.join(flags)}" if flags else ""

    def _under_voltage(self) -> str:
        if "under-voltage" not in self._lately():
            return ""
        return "the supply gave too little voltage within the last minute: take a stronger one, or a shorter cable"


_NOT_YET = "not read yet"

"""What sensors tell: frozen values, units in the names. Missing is None or empty, never 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

PowerSource = Literal["measured", "estimated", "unavailable"]

ThrottleFlag = Literal["under-voltage", "frequency-capped", "throttled", "soft-temperature-limit", "over-current"]


class Rail(NamedTuple):
    """One supply line of the board."""

    name: str
    power_w: float
    in_total: bool  # whether the total is made of it


@dataclass(frozen=True, slots=True)
class PowerReading:
    """Watts of the board at one moment; of a meter that counts energy, since its last reading."""

    source: PowerSource
    total_w: float | None = None  # None: unavailable; with another source, not known yet (a counter's first reading)
    rails: tuple[Rail, ...] = ()
    energy_j: float | None = None  # of a meter that counts energy, since it was opened; wraps are undone
    reason: str = ""  # why it is unavailable or only estimated, or what it leaves out


class Temperature(NamedTuple):
    """One thermal zone."""

    zone: str
    celsius: float


class Throttling(NamedTuple):
    """What the firmware or kernel held the board back for."""

    now: tuple[ThrottleFlag, ...] = ()
    since_boot: tuple[ThrottleFlag, ...] = ()


class Core(NamedTuple):
    """One processor core."""

    number: int
    online: bool
    mhz: float | None = None  # now; None where it is offline or the kernel does not tell
    max_mhz: float | None = None  # that it may reach now (scaling_max_freq)


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything at one moment."""

    time_ns: int  # time.monotonic_ns() or what the tests have for it
    power: PowerReading
    temperatures: tuple[Temperature, ...] = ()
    throttling: Throttling | None = None  # None: this machine does not tell
    cores: tuple[Core, ...] = ()
    problems: tuple[str, ...] = ()  # sensors that exist but cannot be read, a line each

    @property
    def hottest(self) -> Temperature | None:
        """The hottest zone."""
        return max(self.temperatures, key=lambda zone: zone.celsius, default=None)

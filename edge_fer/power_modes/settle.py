"""After a change of mode: wait until the cores and their caps are what they will be."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_fer.power_modes.mode import PowerMode
from edge_fer.sensors.machine import Machine

QUIET_S = 1.0
TIMEOUT_S = 15.0
_LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Settled:
    """How the waiting ended."""

    seconds: float
    note: str = ""  # what is not as the mode says; "" where all is well


Settle = Callable[[Machine, PowerMode], Settled]


def settle_clocks(
    machine: Machine,
    mode: PowerMode,
    *,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Settled:
    """Wait until nothing has changed for QUIET_S, at most TIMEOUT_S.

    Looked at are the cores online and their caps, not their clocks, which follow the load.
    """
    start = quiet_since = clock()
    seen = _state(machine)
    while (now := clock()) - quiet_since < QUIET_S:
        if now - start > TIMEOUT_S:
            return Settled(now - start, f"cores and clocks were still changing after {TIMEOUT_S:g} s")
        pause(_LOOK_EVERY_S)
        if (found := _state(machine)) != seen:
            seen, quiet_since = found, clock()
    online = sum(on for _, on, _ in seen)
    if mode.cores is not None and seen and online != mode.cores:
        return Settled(now - start, f"{online} cores are online; mode {mode} has {mode.cores}")
    return Settled(now - start)


def _state(machine: Machine) -> list[tuple[str, bool, str]]:
    """Core, whether it is online, its cap."""
    cores = sorted(machine.sys.glob("devices/system/cpu/cpu[0-9]*"))
    return [(core.name, _text(core / "online") != "0", _text(core / "cpufreq/scaling_max_freq")) for core in cores]


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:  # cpu0 has no such file on many boards; a core that is going offline loses its own
        return ""

"""The board's sensors, read while something is measured."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edge_fer.bench.window import Clocks, Watch
from edge_fer.sensors.machine import Machine
from edge_fer.sensors.readings import Core

SAMPLE_S = 0.5
"""Twenty readings in the ten seconds of a row; a bus or a program is asked for each of them."""


@dataclass(frozen=True, slots=True)
class Senses:
    """A board's name and its readings."""

    board: str
    watch: Watch
    clocks: Clocks


@contextmanager
def sensing(machine: Machine) -> Iterator[Senses]:
    """Read the sensors of a machine until the end."""
    from edge_fer.sensors.sensors import Sensors
    from edge_fer.sensors.thread import SensorThread

    sensors = Sensors(machine, time.monotonic_ns)
    with SensorThread(sensors, SAMPLE_S, time.monotonic_ns) as thread:
        yield Senses(sensors.board.name, thread, Clocks())


def cores_online(cores: tuple[Core, ...]) -> tuple[int, int, float | None]:
    """How many are online, how many there are, and the highest clock that one which is online may reach."""
    online = [core for core in cores if core.online]
    limits = [limit for core in online if (limit := core.max_mhz or core.mhz)]
    return len(online), len(cores), max(limits, default=None)

"""This board's sensors, as a tuning reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from edge_fer.bench.speed import measure_idle, measure_speed
from edge_fer.power_modes.modes import open_power_modes
from edge_fer.sensors.machine import Machine
from edge_fer.sensors.sensors import Sensors
from edge_fer.sensors.thread import SensorThread
from edge_fer.tune.tuning import Meter

SAMPLE_S = 0.2
"""Short parts of a round must still have several readings."""

IDLE_S = 5.0


@contextmanager
def open_meter(machine: Machine | None = None, *, idle_s: float = IDLE_S) -> Iterator[Meter]:
    """Read the sensors as long as this is open; the idle floor is measured first, where there are watts."""
    machine = machine or Machine()
    sensors, mode = Sensors(machine), open_power_modes(machine).current()
    power = sensors.read().power
    with SensorThread(sensors, SAMPLE_S) as watch:
        known = power.source != "unavailable"
        idle = measure_idle(watch, idle_s) if known else None
        doubts = (f"while the idle floor was measured, {idle.disturbed}",) if idle and idle.disturbed else ()
        # Without watts the readings still tell what the board was held back for.
        measure = partial(measure_speed, watch=watch, idle_w=idle.watts.total_w if idle else None)
        yield Meter(measure, power.source, power.reason, str(mode) if mode else None, doubts)

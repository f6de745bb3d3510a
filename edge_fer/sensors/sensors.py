"""All sensors of a machine, opened once and read together."""

from __future__ import annotations

import time
from collections.abc import Callable

from edge_fer.sensors.board import Board, read_board
from edge_fer.sensors.cores import Cores
from edge_fer.sensors.machine import Machine
from edge_fer.sensors.power import open_power_meter
from edge_fer.sensors.readings import Reading
from edge_fer.sensors.thermal import Thermometer, throttle_point_c
from edge_fer.sensors.throttling import open_throttling
from edge_fer.sensors.vcgencmd import Vcgencmd


class Sensors:
    """Watts, temperatures, throttling and clocks. Read by one thread.

    Neither opening nor reading raises: what the machine does not have is None or empty, and what is broken is told in
    `Reading.problems`. Files that vanish are looked for again, as the numbers of hwmon move.
    """

    def __init__(self, machine: Machine | None = None, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """Find what there is below the machine's root; None: this very machine."""
        self.machine = machine or Machine()
        self.board: Board = read_board(self.machine)
        self._clock_ns = clock_ns
        vcgencmd = Vcgencmd(self.machine)
        self._meter = open_power_meter(self.machine, self.board, vcgencmd)
        self._thermometer = Thermometer(self.machine)
        self._throttling = open_throttling(self.machine, self.board, vcgencmd)
        self._cores = Cores(self.machine)
        self._throttle_point_c = throttle_point_c(self.machine, self.board)

    @property
    def throttle_point_c(self) -> float | None:
        """From which temperature kernel or firmware slow the processor down; None where they do not tell."""
        return self._throttle_point_c

    def read(self) -> Reading:
        """Everything now; takes a fraction of a ms, and some ms where a program has to be asked."""
        time_ns = self._clock_ns()
        power = self._meter.read(time_ns)
        temperatures = self._thermometer.read()
        throttling = self._throttling.read(time_ns) if self._throttling else None
        cores = self._cores.read()
        problems = (
            *self._meter.problems,
            *self._thermometer.problems,
            *(self._throttling.problems if self._throttling else ()),
            *self._cores.problems,
        )
        return Reading(time_ns, power, temperatures, throttling, cores, problems)

"""Watts of the board: whichever meter it has, with the total that is right for it."""

from __future__ import annotations

from typing import Protocol

from edge_fer.sensors.board import Board, read_board
from edge_fer.sensors.ina3221 import Ina3221Meter, has_ina3221
from edge_fer.sensors.machine import Machine
from edge_fer.sensors.pmic import PmicMeter
from edge_fer.sensors.rapl import RaplMeter, has_rapl
from edge_fer.sensors.readings import PowerReading
from edge_fer.sensors.vcgencmd import Vcgencmd


class PowerMeter(Protocol):
    """Reads watts; opened once."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be read the last time, though it exists; a line each."""

    def read(self, time_ns: int) -> PowerReading:
        """Watts now. Never raises: what is broken is "unavailable", with the reason."""


class NoMeter:
    """A machine without a power sensor."""

    problems: tuple[str, ...] = ()

    def __init__(self, reason: str) -> None:
        self._reading = PowerReading("unavailable", reason=reason)

    def read(self, time_ns: int) -> PowerReading:  # noqa: ARG002 - of the Protocol
        """Unavailable, always."""
        return self._reading


def open_power_meter(machine: Machine, board: Board | None = None, vcgencmd: Vcgencmd | None = None) -> PowerMeter:
    """The meter of this machine: INA3221 (Jetson), PMIC (Raspberry Pi 5), RAPL (PC), or none, with the reason."""
    board = board or read_board(machine)
    if has_ina3221(machine):
        return Ina3221Meter(machine)
    if board.key == "raspberry-pi-5":
        return PmicMeter(vcgencmd or Vcgencmd(machine))
    if board.raspberry_pi:
        return NoMeter(f"{board.name} has no power sensor")
    if board.jetson:
        return NoMeter(f"no INA3221 below {machine.sys}/bus/i2c/devices, which is where a Jetson has its power sensor")
    if has_rapl(machine):
        return RaplMeter(machine)
    return NoMeter("this machine has no power sensor (INA3221, PMIC or RAPL)")

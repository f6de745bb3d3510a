"""The power modes of a machine, of whichever kind it has."""

from __future__ import annotations

import os

from edge_fer.errors import UnavailableError
from edge_fer.power_modes.frequency_caps import FrequencyCaps
from edge_fer.power_modes.mode import Backend, ModeKind, PowerMode
from edge_fer.power_modes.nvpmodel import Nvpmodel
from edge_fer.sensors.machine import Machine

CAPS_ONLY = "this board has no watt budgets (no nvpmodel); its CPU clock can be capped, which is no power mode"
NOTHING = "this machine has neither power modes (no nvpmodel) nor a clock that can be capped (no cpufreq)"


class PowerModes:
    """What can be chosen on this machine. Opened once; `current` looks again each time."""

    def __init__(self, machine: Machine, backend: Backend | None, why_none: str) -> None:
        """See `open_power_modes`."""
        self.machine, self.backend = machine, backend
        self.why_none = why_none
        """Why there are no modes with watt budgets; "" where there are."""

    @property
    def kind(self) -> ModeKind | None:
        """Power modes of nvpmodel, caps of the clock, or nothing."""
        return self.backend.kind if self.backend else None

    @property
    def modes(self) -> tuple[PowerMode, ...]:
        """In the order of the board's list; caps from the lowest to the highest."""
        return self.backend.modes if self.backend else ()

    def current(self) -> PowerMode | None:
        """What is set now; None where there is nothing to set, or the board does not tell."""
        try:
            return self.backend.current() if self.backend else None
        except UnavailableError:
            return None


def open_power_modes(machine: Machine) -> PowerModes:
    """Find out what the machine has; never raises. A broken list is told in `why_none`, and nothing is set then."""
    if os.path.lexists(machine.etc / "nvpmodel.conf"):  # a link that leads nowhere is broken, and not missing
        try:
            return PowerModes(machine, Nvpmodel(machine), "")
        except UnavailableError as err:
            return PowerModes(machine, None, str(err))
    try:
        caps = FrequencyCaps(machine)
    except (UnavailableError, OSError) as err:
        return PowerModes(machine, None, f"the CPU clock cannot be capped: {err}")
    return PowerModes(machine, caps, CAPS_ONLY) if caps.modes else PowerModes(machine, None, NOTHING)

"""In which power modes a diagnosis is made."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from edge_fer.bench.plan import Plan
from edge_fer.power_modes.apply import Applied, applied
from edge_fer.power_modes.choose import NoModesError, choose_mode, others_of_budget
from edge_fer.power_modes.mode import PowerMode
from edge_fer.power_modes.modes import PowerModes, open_power_modes
from edge_fer.sensors.board import read_board

UNTOUCHED = "as it was set already"
CAP = "a cap of the clock, no power mode: it has no budget of watts"


@dataclass(frozen=True, slots=True)
class ModeChoice:
    """One mode to measure in."""

    modes: PowerModes
    mode: PowerMode | None  # None: this machine has none
    note: str
    to_set: bool = False

    @property
    def budget_w(self) -> float | None:
        """Nominal watts, out of the mode's name."""
        return self.mode.budget_w if self.mode else None

    def applied(self) -> AbstractContextManager[Applied | None]:
        """Set it, if it is to be set, and come back to the mode before in the end."""
        if self.mode is None or not self.to_set:
            return nullcontext()
        return applied(self.modes, self.mode)


def choose_modes(plan: Plan) -> tuple[list[ModeChoice], list[str]]:
    """The modes that a plan asks for, and warnings. UsageError for one that does not exist."""
    modes = open_power_modes(plan.machine)
    if plan.all_modes:
        return _all(modes)
    if plan.power_mode is None:
        return [_untouched(modes)], []
    try:
        mode = choose_mode(modes, plan.power_mode, read_board(plan.machine).key)
    except NoModesError as err:
        choice = _untouched(modes)
        return [choice], [f"{err}. Measured without setting anything; speeds are those of this machine as it is."]
    return [ModeChoice(modes, mode, _note(modes, mode), to_set=True)], []


def _all(modes: PowerModes) -> tuple[list[ModeChoice], list[str]]:
    reachable = [mode for mode in modes.modes if not mode.needs_reboot]
    left = [str(mode) for mode in modes.modes if mode.needs_reboot]
    warnings = [f"not measured, as they need a reboot: {', '.join(left)}"] if left else []
    if not reachable:
        return [_untouched(modes)], [*warnings, f"--all-modes: {modes.why_none or 'no mode can be set here'}"]
    return [ModeChoice(modes, mode, _note(modes, mode), to_set=True) for mode in reachable], warnings


def _untouched(modes: PowerModes) -> ModeChoice:
    # Clocks that nobody capped are no mode that anybody chose.
    current = modes.current() if modes.kind == "nvpmodel" else None
    return ModeChoice(modes, current, UNTOUCHED if current else modes.why_none or "the board does not tell its mode")


def _note(modes: PowerModes, mode: PowerMode) -> str:
    set_or_not = UNTOUCHED if modes.current() == mode else "set for this run"
    if mode.kind == "frequency-cap":
        return f"{set_or_not}; {CAP}"
    alike = ", ".join(map(str, others_of_budget(modes, mode)))
    return f"{set_or_not}; of the same budget: {alike}" if alike else set_or_not

"""From what a person writes, "15W", "2" or "MODE_15W", to one mode of the board."""

from __future__ import annotations

import difflib
import re

from edge_fer.errors import UnavailableError, UsageError
from edge_fer.power_modes.mode import PowerMode
from edge_fer.power_modes.modes import PowerModes

PREFERRED: dict[str, dict[float, str]] = {
    "jetson-agx-xavier": {15: "MODE_15W", 30: "MODE_30W_ALL"},
    "jetson-xavier-nx": {10: "MODE_10W_4CORE", 15: "MODE_15W_6CORE", 20: "MODE_20W_6CORE"},
}
"""Board -> watts -> the mode that is meant where several have that budget: all cores it allows, none of the DESKTOP
modes, which trade the GPU for CPU clock. On an AGX Xavier these are also the plain 15 W and 30 W modes."""

_WATTS = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,2})?)W")
_ALMOST_WATTS = re.compile(r"([0-9]{1,4}(?:[.,][0-9]{1,2})?)\s*(?:w|watts?)?", re.IGNORECASE)


class NoModesError(UnavailableError):
    """A watt budget was asked for on a machine that has none; the speed can still be measured."""


def choose_mode(modes: PowerModes, wanted: str, board_key: str = "") -> PowerMode:
    """The mode that is meant by a name, an id, or a budget such as 15W; spelled exactly so.

    UsageError, with all that there is, for what does not exist and where several are meant and PREFERRED has none for
    this board; NoModesError for a budget on a machine without them.
    """
    named = [mode for mode in modes.modes if mode.name == wanted]
    found = named or [mode for mode in modes.modes if mode.id is not None and str(mode.id) == wanted]
    watts = _WATTS.fullmatch(wanted)
    if not found and watts:
        if modes.kind != "nvpmodel":
            raise NoModesError(f"power mode {wanted}: {modes.why_none}{_caps(modes)}")
        found = [mode for mode in modes.modes if mode.budget_w == float(watts[1])]
        preferred = PREFERRED.get(board_key, {}).get(float(watts[1]))
        found = [mode for mode in found if mode.name == preferred] or found
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(_told(mode) for mode in found)
        raise UsageError(f"power mode {wanted!r} is {len(found)} modes of this board: {listed}; name one, or its id")
    raise UsageError(f"there is no power mode {_shown(wanted)}{_nearest(modes, wanted)}; {_available(modes)}")


def others_of_budget(modes: PowerModes, mode: PowerMode) -> tuple[PowerMode, ...]:
    """The other modes with the same nominal watts, which could have been meant too."""
    return tuple(
        one for one in modes.modes if one.budget_w is not None and one.budget_w == mode.budget_w and one != mode
    )


def _available(modes: PowerModes) -> str:
    if not modes.modes:
        return modes.why_none
    listed = ", ".join(_told(mode) for mode in modes.modes)
    if modes.kind == "frequency-cap":
        return f"{modes.why_none}: {listed}"
    return f"this board has {listed}; give a name, an id, or a budget such as {_example(modes)}"


def _told(mode: PowerMode) -> str:
    marks = [*(["default"] if mode.default else []), *(["needs a reboot"] if mode.needs_reboot else [])]
    return f"{mode} ({', '.join(marks)})" if marks else str(mode)


def _example(modes: PowerModes) -> str:
    return next((f"{mode.budget_w:g}W" for mode in modes.modes if mode.budget_w is not None), "15W")


def _caps(modes: PowerModes) -> str:
    return f": {', '.join(mode.name for mode in modes.modes)}" if modes.kind == "frequency-cap" else ""


def _nearest(modes: PowerModes, wanted: str) -> str:
    budgets = {f"{mode.budget_w:g}W" for mode in modes.modes if mode.budget_w is not None}
    known = [*(mode.name for mode in modes.modes), *sorted(budgets)]
    if (almost := _ALMOST_WATTS.fullmatch(wanted.strip())) and (text := f"{almost[1].replace(',', '.')}W") in known:
        return f"; did you mean {text}?"
    by_key = {name.upper(): name for name in known}
    near = difflib.get_close_matches(wanted.strip().upper(), by_key, n=1, cutoff=0.7)
    return f"; did you mean {by_key[near[0]]}?" if near else ""


def _shown(wanted: str) -> str:
    """What was given, harmless and short."""
    return ascii(wanted if len(wanted) <= 60 else wanted[:60] + "...")  # noqa: PLR2004 - a line stays a line

"""A mode that is to stay: what the helper does as root, and `edge-fer power-mode MODE`."""

from __future__ import annotations

from edge_fer.power_modes.choose import NoModesError, choose_mode
from edge_fer.power_modes.interruption import Interruption
from edge_fer.power_modes.lease import Lease
from edge_fer.power_modes.mode import NeedsRebootError, NeedsRootError, PowerMode
from edge_fer.power_modes.modes import PowerModes


def set_power_mode(modes: PowerModes, wanted: str, board_key: str = "") -> PowerMode:
    """Set the mode that is meant, and leave it so.

    UsageError, NoModesError as `choose_mode`; NeedsRebootError, NeedsRootError; UnavailableError also while a
    measurement has the mode changed. A mode that is set already is no error, and needs no root.
    """
    mode = choose_mode(modes, wanted, board_key)
    if modes.backend is None:  # there was nothing to choose from
        raise NoModesError(modes.why_none)
    if mode.needs_reboot:
        raise NeedsRebootError(mode)
    lease = Lease(modes.machine)
    with Interruption():  # a Ctrl-C is obeyed afterwards: half a mode is none
        try:
            lease.take()
            if modes.current() != mode:
                modes.backend.set(mode)
            lease.forget()  # what a killed run would have restored is out of date now
        except NeedsRootError:
            if modes.current() != mode:
                raise NeedsRootError(mode) from None
        finally:
            lease.release()
    return mode

"""What a power mode is, on every kind of board."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from edge_fer.errors import UnavailableError

ModeKind = Literal["nvpmodel", "frequency-cap"]


@dataclass(frozen=True, slots=True)
class PowerMode:
    """One entry of the board's list, or one cap of its clock."""

    kind: ModeKind
    id: int | None  # of nvpmodel; None of a frequency cap
    name: str  # as the board has it: "MODE_15W"; of a cap "1200MHz"
    budget_w: float | None = None  # nominal watts, out of its name; None where it has none (MAXN, frequency caps)
    default: bool = False
    cores: int | None = None  # online in this mode
    cpu_max_mhz: float | None = None
    needs_reboot: bool = False  # cannot be reached from the mode that is set now

    def __str__(self) -> str:
        """As results name it: "2 MODE_15W"."""
        return self.name if self.id is None else f"{self.id} {self.name}"


class NeedsRebootError(UnavailableError):
    """The mode cannot be set while the board runs."""

    def __init__(self, mode: PowerMode) -> None:
        super().__init__(
            f"power mode {mode} needs a reboot, which is left to you: sudo nvpmodel -m {mode.id}, answer its question, "
            f"and measure again after the reboot"
        )


class NeedsRootError(UnavailableError):
    """The user may not set power modes."""

    def __init__(self, mode: object) -> None:
        super().__init__(
            f"setting power mode {mode} needs root: run the same command with sudo (sudo edge-fer ..., "
            f"by its full path where sudo does not find it)"
        )


class Backend(Protocol):
    """What sets modes on one kind of board. Errors are UnavailableError."""

    kind: ModeKind
    modes: tuple[PowerMode, ...]

    def current(self) -> PowerMode | None:
        """What is set now; None where that cannot be told."""

    def check_ready(self) -> None:
        """UnavailableError where what is set now could not be restored later."""

    def set(self, mode: PowerMode) -> None:
        """Set it, and see that it is set."""

    def snapshot(self) -> str:
        """What `restore` needs to come back to what is set now."""

    def expected(self, mode: PowerMode) -> str:
        """What `snapshot` will be in a mode."""

    def holds(self, snapshot: str, before: str = "") -> bool:
        """Whether what a snapshot tells still holds, so that nobody else has changed it; parts may be as `before`."""

    def restore(self, snapshot: str) -> None:
        """Come back to it."""

    def describe(self, snapshot: str) -> str:
        """What a snapshot is, for people."""

    def cure(self, snapshot: str) -> str:
        """The command that restores it by hand."""

    def survives_boot(self) -> bool:
        """Whether what is set now is still set after a reboot."""

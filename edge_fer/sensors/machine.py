"""The machine whose sensors are read: its root folder, and where its programs are."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from edge_fer.errors import UsageError


@dataclass(frozen=True, slots=True)
class Machine:
    """Everything that is asked of the hardware goes through here; a folder with a board's files is one too."""

    root: Path = Path("/")
    """Above `sys`, `proc` and `etc`."""

    path: str | None = None
    """Where nvpmodel, vcgencmd and systemctl are looked for, as PATH has it; None: the environment's own."""

    @property
    def sys(self) -> Path:
        """What is /sys on the machine itself."""
        return self.root / "sys"

    @property
    def proc(self) -> Path:
        """What is /proc on the machine itself."""
        return self.root / "proc"

    @property
    def etc(self) -> Path:
        """What is /etc on the machine itself."""
        return self.root / "etc"

    def program(self, name: str) -> str | None:
        """Where a program of the board is; None where it has none."""
        return shutil.which(name, path=self.path)


def machine_below(root: Path | None) -> Machine:
    """This machine, or a folder with a board's files, whose programs are below it too; UsageError for no folder."""
    if root is None:
        return Machine()
    try:
        found = root.is_dir()
    except OSError as err:  # a folder of others
        raise UsageError(f"--root {root}: cannot be read ({err.strerror})") from err
    if not found:
        raise UsageError(f"--root {root}: there is no such folder; give one with a board's sys, proc and etc")
    return Machine(root, f"{root}/usr/bin:{root}/usr/sbin")

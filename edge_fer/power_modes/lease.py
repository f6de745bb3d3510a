"""Who may change the power mode, one at a time; and what it was before, kept over a kill and a power failure."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from dataclasses import asdict, dataclass

from edge_fer.errors import UnavailableError
from edge_fer.memory.state_folder import replace_file
from edge_fer.power_modes.mode import NeedsRootError
from edge_fer.sensors.machine import Machine

FOLDER = "var/lib/edge-fer-power-mode"
LOCK_FILE, BEFORE_FILE = "lock", "before.json"
_LARGEST_FILE = 100_000
_KINDS = {"kind": str, "before": str, "during": str, "survives_boot": bool, "boot_id": str}


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """What a run that changes the mode writes down, so that another can restore it."""

    kind: str
    before: str  # snapshots, as the backend has them
    during: str
    survives_boot: bool


class Lease:
    """The right to change the mode of this machine. Root has it; a second one is refused while the first works."""

    def __init__(self, machine: Machine) -> None:
        self._folder = machine.root / FOLDER
        self._boot_id_file = machine.proc / "sys/kernel/random/boot_id"
        self._lock_fd = -1

    def take(self) -> None:
        """NeedsRootError for others than root; UnavailableError while somebody else has it."""
        try:
            self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._lock_fd = os.open(self._folder / LOCK_FILE, flags, 0o600)
        except OSError as err:
            if err.errno in (errno.EACCES, errno.EPERM):
                raise NeedsRootError("of this machine") from err
            raise UnavailableError(f"{self._folder} cannot be written: {err.strerror}") from err
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            holder = os.pread(self._lock_fd, 20, 0).decode(errors="replace").strip()
            self.release()
            raise UnavailableError(
                f"busy: a measurement (process {holder or 'unknown'}) has changed the power mode and will restore it; "
                f"wait for its end"
            ) from err
        except OSError as err:
            self.release()
            raise UnavailableError(f"{self._folder / LOCK_FILE} cannot be locked: {err.strerror}") from err
        with contextlib.suppress(OSError):  # only for a message; a full disk is found by writing
            os.ftruncate(self._lock_fd, 0)
            os.pwrite(self._lock_fd, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Let others have it."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def remember(self, left: LeftBehind) -> None:
        """Write down what to restore; UnavailableError where that is not possible, and then nothing may be changed."""
        text = json.dumps({**asdict(left), "boot_id": self._boot_id()})
        try:
            replace_file(self._folder / BEFORE_FILE, text.encode())
        except OSError as err:
            raise UnavailableError(f"{self._folder / BEFORE_FILE} cannot be written: {err.strerror}") from err

    def forget(self) -> None:
        """All is restored."""
        with contextlib.suppress(FileNotFoundError):
            (self._folder / BEFORE_FILE).unlink()

    def left_behind(self) -> LeftBehind | None:
        """What a run did not restore that was killed; None where there is nothing, or a reboot has undone it."""
        try:
            with (self._folder / BEFORE_FILE).open("rb") as file:
                found = json.loads(file.read(_LARGEST_FILE))
        except (OSError, ValueError):
            return None
        if not isinstance(found, dict) or not all(isinstance(found.get(key), kind) for key, kind in _KINDS.items()):
            return None
        boot_id = found["boot_id"]
        left = LeftBehind(found["kind"], found["before"], found["during"], found["survives_boot"])
        return left if left.survives_boot or boot_id == self._boot_id() else None

    def _boot_id(self) -> str:
        try:
            return self._boot_id_file.read_text().strip()
        except OSError:
            return ""

"""What is asked of systemd."""

import re
from pathlib import Path
from typing import Dict, Iterable

from deploy.release.errors import UnavailableError
from deploy.release.host import Host

OLDEST = 235
"""The first that counts restarts (NRestarts), which the gate watches."""

CREDENTIALS = 247
"""The first that knows LoadCredential=."""

STOP_S = 150.0
"""A unit has 90 s to stop before systemd kills it."""


class Systemd:
    """systemctl and journalctl of a host."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def version(self) -> int:
        """Zero where there is none, or no version can be told."""
        found = re.match(r"systemd (\d+)", self._host.run("systemctl", "--version").out)
        return int(found.group(1)) if found else 0

    def show(self, unit: str, properties: Iterable[str]) -> Dict[str, str]:
        """Properties of a unit; empty where systemd does not answer."""
        done = self._host.run("systemctl", "show", unit, "-p", ",".join(properties), timeout_s=20)
        if done.code:
            return {}
        return dict(line.partition("=")[::2] for line in done.out.splitlines() if "=" in line)

    def reload(self) -> None:
        """Have it read the unit files again."""
        self._must("daemon-reload")

    def enable(self, unit: str) -> None:
        """Have a unit started with the machine."""
        self._must("enable", unit)

    def start(self, unit: str) -> None:
        """Have a unit started, without waiting for it; earlier failures do not count any more."""
        self._host.run("systemctl", "reset-failed", unit)  # fails where there is nothing to be reset
        self._must("start", "--no-block", unit)

    def stop(self, unit: str) -> None:
        """Stop a unit, and wait for its end; one that is not there is stopped."""
        done = self._host.run("systemctl", "stop", unit, timeout_s=STOP_S)
        if done.code and "not loaded" not in done.err:
            raise UnavailableError(f"systemctl stop {unit}: {done.last}")

    def forget(self, unit: str) -> None:
        """Stop a unit and have it not started any more, whatever there is of it."""
        self._host.run("systemctl", "stop", unit, timeout_s=STOP_S)
        self._host.run("systemctl", "disable", unit)
        self._host.run("systemctl", "reset-failed", unit)

    def journal(self, unit: str, lines: int) -> str:
        """Its last lines."""
        done = self._host.run("journalctl", "--no-pager", "-o", "short-iso", "-u", unit, "-n", str(lines))
        return done.out if done.code == 0 else f"journalctl: {done.last}"

    def create_tmpfiles(self, file: Path) -> str:
        """Apply a file of tmpfiles.d; why that does not work, or ""."""
        done = self._host.run("systemd-tmpfiles", "--create", str(file))
        return done.last if done.code else ""

    def reload_udev(self) -> None:
        """Have udev, where there is one, read its rules again."""
        if self._host.which("udevadm"):
            self._host.run("udevadm", "control", "--reload")

    def _must(self, verb: str, *words: str) -> None:
        done = self._host.run("systemctl", verb, *words, timeout_s=90)
        if done.code:
            raise UnavailableError(f"systemctl {' '.join([verb, *words])}: {done.last}")

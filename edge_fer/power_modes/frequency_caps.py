"""Boards without nvpmodel: caps of the CPU clock by cpufreq. They are no watt budgets, and are never called so."""

from __future__ import annotations

import errno
import re
from pathlib import Path

from edge_fer.errors import UnavailableError
from edge_fer.power_modes.mode import ModeKind, NeedsRootError, PowerMode
from edge_fer.sensors.machine import Machine
from edge_fer.sensors.throttling import CPU_COOLING

SHARES = (0.5, 0.75)
"""Of the highest clock: what is offered besides it where the kernel lists no steps; in whole 100 MHz."""


class _Policy:
    """Cores that share a clock."""

    def __init__(self, folder: Path) -> None:
        self.name, self._folder = folder.name, folder
        self.asked_khz: int | None = None  # what we have written last
        self.lowest_khz = max(self._number("cpuinfo_min_freq"), self._number("scaling_min_freq"))
        self.highest_khz = self._number("cpuinfo_max_freq")
        self.cores = len((folder / "affected_cpus").read_text().split())
        try:
            steps = [int(step) for step in (folder / "scaling_available_frequencies").read_text().split()]
        except (OSError, ValueError):
            steps = [int(self.highest_khz * share) // 100_000 * 100_000 for share in SHARES]
        self.steps_khz = sorted({*(khz for khz in steps if self.lowest_khz <= khz), self.highest_khz})

    @property
    def in_use(self) -> bool:
        """Not where all its cores are offline: then its files cannot be used, or are gone."""
        return _in_use(self._folder)

    @property
    def cap_khz(self) -> int:
        return self._number("scaling_max_freq")

    def step(self, khz: int) -> int:
        """The highest step that is not above it."""
        return max((step for step in self.steps_khz if step <= khz), default=self.steps_khz[0])

    def cap(self, khz: int) -> None:
        wanted = self.step(khz)
        self.write(wanted)
        if (found := self.cap_khz) > wanted:
            raise UnavailableError(f"{self.file}: the kernel keeps {found} kHz where {wanted} were written")

    def restore(self, khz: int) -> None:
        if not self.in_use:
            raise UnavailableError(f"{self.file}: all cores of {self.name} are offline")
        try:
            self.write(khz)
        except UnavailableError:
            if self.cap_khz != khz:
                raise

    def write(self, khz: int) -> None:
        try:
            self.file.write_text(f"{khz}\n")
        except OSError as err:
            if err.errno in (errno.EACCES, errno.EPERM):
                raise NeedsRootError(f"{khz / 1000:g}MHz") from err
            raise UnavailableError(f"{self.file} cannot be written: {err.strerror}") from err
        self.asked_khz = khz

    @property
    def file(self) -> Path:
        return self._folder / "scaling_max_freq"

    def _number(self, name: str) -> int:
        file = self._folder / name
        try:
            return int(file.read_text())
        except (OSError, ValueError) as err:
            raise UnavailableError(f"{file} cannot be read: {err}") from err


class FrequencyCaps:
    """Caps of all cores alike; a cluster that is slower gets its own highest step below the cap."""

    kind: ModeKind = "frequency-cap"

    def __init__(self, machine: Machine) -> None:
        """Read what there is; `modes` is empty on a machine without cpufreq, UnavailableError where it is broken."""
        self._machine = machine
        folders = sorted(machine.sys.glob("devices/system/cpu/cpufreq/policy*"))
        # The folder of cores that are all offline stays on some kernels, and cannot be used.
        self._policies = [_Policy(folder) for folder in folders if _in_use(folder)]
        steps = sorted({khz for policy in self._policies for khz in policy.steps_khz})
        cores = sum(policy.cores for policy in self._policies)
        self.modes = tuple(
            PowerMode(
                kind="frequency-cap",
                id=None,
                name=cap_name(khz),
                default=khz == steps[-1],
                cores=cores,
                cpu_max_mhz=khz / 1000,
            )
            for khz in steps
        )

    def current(self) -> PowerMode | None:
        """The mode that all cores are in; one that is not in the list where somebody else has set their caps."""
        if not (caps := _caps(now := self.snapshot())):
            return None
        unlisted = PowerMode("frequency-cap", None, self.describe(now), cpu_max_mhz=max(caps.values()) / 1000)
        return next((mode for mode in self.modes if self.expected(mode) == now), unlisted)

    def check_ready(self) -> None:
        """UnavailableError while the kernel cools the processor, and so shows caps that are lower than those set."""
        if self._cooling() and not all(policy.asked_khz for policy in self._in_use):
            raise UnavailableError(
                "the processor is hot, and the kernel slows it down: the cap that is set besides cannot be told, so it "
                "could not be restored; wait until it is cool"
            )

    def set(self, mode: PowerMode) -> None:
        """Cap all cores; NeedsRootError or UnavailableError."""
        for policy in self._in_use:
            policy.cap(_khz(mode))

    def snapshot(self) -> str:
        """Every cap, as "policy0=1800000 policy4=2400000"."""
        cooling = self._cooling()
        khz = {policy.name: (policy.asked_khz if cooling else None) or policy.cap_khz for policy in self._in_use}
        return " ".join(f"{name}={cap}" for name, cap in khz.items())

    def expected(self, mode: PowerMode) -> str:
        """What `snapshot` will be in a mode."""
        return " ".join(f"{policy.name}={policy.step(_khz(mode))}" for policy in self._in_use)

    def holds(self, snapshot: str, before: str = "") -> bool:
        """Whether no cap is higher; a lower one is the kernel's, which cools the board so."""
        caps, old = _caps(snapshot), _caps(before)
        known = [policy for policy in self._in_use if policy.name in caps]
        return all((khz := one.cap_khz) <= caps[one.name] or khz == old.get(one.name) for one in known)

    def restore(self, snapshot: str) -> None:
        """Write back all that can be; UnavailableError, of the first, where one cannot."""
        caps = _caps(snapshot)
        failed: UnavailableError | None = None
        for policy in self._policies:
            try:
                if policy.name in caps:
                    policy.restore(caps[policy.name])
            except UnavailableError as err:  # noqa: PERF203 - a policy each
                failed = failed or err
        if failed:
            raise failed

    def describe(self, snapshot: str) -> str:
        """For people: "1800MHz"."""
        return ", ".join(dict.fromkeys(cap_name(khz) for khz in _caps(snapshot).values()))

    def cure(self, snapshot: str) -> str:
        """The command that restores it by hand."""
        caps = _caps(snapshot)
        writes = [f"echo {caps[policy.name]} > {policy.file}" for policy in self._policies if policy.name in caps]
        return f"sudo sh -c '{'; '.join(writes)}'"

    def survives_boot(self) -> bool:
        """The kernel starts without caps."""
        return False

    @property
    def _in_use(self) -> list[_Policy]:
        return [policy for policy in self._policies if policy.in_use]

    def _cooling(self) -> bool:
        """Whether the kernel lowers caps now, because of heat."""
        for kind in self._machine.sys.glob("class/thermal/cooling_device*/type"):
            try:
                if kind.read_text().startswith(CPU_COOLING) and int(kind.with_name("cur_state").read_text()) > 0:
                    return True
            except (OSError, ValueError):  # noqa: PERF203 - a device each
                continue  # it does not tell
        return False


def cap_name(khz: float) -> str:
    """1200000 -> "1200MHz"."""
    return f"{khz / 1000:g}MHz"


def _khz(mode: PowerMode) -> int:
    return round((mode.cpu_max_mhz or 0) * 1000)


def _caps(snapshot: str) -> dict[str, int]:
    return {name: int(khz) for name, khz in re.findall(r"(\w+)=(\d+)", snapshot)}


def _in_use(folder: Path) -> bool:
    try:
        return bool((folder / "affected_cpus").read_text().split()) and (folder / "scaling_max_freq").exists()
    except OSError:
        return False

"""NVIDIA's power modes: what /etc/nvpmodel.conf defines, what nvpmodel says and does."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_fer.errors import UnavailableError
from edge_fer.power_modes.mode import ModeKind, NeedsRebootError, NeedsRootError, PowerMode
from edge_fer.power_modes.programs import run_program
from edge_fer.sensors.machine import Machine

QUERY_TIMEOUT_S = 20.0
SET_TIMEOUT_S = 60.0
"""Cores that go on and off take seconds; nvpmodel_indicator, which has a lock of its own, can take for ever."""

_SECTION = re.compile(r"^<\s*(\w+)\s+(.*?)\s*>$")
_GIVEN = re.compile(r"(\w+)=(.*?)(?=\s+\w+=|$)")
_BUDGET = re.compile(r"(?:^|_)(\d+(?:\.\d+)?)W(?:_|$)")
_ANSWER = re.compile(r"^NV Power Mode:[ \t]*(.*?)[ \t]*$(?:.*?^[ \t]*(\d+)[ \t]*$)?", re.MULTILINE | re.DOTALL)
_STATUS = re.compile(r"^pmode:(\d+)")
_CORE_OF_PATH = re.compile(r"/cpu(\d+)/cpufreq/")
_NOT_ALLOWED = re.compile(r": (?:1|13)$|permission denied|not permitted|\broot\b", re.IGNORECASE | re.MULTILINE)


@dataclass(slots=True)
class ConfMode:
    """One POWER_MODEL section."""

    id: int
    name: str
    values: dict[tuple[str, str], str] = field(default_factory=dict)  # (PARAM, argument) -> value

    @property
    def cores(self) -> set[int]:
        """Numbers of the cores that are online."""
        return {
            int(argument.removeprefix("CORE_"))
            for (param, argument), value in self.values.items()
            if param == "CPU_ONLINE" and value == "1" and argument.removeprefix("CORE_").isdecimal()
        }

    @property
    def gating(self) -> dict[str, str]:
        """Parts of the GPU that are switched off; they cannot change while it is in use, so that needs a reboot."""
        return {argument: value for (_, argument), value in self.values.items() if argument.endswith("_PG_MASK")}


@dataclass(slots=True)
class Conf:
    """All of a nvpmodel.conf that is of use here."""

    modes: dict[int, ConfMode] = field(default_factory=dict)
    paths: dict[tuple[str, str], str] = field(default_factory=dict)  # (PARAM, argument) -> file
    default: int | None = None

    def cpu_max_khz(self, mode: ConfMode) -> int | None:
        """The highest cap of a core that is online; None where one has none (-1 or 0)."""
        highest = 0
        for (param, argument), value in mode.values.items():
            if not param.startswith("CPU_") or argument != "MAX_FREQ":
                continue
            first = _CORE_OF_PATH.search(self.paths.get((param, argument), ""))
            if first and int(first[1]) not in mode.cores:
                continue
            if not value.isdecimal() or value == "0":
                return None
            highest = max(highest, int(value))
        return highest or None


def parse_conf(text: str, file: str = "nvpmodel.conf") -> Conf:
    """Read a nvpmodel.conf; what is not known is passed over. UnavailableError where it defines no mode."""
    conf = Conf()
    kind, name, mode = "", "", ConfMode(-1, "")
    for number, line in enumerate((line.strip() for line in text.splitlines()), start=1):
        if section := _SECTION.match(line):
            kind, given = section[1], dict(_GIVEN.findall(section[2]))
            name = given.get("NAME", "")
            if kind == "POWER_MODEL":
                if not given.get("ID", "").isdecimal() or not name:
                    raise UnavailableError(f"{file}, line {number}: a POWER_MODEL without ID or NAME: {line}")
                mode = conf.modes.setdefault(int(given["ID"]), ConfMode(int(given["ID"]), name))
            elif kind == "PM_CONFIG" and given.get("DEFAULT", "").isdecimal():
                conf.default = int(given["DEFAULT"])
        elif line and not line.startswith("#"):
            words = line.split()
            if kind == "PARAM" and len(words) == 2:  # noqa: PLR2004 - argument and file
                conf.paths[name, words[0]] = words[1]
            elif kind == "POWER_MODEL" and len(words) >= 3:  # noqa: PLR2004 - PARAM, argument and value
                mode.values[words[0], words[1]] = words[2]
    if not conf.modes:
        raise UnavailableError(f"{file} defines no power mode (no line < POWER_MODEL ID=... NAME=... >)")
    return conf


def conf_file(machine: Machine) -> Path:
    """Where the list is: JetPack has a link to that of the board, absolute, which would lead out of a copied root."""
    file = machine.etc / "nvpmodel.conf"
    try:
        target = file.readlink()
    except OSError:  # it is no link, or missing
        return file
    return machine.root / target.relative_to("/") if target.is_absolute() else file


def budget_w(name: str) -> float | None:
    """Nominal watts in a mode's name: 30 of "MODE_30W_ALL"; None of "MAXN"."""
    found = _BUDGET.search(name)
    return float(found[1]) if found else None


def parse_answer(output: str) -> tuple[str, int | None]:
    """Name and id in what `nvpmodel -q` prints, between its warnings; ("", None) where it tells neither."""
    found = _ANSWER.search(output)
    if not found:
        return "", None
    return found[1], int(found[2]) if found[2] else None


class Nvpmodel:
    """The modes of a Jetson. Setting one needs root."""

    kind: ModeKind = "nvpmodel"

    def __init__(self, machine: Machine) -> None:
        """Read the configuration; UnavailableError where it is missing or broken."""
        file = conf_file(machine)
        try:
            text = file.read_text(errors="replace")
        except OSError as err:
            raise UnavailableError(f"{file} cannot be read: {err.strerror}") from err
        self._machine, self._file, self._conf = machine, file, parse_conf(text, str(file))
        self.modes = self._listed()

    def current(self) -> PowerMode | None:
        """The mode that is set, asked of nvpmodel; None where it cannot be told."""
        known = {mode.id: mode for mode in self.modes}
        return known.get(self._current_id())

    def check_ready(self) -> None:
        """Always: what is set is what nvpmodel says."""

    def set(self, mode: PowerMode) -> None:
        """Set it, and see that it is set; NeedsRebootError, NeedsRootError or UnavailableError."""
        program = self._program()
        if program is None:
            raise UnavailableError("nvpmodel is not installed, or not on the PATH: no power mode can be set")
        if mode.needs_reboot:
            raise NeedsRebootError(mode)
        self._current_id()  # is it about the same modes?
        done = run_program([program, "-m", str(mode.id)], SET_TIMEOUT_S)
        # Its exit code says little: refused for want of an answer to its question, it ends with 0.
        if self._current_id() == mode.id and done.code == 0:
            return
        if "reboot" in done.output.lower():
            raise NeedsRebootError(mode)
        said = [line.split("NVPM ERROR:", 1)[1].strip() for line in done.output.splitlines() if "NVPM ERROR:" in line]
        if _NOT_ALLOWED.search("\n".join(said) or done.output):
            raise NeedsRootError(mode)
        why = "; ".join(said) or f"it ended with {done.code} and says nothing"
        raise UnavailableError(f"nvpmodel did not set power mode {mode}: {why}")

    def snapshot(self) -> str:
        """What `restore` needs to come back to what is set now; UnavailableError where that cannot be told."""
        number = self._current_id()
        if number is None:
            raise UnavailableError("nvpmodel does not tell which power mode is set, so it could not be restored")
        return str(number)

    def restore(self, snapshot: str) -> None:
        """Set what was set; errors as `set`."""
        number = int(snapshot)
        mode = next((mode for mode in self.modes if mode.id == number), None)
        # From here back to where we came from is no reboot: the way there was none.
        self.set(replace(mode or PowerMode("nvpmodel", number, "of an id that is not listed"), needs_reboot=False))

    def expected(self, mode: PowerMode) -> str:
        """What `snapshot` will be in a mode."""
        return str(mode.id)

    def holds(self, snapshot: str, before: str = "") -> bool:  # noqa: ARG002 - a mode is set whole
        """Whether the mode is still that one."""
        return self.snapshot() == snapshot

    def describe(self, snapshot: str) -> str:
        """For people: "2 MODE_15W"."""
        return next((str(mode) for mode in self.modes if str(mode.id) == snapshot), snapshot)

    def cure(self, snapshot: str) -> str:
        """The command that restores it by hand."""
        return f"sudo nvpmodel -m {snapshot}"

    def survives_boot(self) -> bool:
        """Whether what is set now is still set after a reboot."""
        return True

    def _program(self) -> str | None:
        found = self._machine.program("nvpmodel")
        usual = Path("/usr/sbin/nvpmodel")  # not on everybody's PATH
        if found is None and self._machine.path is None and self._machine.root == Path("/") and usual.exists():
            return str(usual)
        return found

    def _current_id(self) -> int | None:
        """What nvpmodel says, else its state file; UnavailableError where it hangs, or knows other modes than ours."""
        if program := self._program():
            done = run_program([program, "-q"], QUERY_TIMEOUT_S)
            name, number = parse_answer(done.output)
            if number is None:
                number = next((mode.id for mode in self._conf.modes.values() if mode.name == name), None)
            if number is not None:
                self._compare(number, name)
                return number
        try:
            status = (self._machine.root / "var/lib/nvpmodel/status").read_text()
        except OSError:
            return None
        found = _STATUS.match(status)
        return int(found[1]) if found else None

    def _compare(self, number: int, name: str) -> None:
        # The list may be that of a copied folder, and the program that of this machine.
        ours = self._conf.modes.get(number)
        if ours is None or (name and ours.name != name):
            raise UnavailableError(
                f"nvpmodel says that mode {number} {name} is set, which {self._file} does not have: "
                f"they are of different boards or releases"
            )

    def _listed(self) -> tuple[PowerMode, ...]:
        conf = self._conf
        try:
            current = conf.modes.get(-1 if (number := self._current_id()) is None else number)
        except UnavailableError:  # told by whoever sets a mode
            current = None
        hardware_khz = highest_clock_khz(self._machine)
        return tuple(
            PowerMode(
                kind="nvpmodel",
                id=mode.id,
                name=mode.name,
                budget_w=budget_w(mode.name),
                default=mode.id == conf.default,
                cores=len(mode.cores) or None,
                cpu_max_mhz=khz / 1000 if (khz := conf.cpu_max_khz(mode) or hardware_khz) else None,
                needs_reboot=current is not None and mode.gating != current.gating,
            )
            for mode in conf.modes.values()
        )


def highest_clock_khz(machine: Machine) -> int | None:
    """What the fastest core could do without any cap; None where the kernel does not tell."""
    files = machine.sys.glob("devices/system/cpu/cpufreq/policy*/cpuinfo_max_freq")
    return max((khz for khz in map(_khz, files) if khz is not None), default=None)


def _khz(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # of a cluster that is offline
        return None

"""Whether a release that was just started is healthy: the rule (pure), and the watch that feeds it."""

from typing import Mapping, NamedTuple, Optional

from deploy.release.layout import UNIT
from deploy.release.work import Work

LOOK_S = 0.5
RESTARTS = 2
"""A daemon that ends twice will end a third time."""

REFUSED_CONFIG = "78"

_WELL = ("online", "paused")
"""How the daemon's own words begin where it is as it should be: a privacy pause outlives a deployment."""

_PROPERTIES = ("ActiveState", "SubState", "NRestarts", "Result", "StatusText", "MainPID", "ExecMainStatus")


class Limits(NamedTuple):
    """How long is waited."""

    gate_s: float = 60.0  # until it is ready; and for how long it must live where no broker proves that it works
    hold_s: float = 10.0  # for how long it must live where it is online on its broker


class Sample(NamedTuple):
    """What systemd says at one moment."""

    active: str = ""
    sub: str = ""
    restarts: int = 0
    result: str = ""
    status: str = ""  # the daemon's own words
    pid: int = 0
    exit_code: str = ""


class Verdict(NamedTuple):
    """The end of the watch."""

    passed: bool
    why: str
    warning: str = ""


def passed(why: str, warning: str = "") -> Verdict:
    """It is healthy."""
    return Verdict(passed=True, why=why, warning=warning)


def refused(why: str) -> Verdict:
    """It is not."""
    return Verdict(passed=False, why=why)


class Gate:
    """Looks at samples until they tell enough."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._begun = False  # whether it was seen running or starting
        self._pid, self._lives_since_s, self._down_since_s = 0, 0.0, 0.0

    def look(self, sample: Sample, now_s: float) -> Optional[Verdict]:
        """The verdict, or None while it is too early; `now_s` counts from the start of the service."""
        if sample.active == "failed":
            return refused(f"the service failed ({_ending(sample)})")
        if sample.restarts >= RESTARTS:
            return refused(f"systemd restarted it {sample.restarts} times ({_ending(sample)})")
        if sample.active == "inactive" and self._begun:
            return refused(f"it ended by itself ({_ending(sample)})")
        self._begun = self._begun or sample.active not in ("", "inactive")
        if sample.active not in ("active", "reloading") or not sample.pid:
            return self._down(sample, now_s)
        if sample.pid != self._pid:
            self._pid, self._lives_since_s = sample.pid, now_s
        self._down_since_s = now_s
        return self._up(sample, now_s - self._lives_since_s)

    def _up(self, sample: Sample, lived_s: float) -> Optional[Verdict]:
        if lived_s >= self._limits.hold_s and _serves(sample.status):
            return passed(f"it is {sample.status}")
        if lived_s >= self._limits.gate_s:
            said = sample.status or "it tells no status"
            why = f"it lives since {lived_s:.0f} s"
            return passed(why, f"only local health could be checked, not what the broker gets: {said}")
        return None

    def _down(self, sample: Sample, now_s: float) -> Optional[Verdict]:
        self._pid = 0
        if now_s - self._down_since_s < self._limits.gate_s:
            return None
        state = f"{sample.active} ({sample.sub})" if sample.active else "unknown: systemd does not answer"
        said = f", it says: {sample.status}" if sample.status else ""
        return refused(f"it was not ready within {self._limits.gate_s:g} s: {state}{said}")


def watch(work: Work, limits: Limits, restarts_before: int = 0) -> Verdict:
    """Watch the service from now on. `restarts_before` are those that were counted before it was started."""
    gate, began_s = Gate(limits), work.host.monotonic_s()
    while True:
        sample = read_sample(work.systemd.show(UNIT, _PROPERTIES))
        if sample.restarts >= restarts_before:  # else systemd has begun to count anew
            sample = sample._replace(restarts=sample.restarts - restarts_before)
        verdict = gate.look(sample, work.host.monotonic_s() - began_s)
        if verdict is not None:
            return verdict
        work.host.sleep(LOOK_S)


def look_once(work: Work) -> Sample:
    """How it is now."""
    return read_sample(work.systemd.show(UNIT, _PROPERTIES))


def read_sample(told: Mapping[str, str]) -> Sample:
    """The words of systemd as values."""
    return Sample(
        told.get("ActiveState", ""),
        told.get("SubState", ""),
        _number(told.get("NRestarts", "")),
        told.get("Result", ""),
        told.get("StatusText", ""),
        _number(told.get("MainPID", "")),
        told.get("ExecMainStatus", ""),
    )


def _serves(status: str) -> bool:
    """Whether the daemon says that it works, and that its broker gets what it finds."""
    parts = [part.strip() for part in status.split(";")]
    return parts[0] in _WELL and "broker connected" in parts


def _ending(sample: Sample) -> str:
    if sample.exit_code == REFUSED_CONFIG:
        return "it refused its configuration, exit code 78"
    code = f", exit code {sample.exit_code}" if sample.exit_code not in ("", "0") else ""
    return f"result {sample.result or 'unknown'}{code}"


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0

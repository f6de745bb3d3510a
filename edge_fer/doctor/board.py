"""The machine itself: clock, memory, sensors, heat, power mode; and what the governor can do with them."""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING

from edge_fer.doctor.finding import Finding, failed, ok, skipped, warning
from edge_fer.doctor.patient import Patient
from edge_fer.doctor.unit import ask_systemd
from edge_fer.errors import UnavailableError

if TYPE_CHECKING:
    from edge_fer.governor.settings import GovernorSettings
    from edge_fer.sensors.readings import Reading
    from edge_fer.sensors.sensors import Sensors

LEAST_MB, LITTLE_MB = 64, 200
"""Of memory that is available. The daemon needs about 130 MB with one camera."""

HELPER_UNIT = "edge-fer-power-mode@0.service"
"""One of its template: systemd tells nothing about a template itself."""

NEAR_THROTTLING_C = 5.0

OLDEST_YEAR = 2025
"""A clock that says less was never set."""

_SET_CLOCK = "sudo timedatectl set-ntp true, or install chrony; a time server must be reachable"

_THROTTLE_CURES = {
    "under-voltage": "a supply and cable for this board (a Raspberry Pi 5 wants 5 V 5 A); fewer USB devices",
    "over-current": "a stronger supply, or a smaller power mode",
    "throttled": "cooling: a heat sink, a fan, air; or a smaller power mode",
    "frequency-capped": "a stronger supply and cooling",
    "soft-temperature-limit": "cooling: a heat sink, a fan, air",
}


def check_clock(patient: Patient) -> list[Finding]:
    """Events are dated by it, and certificates judged."""
    from edge_fer.clock import clock_synced

    now = dt.datetime.fromtimestamp(patient.place.unix_s(), tz=dt.timezone.utc)
    told = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if now.year < OLDEST_YEAR:
        return [failed(f"{told}: it was never set; TLS fails, events are dated wrong", _SET_CLOCK)]
    synced = (patient.place.clock_synced or clock_synced)()
    if synced is None:
        return [skipped(f"{told}; whether a time server set it cannot be asked here")]
    if not synced:
        return [warning(f"{told}: not set by a time server, so events may be dated wrong", _SET_CLOCK)]
    return [ok(f"{told}, set by a time server")]


def check_memory(patient: Patient) -> list[Finding]:  # noqa: ARG001 - as all checks
    """Whether there is enough for the daemon."""
    import psutil

    memory = psutil.virtual_memory()
    available_mb, total_mb = memory.available / 1e6, memory.total / 1e6
    told = f"{available_mb:.0f} of {total_mb:.0f} MB available"
    cure = "end other programs, or the desktop: sudo systemctl set-default multi-user.target"
    if available_mb < LEAST_MB:
        return [failed(told, cure)]
    if available_mb < LITTLE_MB:
        return [warning(told, cure)]
    return [ok(told)]


def check_sensors(patient: Patient) -> list[Finding]:
    """What can be read of watts, heat and clocks, and what ought to be but cannot."""
    sensors, reading = patient.sensed()
    findings = [warning(*_problem_and_cure(problem)) for problem in reading.problems]
    return [ok(f"{sensors.board.name}: {_power(reading)}; {_heat(reading)}"), *findings]


def check_throttling(patient: Patient) -> list[Finding]:
    """Whether the board is held back, by heat or by its supply."""
    sensors, reading = patient.sensed()
    findings = []
    told = reading.throttling
    for flag in told.now if told else ():
        tell = failed if flag == "under-voltage" else warning
        findings.append(tell(f"{flag} now", _THROTTLE_CURES[flag]))
    earlier = [flag for flag in told.since_boot if flag not in told.now] if told else []
    findings += [warning(f"{flag} since the machine started", _THROTTLE_CURES[flag]) for flag in earlier]
    hottest, limit_c = reading.hottest, sensors.throttle_point_c
    if hottest and limit_c and hottest.celsius > limit_c - NEAR_THROTTLING_C:
        found = f"{hottest.zone} has {hottest.celsius:.0f} degC, the kernel throttles at {limit_c:.0f}"
        findings.append(warning(found, _THROTTLE_CURES["throttled"]))
    if findings:
        return findings
    return [ok("neither now nor since the machine started")] if told else [skipped("this machine does not tell")]


def check_power_mode(patient: Patient) -> list[Finding]:
    """Which one is set, of which."""
    from edge_fer.power_modes.modes import open_power_modes

    machine = patient.place.machine
    modes = open_power_modes(machine)
    if modes.kind is None and (machine.etc / "nvpmodel.conf").exists():
        return [warning(modes.why_none, "sudo nvpmodel -q must work; the file comes with JetPack")]
    if modes.kind is None:
        return [skipped(modes.why_none)]
    current = modes.current()
    kind = "power mode" if modes.kind == "nvpmodel" else "frequency cap"
    if current is None:
        return [warning(f"{len(modes.modes)} {kind}s; which one is set cannot be told", "sudo nvpmodel -q tells why")]
    return [ok(f"{kind} {current}, one of {len(modes.modes)}"), *_helper(patient)]


def check_governor(patient: Patient) -> list[Finding]:
    """Whether it can keep the limits that are asked of it."""
    if patient.config is None:
        return [skipped("no configuration")]
    settings = patient.config.governor
    for switch, is_on in (("governor", settings.enabled), ("power", patient.config.power.enabled)):
        if not is_on:
            if settings.max_power_w is None and settings.max_temperature_c is None:
                return [ok(f"no limits; {switch}.enabled = false, so nothing is kept")]
            return [warning(f"its limits are not kept: {switch}.enabled = false", f"{switch}.enabled = true")]
    sensors, reading = patient.sensed()
    findings = []
    if settings.max_power_w is not None and reading.power.source == "unavailable":
        found = f"max_power_w = {settings.max_power_w:g} is not kept: {reading.power.reason or 'no watts here'}"
        findings.append(warning(found, "max_temperature_c, which every board can keep; or make the sensor readable"))
    limit_c, throttle_c = settings.max_temperature_c, sensors.throttle_point_c
    if limit_c is not None and not reading.temperatures:
        findings.append(warning("max_temperature_c is not kept: no temperature can be read", "see sensors"))
    elif limit_c is not None and throttle_c is not None and limit_c >= throttle_c:
        found = f"max_temperature_c = {limit_c:g}, but the kernel throttles at {throttle_c:.0f} already"
        findings.append(warning(found, f"less than {throttle_c:.0f}, or leave it out"))
    return findings or [ok(_limits(settings, sensors, reading))]


def _helper(patient: Patient) -> list[Finding]:
    """Of the command set-power-mode, where it is allowed: the daemon itself may not set modes."""
    from edge_fer.power_modes.ask import SOCKET

    if patient.config is None or "set-power-mode" not in patient.config.commands.allow:
        return []
    socket = patient.place.machine.root / SOCKET
    if socket.exists():  # to ask it would start it
        if patient.place.access(socket, os.R_OK | os.W_OK):
            return [ok(f"of set-power-mode: {socket}", "helper")]
        told = f"set-power-mode is allowed, but {socket} refuses this user"
        return [warning(told, "the daemon's user must be in the group edge-fer", "helper")]
    try:
        state = ask_systemd(patient.place, HELPER_UNIT).get("LoadState")
    except UnavailableError as err:
        return [skipped(f"of set-power-mode: {err}", "helper")]
    if state != "loaded":
        told = "set-power-mode is allowed, but its helper edge-fer-power-mode is not installed"
        cure = "install its units: see set-power-mode in docs/power.md; or take it out of commands.allow"
        return [warning(told, cure, "helper")]
    return [ok("of set-power-mode: edge-fer-power-mode@.service, where polkit allows it", "helper")]


def _limits(settings: GovernorSettings, sensors: Sensors, reading: Reading) -> str:
    from edge_fer.governor.core import Governor
    from edge_fer.governor.findings import assumed_throttle_c

    told_c = sensors.throttle_point_c
    if not reading.temperatures:
        heat = "no temperature to go by"
    else:
        limit_c = Governor(settings, told_c or assumed_throttle_c(sensors.board)).limit_c
        heat = f"looks less often from {limit_c:g} degC on"
        if settings.max_temperature_c is None:
            heat += (
                f" (the kernel throttles at {told_c:.0f})"
                if told_c
                else " (the kernel does not tell where it throttles)"
            )
    return heat if settings.max_power_w is None else f"{heat}, or {settings.max_power_w:g} W"


def _power(reading: Reading) -> str:
    power = reading.power
    if power.source == "unavailable" or power.total_w is None:
        told_below = any(power.reason in problem for problem in reading.problems)
        return f"no watts: {power.reason}" if power.reason and not told_below else "no watts"
    return f"{power.total_w:.1f} W, {power.source}"


def _heat(reading: Reading) -> str:
    hottest = reading.hottest
    return f"{hottest.celsius:.0f} degC at {hottest.zone}" if hottest else "no temperature"


def _problem_and_cure(problem: str) -> tuple[str, str]:
    """What sensors tell of a file that is closed holds its cure."""
    for mark in ("; cure: ", ": sudo ", "; "):
        found, split, cure = problem.partition(mark)
        if split:
            return found, f"sudo {cure}" if "sudo" in mark else cure
    return problem, "docs/power.md names each sensor"

"""What systemd says of the daemon's unit."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

from edge_fer.doctor.finding import Finding, failed, ok, skipped, warning
from edge_fer.doctor.patient import Patient, Place, this_user
from edge_fer.errors import UnavailableError

UNIT = "edge-fer.service"
ANSWER_S = 5.0

AGENT = "usr/local/sbin/edge-fer-release"
"""What a deployment leaves on a board: it goes back to the release before."""

_PROPERTIES = (
    *("LoadState", "ActiveState", "SubState", "UnitFileState", "StatusText"),
    *("NRestarts", "Result", "ExecMainStatus", "User"),
)
_JOURNAL = f"journalctl -u {UNIT} -n 50 tells why"


def check_unit(patient: Patient) -> list[Finding]:
    """Whether it runs, was restarted, and will start with the machine."""
    try:
        told = ask_systemd(patient.place, UNIT)
    except UnavailableError as err:
        return [skipped(str(err))]
    return [_state(told, can_go_back=(patient.place.machine.root / AGENT).exists()), *_user(told)]


def ask_systemd(place: Place, unit: str) -> Mapping[str, str]:
    """Properties of a unit, those of one that is not there too; UnavailableError where systemd cannot be asked."""
    program = place.machine.program("systemctl")
    if program is None:
        raise UnavailableError("this system has no systemd")
    command = [program, "show", unit, f"--property={','.join(_PROPERTIES)}"]
    try:
        ran = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_S,
            check=False,
            env={**place.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as err:
        raise UnavailableError(f"systemctl does not answer within {ANSWER_S:g} s") from err
    except OSError as err:
        raise UnavailableError(f"{program}: cannot be run ({err.strerror})") from err
    if ran.returncode:
        raise UnavailableError((ran.stderr.strip().splitlines() or ["systemctl does not work here"])[0])
    return dict(line.partition("=")[::2] for line in ran.stdout.splitlines())


def _state(told: Mapping[str, str], *, can_go_back: bool) -> Finding:
    if told.get("LoadState") != "loaded":
        found = f"{UNIT} is not installed ({told.get('LoadState') or 'unknown'})"
        return skipped(found, cure="to have it run as a service: make deploy, in the checkout on a PC")
    active, enabled = told.get("ActiveState", ""), told.get("UnitFileState", "")
    found = f"{UNIT}: {active} ({told.get('SubState')}), {enabled or 'not enabled'}"
    restarts = int(told["NRestarts"]) if told.get("NRestarts", "").isdecimal() else 0
    if restarts:
        found += f", {restarts} restart{'s' * (restarts > 1)} by systemd"
    if active != "active":
        return _not_running(found, active, told, can_go_back=can_go_back)
    if told.get("StatusText"):
        found += f'; it says "{told["StatusText"]}"'
    if enabled not in ("enabled", "static", "generated", "alias", "enabled-runtime", "linked"):
        return warning(f"{found}: it will not start with the machine", f"systemctl enable {UNIT}")
    if restarts:
        return warning(found, _JOURNAL)
    return ok(found)


def _not_running(found: str, active: str, told: Mapping[str, str], *, can_go_back: bool) -> Finding:
    back = "; edge-fer-release rollback goes back to the release before" if can_go_back else ""
    if active == "failed":
        return failed(
            f"{found}; result {told.get('Result')}, exit code {told.get('ExecMainStatus')}", _cure(told) + back
        )
    if active == "activating":
        return failed(f"{found}: it does not stay up", _JOURNAL + back)
    return warning(found, f"systemctl enable --now {UNIT}")


def _cure(told: Mapping[str, str]) -> str:
    if told.get("ExecMainStatus") == str(os.EX_CONFIG):
        return "the configuration is wrong: edge-fer check-config FILE, then systemctl restart edge-fer"
    if told.get("ExecMainStatus") == str(os.EX_UNAVAILABLE):
        return f"something that it needs was missing, see the other checks; {_JOURNAL}"
    return _JOURNAL


def _user(told: Mapping[str, str]) -> list[Finding]:
    user = told.get("User", "")
    if told.get("LoadState") != "loaded" or not user or user == this_user():
        return []
    found = f"the daemon runs as user {user!r}, this look is as {this_user()!r}: what one may open, the other may not"
    return [skipped(found, "user", cure=f"sudo -u {user} edge-fer doctor ...")]

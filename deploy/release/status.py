"""What runs here, and how it is."""

from typing import Any, Dict, List

from deploy.release.errors import ReleaseError
from deploy.release.layout import UNIT
from deploy.release.releases import manifest_of, names
from deploy.release.state import linked_release, load_state
from deploy.release.told import Told
from deploy.release.work import Work

_PROPERTIES = (
    "ActiveState", "SubState", "StatusText", "NRestarts", "MainPID", "UnitFileState", "Result", "ActiveEnterTimestamp",
)  # fmt: skip


def status(work: Work) -> Dict[str, Any]:
    """Everything that is known; needs no rights."""
    state, current = load_state(work.layout), linked_release(work.layout)
    unit = work.systemd.show(UNIT, _PROPERTIES)
    return {
        "current": current or None,
        "previous": state.previous or None,
        "pending": state.pending.to_json() if state.pending else None,
        "failed": list(state.failed),
        "releases": [_release(work, name) for name in names(work)],
        "unit": {
            "active": unit.get("ActiveState", ""),
            "sub": unit.get("SubState", ""),
            "since": unit.get("ActiveEnterTimestamp", ""),
            "status": unit.get("StatusText", ""),
            "restarts": int(unit.get("NRestarts", "") or 0),
            "pid": int(unit.get("MainPID", "") or 0),
            "enabled": unit.get("UnitFileState", ""),
            "result": unit.get("Result", ""),
        },
    }


def healthy(found: Dict[str, Any]) -> bool:
    """Whether a release runs, and no switch is on its way."""
    return bool(found["current"]) and found["unit"]["active"] == "active" and not found["pending"]


def tell(told: Told, found: Dict[str, Any]) -> None:
    """For people."""
    unit = found["unit"]
    if not found["current"]:
        told.step("release", "edge-fer is not deployed here")
    for release in found["releases"]:
        told.step(
            "release", " ".join([release["release"], f"({release['about']})", *_marks(found, release["release"])])
        )
    state = f"{unit['active'] or 'unknown'} ({unit['sub']}), {unit['enabled'] or 'not enabled'}"
    since = f", since {unit['since']}" if unit["since"] else ""
    told.step("service", f"{state}, {unit['restarts']} restarts{since}")
    if unit["status"]:
        told.step("status", unit["status"])
    if found["pending"]:
        told.step("pending", f"the switch to {found['pending']['to']}: edge-fer-release confirm finishes it")
    for failure in found["failed"][-1:]:
        told.step("failed", f"{failure['release']}: {failure['why']}")


def _release(work: Work, name: str) -> Dict[str, Any]:
    try:
        fields = manifest_of(work, name).fields
    except ReleaseError as err:
        return {"release": name, "version": "", "board": "", "system": "", "about": f"damaged: {err}"}
    told: Dict[str, Any] = {key: fields[key] for key in ("version", "board", "system")}
    return {"release": name, **told, "about": f"{fields['board']}, {fields['system']}"}


def _marks(found: Dict[str, Any], name: str) -> List[str]:
    return [f"<- {mark}" for mark in ("current", "previous") if found[mark] == name]

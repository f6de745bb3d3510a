"""Whether a bundle can run on a board: pure, so that it can be asked before anything is sent, too."""

import time
from typing import Any, List, Mapping, Tuple

from deploy.release.systemd import OLDEST as OLDEST_SYSTEMD

MEMORY_BYTES = 300_000_000
"""The daemon takes 140 to 170 MB, and the check before the switch as much for a moment."""

DISK_FACTOR = 3
"""A release while it is unpacked, the one that runs, and what the system needs to go on."""

OLDEST_CLOCK_S = 1_735_689_600
"""2025: no bundle is older."""

_DAY_S = 86_400
_NEWEST_CLOCK_S = OLDEST_CLOCK_S + 30 * 365 * _DAY_S


def problems(
    facts: Mapping[str, Any], manifest: Mapping[str, Any], *, board_mismatch_ok: bool = False, unpacked: bool = False
) -> List[str]:
    """Everything that keeps a release of this manifest from running on a board of these facts, each with its cure.

    `unpacked`: it is on the board already, and takes no more of the disk. A key that the manifest does not have yet,
    as `unpacked_bytes` before it is built, is not asked for. Whether one is root is another question: `not_root`.
    """
    found = [*_machine(facts, manifest), *_libraries(facts, manifest), *_systemd(facts), *_python(facts, manifest)]
    if not board_mismatch_ok:
        found += _board(facts, manifest)
    if not unpacked:
        found += _disk(facts, manifest)
    return [*found, *_memory(facts), *_clock(facts, manifest), *_groups(facts)]


def not_root(facts: Mapping[str, Any]) -> List[str]:
    """What is wrong with who installs."""
    if facts["is_root"]:
        return []
    return [f"{facts['user'] or 'this user'} is not root: only root can install a service; use sudo"]


def _machine(facts: Mapping[str, Any], manifest: Mapping[str, Any]) -> List[str]:
    wanted, found = manifest["machine"], facts["machine"]
    if wanted != found:
        told = (
            f"the processor is {found or 'unknown'}, the bundle is for {wanted} ({manifest['board']}): deploy it with "
            "another BOARD"
        )
        return [told]
    if facts["userland_bits"] == 32:  # noqa: PLR2004 - bits
        told = (
            f"the kernel is 64-bit ({found}), but the programs of this system are 32-bit ({facts['userland']}): "
            "install the 64-bit system"
        )
        return [told]
    return []


def _libraries(facts: Mapping[str, Any], manifest: Mapping[str, Any]) -> List[str]:
    wanted, found = manifest["glibc"], facts["glibc"]
    if not found:
        return [f"this system has no glibc (another C library, as Alpine has?): the bundle needs {wanted} or newer"]
    if _version(found) < _version(wanted):
        told = (
            f"glibc is {found}, the bundle needs {wanted} or newer ({manifest['system']}): deploy it with another "
            f"SYSTEM of this board"
        )
        return [told]
    return []


def _systemd(facts: Mapping[str, Any]) -> List[str]:
    if not facts["systemd"]:
        return ["there is no systemd: edge-fer is run by it"]
    if facts["systemd"] < OLDEST_SYSTEMD:
        return [f"systemd is {facts['systemd']}, {OLDEST_SYSTEMD} or newer is needed: install a newer system"]
    if not facts["systemd_runs"]:
        return ["systemd is installed, but does not run here (/run/systemd/system is missing): is this a container?"]
    return []


def _python(facts: Mapping[str, Any], manifest: Mapping[str, Any]) -> List[str]:
    if manifest["python_source"] != "system" or manifest["python"] in facts["pythons"]:
        return []
    others = ", ".join(sorted(facts["pythons"], key=_version)) or "none"
    told = (
        f"Python {manifest['python']} is missing, which {manifest['system']} has (found: {others}): deploy it with "
        f"another SYSTEM, or apt-get install python{manifest['python']}"
    )
    return [told]


def _board(facts: Mapping[str, Any], manifest: Mapping[str, Any]) -> List[str]:
    compatible, models = manifest["compatible"], manifest["models"]
    if not compatible and not models:
        return []  # any board
    told = " ".join(facts["compatible"])
    if any(word in told for word in compatible) or any(model in facts["board_name"] for model in models):
        return []
    found = facts["board_name"] or told or f"a {facts['machine'] or 'machine'} without a device tree"
    name = manifest.get("board_name") or manifest["board"]
    return [f"this is {found}, the bundle is for {name}: deploy with the right BOARD, or with --board-mismatch-ok"]


def _disk(facts: Mapping[str, Any], manifest: Mapping[str, Any]) -> List[str]:
    needed = DISK_FACTOR * int(manifest.get("unpacked_bytes") or 0)
    free = facts["disk_free_bytes"]
    if free >= needed:
        return []
    told = (
        f"{free / 1e6:.0f} MB are free in {facts['disk']}, {needed / 1e6:.0f} MB are needed: remove "
        "something from there"
    )
    return [told]


def _memory(facts: Mapping[str, Any]) -> List[str]:
    available = facts["memory_available_bytes"]
    if available >= MEMORY_BYTES:
        return []
    told = (
        f"{available / 1e6:.0f} MB of {facts['memory_total_bytes'] / 1e6:.0f} MB memory are available, "
        f"{MEMORY_BYTES / 1e6:.0f} MB are needed: stop what else runs (a desktop?), or add swap"
    )
    return [told]


def _clock(facts: Mapping[str, Any], manifest: Mapping[str, Any]) -> List[str]:
    """A board without a battery believes in some year of the past until a time server has told it."""
    now, built = facts["unix_s"], max(int(manifest.get("built_unix_s") or 0), OLDEST_CLOCK_S)
    if built - _DAY_S <= now <= _NEWEST_CLOCK_S:
        return []
    wrong = f"before this bundle was made ({_date(built)})" if now < built else "far in the future"
    told = (
        f"the clock says {_date(now)}, {wrong}: certificates and the times of events would be wrong; set it: "
        "timedatectl set-ntp true, or date -u -s 'YYYY-MM-DD HH:MM'"
    )
    return [told]


def _groups(facts: Mapping[str, Any]) -> List[str]:
    if "video" in facts["groups"]:
        return []
    return ["there is no group video, whose members may open cameras: groupadd --system video"]


def _date(unix_s: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(unix_s))


def _version(text: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())

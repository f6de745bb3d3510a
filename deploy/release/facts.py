"""What kind of board this is, and what is on it; changes nothing, and needs no rights."""

import os
import shlex
import struct
from pathlib import Path
from typing import Any, Dict, List, Optional

from deploy.release.errors import ReleaseError
from deploy.release.files import read_file
from deploy.release.host import Host
from deploy.release.layout import USER, Layout
from deploy.release.manifest import parse_manifest
from deploy.release.state import linked_release
from deploy.release.systemd import Systemd

GROUPS = ("video", "render")
"""Whose members may open cameras, and what draws or computes beside the processor."""

_NEWEST_PYTHON = 20
_ELF_64_BIT = 2
_ELF_MACHINES = {0x3E: "x86_64", 0xB7: "aarch64", 0x28: "arm", 0x03: "i386"}


def facts(layout: Layout, host: Host) -> Dict[str, Any]:
    """Everything that `preflight.problems` wants to know; what cannot be found is "", 0, None or empty."""
    os_release = _os_release(layout)
    disk = _existing(layout.home)
    free = os.statvfs(str(disk))
    memory = _memory(layout)
    systemd = Systemd(host)
    user = host.run("id", "-un").out.strip()
    return {
        "machine": host.run("uname", "-m").out.strip(),
        **_userland(host),
        "glibc": _glibc(host),
        "systemd": systemd.version(),
        "systemd_runs": (layout.root / "run" / "systemd" / "system").is_dir(),
        "pythons": pythons(host),
        "os_id": os_release.get("ID", ""),
        "os_version": os_release.get("VERSION_ID", ""),
        "os_name": os_release.get("PRETTY_NAME", ""),
        "board_name": _device_tree(layout, "model").replace("\0", " ").strip(),
        "compatible": [word for word in _device_tree(layout, "compatible").split("\0") if word],
        "disk": str(disk),
        "disk_free_bytes": free.f_bavail * free.f_frsize,
        "memory_total_bytes": memory.get("MemTotal", 0),
        "memory_available_bytes": memory.get("MemAvailable", 0),
        "unix_s": int(host.unix_s()),
        "clock_synced": _clock_synced(host),
        "groups": [name for name in GROUPS if _has_group(layout, host, name)],
        "user": user,
        "is_root": host.run("id", "-u").out.strip() == "0",
        "sudo": _sudo(host),
        "rsync": host.which("rsync") is not None,
        "service_user": host.run("id", "-u", USER).code == 0,
        **_installed(layout),
    }


def pythons(host: Host) -> Dict[str, str]:
    """The Pythons of this board by version, as the programs that they really are."""
    found: Dict[str, str] = {}
    for name in ["python3"] + [f"python3.{minor}" for minor in range(6, _NEWEST_PYTHON)]:
        program = host.which(name)
        if program is None:
            continue
        done = host.run(program, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)")
        version, _, executable = done.out.strip().partition(" ")
        if done.code == 0 and os.path.isabs(executable):
            found.setdefault(version, os.path.realpath(executable))
    return found


def _os_release(layout: Layout) -> Dict[str, str]:
    for folder in ("etc", "usr/lib"):
        data = read_file(layout.root / folder / "os-release")
        if data is not None:
            pairs = [line.partition("=") for line in data.decode("utf-8", "replace").splitlines()]
            return {key.strip(): _unquoted(value) for key, sign, value in pairs if sign}
    return {}


def _unquoted(value: str) -> str:
    try:
        return "".join(shlex.split(value))
    except ValueError:
        return value.strip()


def _existing(folder: Path) -> Path:
    """The folder itself, or the nearest above it that exists: where its bytes will be."""
    while not folder.is_dir():
        folder = folder.parent
    return folder


def _memory(layout: Layout) -> Dict[str, int]:
    data = read_file(layout.root / "proc" / "meminfo") or b""
    words = [line.split() for line in data.decode("ascii", "replace").splitlines()]
    return {each[0].rstrip(":"): int(each[1]) * 1024 for each in words if len(each) > 1 and each[1].isdigit()}


def _userland(host: Host) -> Dict[str, Any]:
    """For which processor the programs are, whatever the kernel is: that of a Pi may be 64-bit where they are not."""
    shell = host.which("sh")
    try:
        with open(os.path.realpath(shell or "/bin/sh"), "rb") as file:
            head = file.read(20)
    except OSError:
        head = b""
    if len(head) < 20 or head[:4] != b"\x7fELF":  # noqa: PLR2004 - up to e_machine
        return {"userland": "", "userland_bits": 0}
    machine = struct.unpack("<H", head[18:20])[0]
    return {
        "userland": _ELF_MACHINES.get(machine, f"ELF machine {machine}"),
        "userland_bits": 64 if head[4] == _ELF_64_BIT else 32,
    }


def _glibc(host: Host) -> str:
    name, _, version = host.run("getconf", "GNU_LIBC_VERSION").out.strip().partition(" ")
    return version if name == "glibc" else ""


def _device_tree(layout: Layout, name: str) -> str:
    try:
        data = read_file(layout.root / "proc" / "device-tree" / name) or b""
    except OSError:
        return ""
    return data.decode("utf-8", "replace")


def _clock_synced(host: Host) -> Optional[bool]:
    """None where nobody can tell."""
    for line in host.run("timedatectl", "status", timeout_s=10).out.splitlines():
        key, _, value = line.strip().partition(": ")
        if key in ("System clock synchronized", "NTP synchronized"):
            return value.strip() == "yes"
    return None


def _has_group(layout: Layout, host: Host, name: str) -> bool:
    if host.which("getent"):
        return host.run("getent", "group", name).code == 0
    lines: List[bytes] = (read_file(layout.root / "etc" / "group") or b"").splitlines()
    return any(line.startswith(f"{name}:".encode()) for line in lines)


def _sudo(host: Host) -> str:
    """none, password (or not allowed at all), or free."""
    if host.which("sudo") is None:
        return "none"
    return "free" if host.run("sudo", "-n", "true", timeout_s=10).code == 0 else "password"


def _installed(layout: Layout) -> Dict[str, str]:
    """The release that runs here."""
    name = linked_release(layout)
    told = {"release": name, "release_version": "", "release_board": "", "release_system": ""}
    data = read_file(layout.release(name) / "manifest.json") if name else None
    if data is None:
        return told
    try:
        fields = parse_manifest(data).fields
    except ReleaseError:
        return told
    told.update({f"release_{key}": str(fields[key]) for key in ("version", "board", "system")})
    return told

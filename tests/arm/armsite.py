"""Wheel sets as folders that a Python imports from: the locked files, or the same versions for another Python."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from armcache import Unavailable, cached, fetch_by
from armroot import Userland

from deploy.wheelset import Wheel, WheelSet, fetch
from edge_fer.errors import UnavailableError
from edge_fer.tflite import Runtime

RUNTIME_PACKAGES: dict[str, Runtime] = {"ai-edge-litert": "litert", "tflite-runtime": "tflite-runtime"}

OTHER_VERSIONS = {("tflite-runtime", "2.13.0", "3.11"): "2.14.0"}
"""What has no wheel for the Python that stands in: package, version and Python, and the nearest version that has."""

OLD_PYTHON_NEEDS = (
    *("ai-edge-litert", "backports-strenum", "flatbuffers", "ml-dtypes", "tflite-runtime", "tqdm", "typing-extensions"),
    *("lap", "numpy", "opencv-python-headless", "psutil"),
)
"""Of a set, what is run on Python 3.9: the runtimes, what they import, and other machine code. The rest needs 3.10."""


@dataclass(frozen=True, slots=True)
class Site:
    """A folder of unpacked wheels."""

    folder: Path
    packages: dict[str, str]  # versions by name

    @property
    def runtimes(self) -> list[Runtime]:
        """Those that are in it, in the order of edge_fer's preference."""
        return [runtime for package, runtime in RUNTIME_PACKAGES.items() if package in self.packages]


def locked_site(wheel_set: WheelSet) -> Site:
    """The very files that a board gets."""
    paths = _fetch(wheel_set)
    packages = {wheel.name: wheel.version for wheel in wheel_set.wheels}
    return _site(f"site-cp{wheel_set.python.replace('.', '')}", paths, packages)


def stand_in_site(wheel_set: WheelSet, userland: Userland, only: Iterable[str] | None = None) -> Site:
    """The same versions as built for another Python, by default of all packages; files that fit both are the same."""
    kept = {wheel.name: wheel for wheel in wheel_set.wheels if only is None or wheel.name in set(only)}
    versions = {
        name: OTHER_VERSIONS.get((name, wheel.version, userland.python), wheel.version) for name, wheel in kept.items()
    }
    built_for_another = {name: versions[name] for name, wheel in kept.items() if not _fits(wheel, userland)}
    fetched = zip(wheel_set.wheels, _fetch(wheel_set), strict=True)
    same = [path for wheel, path in fetched if wheel.name in kept and wheel.name not in built_for_another]
    others = _download(built_for_another, userland) if built_for_another else []
    return _site(f"site-{userland.tag}", [*same, *others], versions)


def unpack(wheel: Path, folder: Path) -> None:
    """As an installation would, without its scripts."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    for data in folder.glob("*.data"):
        for part in data.glob("*lib"):
            for path in part.iterdir():
                path.rename(folder / path.name)


def _fits(wheel: Wheel, userland: Userland) -> bool:
    """Whether this very file is for that Python too: pure Python, or the stable interface of an older version."""
    minor = int(userland.python.partition(".")[2])
    for tag in wheel.tags:
        oldest = tag.interpreter.removeprefix("cp3")
        if tag.interpreter == "py3" or (tag.abi == "abi3" and oldest.isdecimal() and int(oldest) <= minor):
            return True
    return False


def _fetch(wheel_set: WheelSet) -> list[Path]:
    try:
        return fetch(wheel_set)
    except UnavailableError as err:
        if "no connection" not in str(err):
            raise  # the lock names something that is not to be had
        raise Unavailable(f"{wheel_set.key}: {str(err).splitlines()[0]}") from err


def _download(versions: dict[str, str], userland: Userland) -> list[Path]:
    """One wheel a package. There is no lock of them: nobody installs them, and the registry's are as they are."""
    wanted = sorted(f"{name}=={version}" for name, version in versions.items())
    newest = int(userland.glibc.partition(".")[2])
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in range(17, newest + 1)]
    abis = [f"--abi={abi}" for abi in (userland.tag, "abi3", "none")]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    options = ["--only-binary=:all:", "--implementation=cp", f"--python-version={userland.python}"]

    def make(target: Path) -> None:
        command = [*pip, *options, *abis, *platforms, "--platform=manylinux2014_aarch64", f"--dest={target}", *wanted]
        fetch_by(command, f"wheels of {userland.tag}")

    folder = cached(f"wheels-{userland.tag}", "\n".join([userland.python, userland.glibc, *wanted]), make)
    return sorted(folder.glob("*.whl"))


def _site(name: str, paths: list[Path], packages: dict[str, str]) -> Site:
    recipe = "\n".join(sorted(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in paths))

    def make(target: Path) -> None:
        (target / "site").mkdir()
        for path in paths:
            unpack(path, target / "site")

    folder = cached(name, recipe, make)
    return Site(folder / "site", packages)

"""Locked wheel sets: exactly the files that are installed on a system, one text file a set; and how they are got."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from edge_fer.errors import ConfigError, EdgeFerError, UnavailableError, UsageError

WHEELS = Path(__file__).parent / "wheels"

ANYWHERE = "any"
"""The platform of a wheel that has no machine code."""

_SET_KEY = re.compile(r"cp(3)(\d+)-(aarch64|x86_64)-glibc(\d+\.\d+)")
_LINE = re.compile(
    r"(?P<name>[a-z0-9-]+)==(?P<version>[^\s;]+) --hash=sha256:(?P<sha256>[0-9a-f]{64})  # (?P<filename>[^\s/]+\.whl)"
)
_RIGHT_LINE = "one is written `name==version --hash=sha256:64 hexadecimal digits  # file.whl`"
_BROKEN = re.compile(r"Retrying \(.*connection broken by '(.*)'")
_MISMATCH = re.compile(r"Expected sha256 (\w{64})\s+Got\s+(\w{64})")


class WheelHashError(EdgeFerError):
    """A wheel is not the one that was locked."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """One file of a set."""

    name: str  # normalised: lower case, hyphens
    version: str
    filename: str
    sha256: str

    @property
    def tags(self) -> frozenset[Tag]:
        """What its name says that it runs on."""
        return parse_wheel_filename(self.filename)[3]


@dataclass(frozen=True, slots=True)
class WheelSet:
    """All that is installed on one kind of system, besides edge-fer itself."""

    key: str
    python: str  # "3.10"
    machine: str
    glibc: str  # or newer
    wheels: tuple[Wheel, ...]

    def version(self, name: str) -> str | None:
        """The version of a package; None where it is not in the set."""
        return next((wheel.version for wheel in self.wheels if wheel.name == name), None)


def parse_set_key(key: str) -> tuple[str, str, str]:
    """Python, machine and oldest glibc of a wheel set, such as cp310-aarch64-glibc2.27; ValueError says its form."""
    found = _SET_KEY.fullmatch(key)
    if not found:
        raise ValueError(f"{key!r} names no wheel set; one is named like cp310-aarch64-glibc2.27")
    return f"{found[1]}.{found[2]}", found[3], found[4]


def numbers(version: str) -> list[int]:
    """A version as what can be compared."""
    return [int(number) for number in version.split(".")]


def load_wheel_set(key: str, folder: Path = WHEELS) -> WheelSet:
    """The set of that name. UsageError lists those that exist; ConfigError names file and line of what is damaged."""
    path = folder / f"{key}.txt"
    try:
        python, machine, glibc = parse_set_key(key)
        lines = path.read_text(encoding="utf-8").splitlines()
    except (ValueError, FileNotFoundError) as err:
        if isinstance(err, UnicodeDecodeError):
            raise ConfigError(f"{path}: not a text file in UTF-8 ({err.reason} at byte {err.start})") from err
        known = ", ".join(sorted(found.stem for found in folder.glob("*.txt"))) or "none"
        raise UsageError(f"no wheel set {key!r} in {folder}; there are: {known}") from err
    except OSError as err:
        raise ConfigError(f"{path}: cannot be read ({err.strerror})") from err
    wheels: dict[str, Wheel] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            wheel = _parse_line(line, already=wheels)
            check_tags(wheel, python, machine)
        except ValueError as err:
            raise ConfigError(f"{path}:{number}: {err}; `python -m deploy lock` writes it anew") from err
        wheels[wheel.name] = wheel
    if not wheels:
        raise ConfigError(f"{path}: has no wheel; `python -m deploy lock` writes it anew")
    return WheelSet(key=key, python=python, machine=machine, glibc=glibc, wheels=tuple(wheels.values()))


def check_tags(wheel: Wheel, python: str, machine: str) -> None:
    """ValueError where the name of a wheel says that it is for another Python or processor.

    Which glibc it says is not looked at: those tags lie in both directions, so the audit decides.
    """
    minor = int(python.partition(".")[2])
    for tag in wheel.tags:
        fits_machine = tag.platform == ANYWHERE or tag.platform.endswith(f"_{machine}")
        if not fits_machine or "musllinux" in tag.platform:
            continue
        if tag.interpreter in {"py3", f"py3{minor}"} and tag.abi == "none":
            return
        if tag.interpreter == f"cp3{minor}" and tag.abi in {f"cp3{minor}", "abi3", "none"}:
            return
        oldest = re.fullmatch(r"cp3(\d+)", tag.interpreter)
        if oldest and tag.abi == "abi3" and int(oldest[1]) <= minor:
            return
    raise ValueError(f"{wheel.filename} is not for CPython {python} on {machine}")


def default_cache() -> Path:
    """Where wheels are kept: $EDGE_FER_WHEELS, or edge-fer/wheels below $XDG_CACHE_HOME or ~/.cache."""
    if chosen := os.environ.get("EDGE_FER_WHEELS"):
        return Path(chosen).expanduser().absolute()
    root = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (root if root.is_absolute() else Path.home() / ".cache") / "edge-fer" / "wheels"


def fetch(wheel_set: WheelSet, cache: Path | None = None, told: Callable[[str], None] | None = None) -> list[Path]:
    """The files of a set, in its order; pip is asked only for those that the cache has not, or has damaged.

    UnavailableError names what cannot be had; WheelHashError what is not as locked, with both hashes.
    """
    cache = cache or default_cache()
    wanted = [wheel for wheel in wheel_set.wheels if file_sha256(cache / wheel.filename) != wheel.sha256]
    if wanted:
        if told:
            told(f"fetching {len(wanted)} of {len(wheel_set.wheels)} wheels of {wheel_set.key} into {cache} ...")
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as folder:
                _download(wheel_set, wanted, Path(folder), cache)
                for wheel in wanted:
                    (Path(folder) / wheel.filename).replace(cache / wheel.filename)
        except OSError as err:
            if isinstance(err, UnavailableError):
                raise
            raise UnavailableError(
                f"{cache}: wheels cannot be kept there ({err.strerror}); EDGE_FER_WHEELS chooses another folder"
            ) from err
    return [cache / wheel.filename for wheel in wheel_set.wheels]


def file_sha256(path: Path) -> str | None:
    """None where there is no such file, or it cannot be read."""
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


def pip_target(python: str, abis: Sequence[str], platforms: Sequence[str]) -> list[str]:
    """Options by which pip chooses wheels for another machine than this one."""
    options = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    options += [f"--abi={abi}" for abi in abis]
    return options + [f"--platform={platform}" for platform in platforms]


def pip_reason(stderr: str) -> str:
    """The line of pip's messages that says why it failed."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not line.startswith("[notice]")]
    if broken := _BROKEN.findall(stderr):
        why = broken[-1].rpartition(": ")[2].strip("')")
        return f"no connection: {why}"
    return lines[-1] if lines else "no message"


def _parse_line(line: str, already: Collection[str]) -> Wheel:
    """A locked wheel; ValueError says what is wrong with the line."""
    found = _LINE.fullmatch(line)
    if not found:
        raise ValueError(f"no locked wheel ({line[:80]!r}); {_RIGHT_LINE}")
    wheel = Wheel(**found.groupdict())
    try:
        name, version, _build, _tags = parse_wheel_filename(wheel.filename)
    except InvalidWheelFilename as err:
        raise ValueError(f"{wheel.filename} is no name of a wheel ({err})") from err
    if (name, str(version)) != (canonicalize_name(wheel.name), wheel.version):
        raise ValueError(f"{wheel.filename} is not {wheel.name} {wheel.version}")
    if wheel.name in already:
        raise ValueError(f"{wheel.name} is there a second time")
    return wheel


def _download(wheel_set: WheelSet, wanted: Sequence[Wheel], folder: Path, cache: Path) -> None:
    """Have pip download exactly these files into a folder, by their hashes."""
    requirements = folder / "requirements.txt"
    lines = [f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n" for wheel in wanted]
    requirements.write_text("".join(lines), encoding="utf-8")
    tags = sorted({tag for wheel in wanted for tag in wheel.tags}, key=str)
    platforms = sorted({tag.platform for tag in tags} - {ANYWHERE})
    abis = sorted({tag.abi for tag in tags})
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    # It is this project's locks that say what runs where: a wheel is not refused for what it says of Python.
    command += ["--ignore-requires-python", *pip_target(wheel_set.python, abis, platforms)]
    pip = subprocess.run(
        [*command, "--dest", str(folder), "-r", str(requirements)], capture_output=True, text=True, check=False
    )
    for expected, found in _MISMATCH.findall(pip.stderr):
        names = [wheel.filename for wheel in wanted if wheel.sha256 == expected]
        raise WheelHashError(_hash_message(", ".join(names), found, expected))
    lacking = [wheel for wheel in wanted if not (folder / wheel.filename).is_file()]
    if pip.returncode or lacking:
        raise UnavailableError(_unavailable(lacking or wanted, pip_reason(pip.stderr), cache))
    for wheel in wanted:
        if (digest := file_sha256(folder / wheel.filename)) != wheel.sha256:
            raise WheelHashError(_hash_message(wheel.filename, str(digest), wheel.sha256))


def _hash_message(name: str, found: str, expected: str) -> str:
    return (
        f"{name}: sha256 is {found}, the lock says {expected}; it is not used. Either the package index (or what is "
        "between) gives another file, or the lock is of another time: `python -m deploy lock` writes it anew"
    )


def _unavailable(wanted: Sequence[Wheel], reason: str, cache: Path) -> str:
    lines = [f"cannot be fetched with pip ({reason}):"]
    for wheel in wanted:
        damaged = file_sha256(cache / wheel.filename)
        why = f", where it has the sha256 {damaged} instead of {wheel.sha256}" if damaged else ""
        lines.append(f"- {wheel.filename}: not in {cache}{why}")
    lines.append(
        "connect this machine to a package index, or run this on a machine with internet, copy what it puts into its "
        "~/.cache/edge-fer/wheels, and name that copy with EDGE_FER_WHEELS=FOLDER"
    )
    return "\n".join(lines)

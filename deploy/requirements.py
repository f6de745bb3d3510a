"""What must be in a wheel set: edge-fer's requirements and those of each wheel, as its board reads them."""

from __future__ import annotations

import email
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from pydantic import Field, ValidationError, field_validator

from deploy.board import explain
from deploy.wheelset import WHEELS, WheelSet, numbers
from edge_fer.errors import ConfigError, UnavailableError
from edge_fer.toml import Settings, read_toml

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
PINS = WHEELS / "pins.toml"

EXTRAS = ("litert",)
"""Extras of edge-fer that are installed on boards; LiteRT runs int8 where tflite-runtime does not."""

_OWN = "edge-fer"


class _Rule(Settings):
    glibc_below: str
    machine: Literal["aarch64", "x86_64"] | None = None
    """None: both."""

    reason: str

    def concerns(self, machine: str, glibc: str) -> bool:
        return self.machine in {None, machine} and numbers(glibc) < numbers(self.glibc_below)


class Pin(_Rule):
    """`[[pin]]`: a package that is held back on old systems."""

    requirement: str
    """Such as "ai-edge-litert==2.1.0"."""

    @field_validator("requirement")
    @classmethod
    def _can_be_read(cls, requirement: str) -> str:
        try:
            Requirement(requirement)
        except InvalidRequirement as err:
            raise ValueError(f"pin.requirement: {err}") from err
        return requirement


class LeftOut(_Rule):
    """`[[leave_out]]`: an extra of edge-fer that old systems do without."""

    extra: str


class Pins(Settings):
    """The file pins.toml."""

    pin: list[Pin] = Field(default=[])
    leave_out: list[LeftOut] = Field(default=[])


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a wheel set begins with."""

    requirements: tuple[Requirement, ...]  # of edge-fer, with its extras
    pins: tuple[Requirement, ...]
    reasons: tuple[str, ...]  # for each pin, and each extra that is left out


def wanted(python: str, machine: str, glibc: str, *, project: Path = PROJECT, pins: Path = PINS) -> Wanted:
    """What edge-fer needs on such a system. ConfigError names what is wrong in pyproject.toml or pins.toml."""
    rules = _load_pins(pins)
    left_out = [rule for rule in rules.leave_out if rule.concerns(machine, glibc)]
    held = [rule for rule in rules.pin if rule.concerns(machine, glibc)]
    tables = read_toml(project)["project"]
    texts = list(tables["dependencies"])
    for extra in EXTRAS:
        if extra not in {rule.extra for rule in left_out}:
            texts += tables["optional-dependencies"][extra]
    requirements = applicable(texts, marker_environment(python, machine))
    names = {canonicalize_name(requirement.name) for requirement in requirements}
    held = [rule for rule in held if canonicalize_name(Requirement(rule.requirement).name) in names]
    return Wanted(
        requirements=tuple(requirements),
        pins=tuple(Requirement(rule.requirement) for rule in held),
        reasons=tuple(
            [f"{rule.requirement}: {rule.reason}" for rule in held]
            + [f"without edge-fer[{rule.extra}]: {rule.reason}" for rule in left_out]
        ),
    )


def marker_environment(python: str, machine: str) -> dict[str, str]:
    """What markers such as `python_version < "3.12"` are compared with on a board, whatever runs here."""
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{python}.0",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{python}.0",  # of all patch releases the one that wants the most backports
        "python_version": python,
        "sys_platform": "linux",
    }


def applicable(texts: Iterable[str], environment: Mapping[str, str], extras: Iterable[str] = ()) -> list[Requirement]:
    """The requirements whose markers hold there."""
    requirements = [Requirement(text) for text in texts]
    places = [{**environment, "extra": extra} for extra in ("", *extras)]
    return [item for item in requirements if not item.marker or any(item.marker.evaluate(place) for place in places)]


def missing_requirements(wheel_set: WheelSet, paths: Sequence[Path], *, project: Path = PROJECT) -> list[str]:
    """What edge-fer or a wheel requires there and the set has not: none, and nothing is downloaded on the board.

    UnavailableError where a path is no wheel.
    """
    environment = marker_environment(wheel_set.python, wheel_set.machine)
    metadata = {wheel.name: _read_metadata(path) for wheel, path in zip(wheel_set.wheels, paths, strict=True)}
    root = wanted(wheel_set.python, wheel_set.machine, wheel_set.glibc, project=project)
    waiting = [(_OWN, requirement) for requirement in root.requirements]
    problems = []
    for name, content in metadata.items():
        waiting += [(name, item) for item in applicable(content.requires, environment)]
        if not SpecifierSet(content.python).contains(f"{wheel_set.python}.99"):
            problems.append(f"{name} {wheel_set.version(name)} is for Python {content.python}, not {wheel_set.python}")
    seen: set[str] = set()
    while waiting:
        user, requirement = waiting.pop(0)
        if (key := f"{user} {requirement}") in seen:
            continue
        seen.add(key)
        name = canonicalize_name(requirement.name)
        found = wheel_set.version(name)
        if found is None or not requirement.specifier.contains(found, prereleases=True):
            problems.append(f"{user} requires {requirement}; the set {wheel_set.key} has {found or 'none'}")
        elif requirement.extras:
            more = applicable(metadata[name].requires, environment, requirement.extras)
            waiting += [(name, item) for item in more]
    return problems


@dataclass(frozen=True, slots=True)
class _Metadata:
    requires: tuple[str, ...]
    python: str  # ">=3.9"; "" is any


def _read_metadata(wheel: Path) -> _Metadata:
    try:
        with zipfile.ZipFile(wheel) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            headers = email.message_from_bytes(archive.read(name))
    except (OSError, ValueError, zipfile.BadZipFile) as err:
        raise UnavailableError(f"{wheel}: no wheel that can be read ({err})") from err
    return _Metadata(tuple(headers.get_all("Requires-Dist", [])), headers.get("Requires-Python", ""))


def _load_pins(path: Path) -> Pins:
    try:
        return Pins.model_validate(read_toml(path))
    except ValidationError as err:
        raise ConfigError("\n".join(f"{path}: {explain(error)}" for error in err.errors())) from err

"""The boards that edge-fer is deployed to, and the systems that each of them runs: one TOML file a board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, StringConstraints, ValidationError, model_validator

from deploy.wheelset import load_wheel_set, numbers, parse_set_key
from edge_fer.errors import ConfigError, UsageError
from edge_fer.toml import Settings, read_toml

BOARDS = Path(__file__).parent / "boards"

Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
TwoNumbers = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+$")]
_TITLES = ("board", "system", "glibc", "Python", "runtimes", "camera", "watts", "power mode")
_RUNTIMES = {"tflite-runtime": "tflite-runtime", "LiteRT": "ai-edge-litert"}
_PYTHON_FROM = {"system": "system", "standalone": "bundled"}

Text = Annotated[str, StringConstraints(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """`[[system]]`: an operating system of a board, and what is installed for it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    key: Word
    name: Text
    """For people."""

    glibc: TwoNumbers
    systemd: Annotated[int, Field(ge=235, strict=True)]
    """Its major version; edge-fer.service needs 235 or newer."""

    python: TwoNumbers
    python_source: Literal["system", "standalone"]
    """Whether the board's own /usr/bin/python3 is of that version, or a CPython comes with the bundle."""

    os: tuple[Text, ...]
    """ID and VERSION_ID of /etc/os-release, such as "ubuntu 18.04", by which it is recognised."""

    wheels: Text
    """Name of its wheel set: wheels/<this>.txt."""

    drop_ins: tuple[Word, ...]
    """Names of the drop-ins of edge-fer.service that it needs: systemd/drop-ins/<this>.conf."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What is known of a board before anything is connected to it."""

    key: str
    """Name of its file, without .toml."""

    name: str
    """For people."""

    compatible: tuple[str, ...]
    """Any of these is within the board's /proc/device-tree/compatible; none: every machine of its architecture."""

    models: tuple[str, ...]
    """Or any of these within /proc/device-tree/model."""

    machine: Literal["aarch64", "x86_64"]
    """As `uname -m` says it."""

    qemu_cpu: str
    """A processor of qemu-aarch64 that has the same instructions; "" where none is needed."""

    power_mode: str
    """Its default mode of nvpmodel; "" where it has none."""

    environment: Mapping[str, str]
    """Variables that edge-fer runs with."""

    camera: str
    """Address of its usual camera."""

    power_sensor: Literal["ina3221", "pmic", "rapl", "none"]
    rails_need_rule: bool
    """Whether only root may read that sensor until a rule of udev or tmpfiles opens it."""

    systems: tuple[System, ...]
    """At least one; the first is the default."""

    def system(self, key: str | None = None) -> System:
        """The system of that name, without one the default; UsageError lists those that exist."""
        if key is None:
            return self.systems[0]
        for system in self.systems:
            if system.key == key:
                return system
        known = ", ".join(system.key for system in self.systems)
        raise UsageError(f"{self.key}: no system {key!r}; it runs {known}")

    def fits(self, compatible: str, model: str) -> bool:
        """Whether a device tree with these texts is of this board; one that names no board fits every machine."""
        if not self.compatible and not self.models:
            return True
        return any(part in compatible for part in self.compatible) or any(part in model for part in self.models)


class _Camera(Settings):
    default: Text


class _Sensors(Settings):
    power: Literal["ina3221", "pmic", "rapl", "none"]
    rails_need_rule: bool


class _BoardFile(Settings):
    """Keys of a board's file."""

    # A TOML array is no tuple, and a table no System: strictly neither could be read. A number is no string even so.
    model_config = ConfigDict(strict=False)

    name: Text
    compatible: tuple[Text, ...]
    models: tuple[Text, ...]
    machine: Literal["aarch64", "x86_64"]
    qemu_cpu: str
    power_mode: str
    environment: dict[str, str]
    camera: _Camera
    sensors: _Sensors
    system: list[System] = Field(min_length=1)

    @model_validator(mode="after")
    def _systems_fit(self) -> _BoardFile:
        keys = [system.key for system in self.system]
        if double := sorted({key for key in keys if keys.count(key) > 1}):
            raise ValueError(f"system: two of them have the key {double[0]!r}")
        for system in self.system:
            _check_wheels(system, self.machine)
        return self


def load_board(key: str, folder: Path = BOARDS) -> Board:
    """The board of that name. UsageError lists those that exist; ConfigError names file and key of what is wrong."""
    known = _known_boards(folder)
    if key not in known:
        raise UsageError(f"unknown board {key!r}; known: {', '.join(known)}")
    path = folder / f"{key}.toml"
    try:
        content = _BoardFile.model_validate(read_toml(path))
    except ValidationError as err:
        raise ConfigError("\n".join(f"{path}: {explain(error)}" for error in err.errors())) from err
    return Board(
        key=key,
        name=content.name,
        compatible=content.compatible,
        models=content.models,
        machine=content.machine,
        qemu_cpu=content.qemu_cpu,
        power_mode=content.power_mode,
        environment=content.environment,
        camera=content.camera.default,
        power_sensor=content.sensors.power,
        rails_need_rule=content.sensors.rails_need_rule,
        systems=tuple(content.system),
    )


def all_boards(folder: Path = BOARDS) -> list[Board]:
    """Every board of a folder, by name, the generic ones last."""
    return [load_board(key, folder) for key in _known_boards(folder)]


def boards_table(boards: Sequence[Board]) -> str:
    """What each board runs, one line a system; ConfigError or UsageError where its wheel set cannot be read."""
    rows = [_TITLES]
    for board in boards:
        for system in board.systems:
            first = system is board.systems[0]
            mode = board.power_mode or "-"
            rows.append(
                (
                    board.key if first else "",
                    system.key,
                    system.glibc,
                    f"{system.python} {_PYTHON_FROM[system.python_source]}",
                    _runtimes(system),
                    *((board.camera, board.power_sensor, mode) if first else ("", "", "")),
                )
            )
    widths = [max(len(row[column]) for row in rows) for column in range(len(_TITLES))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def _runtimes(system: System) -> str:
    wheel_set = load_wheel_set(system.wheels)
    found = {title: wheel_set.version(name) for title, name in _RUNTIMES.items()}
    return ", ".join(f"{title} {version}" for title, version in found.items() if version)


def _known_boards(folder: Path) -> list[str]:
    return sorted((path.stem for path in folder.glob("*.toml")), key=lambda key: (key.startswith("generic"), key))


def _check_wheels(system: System, machine: str) -> None:
    python, set_machine, glibc = parse_set_key(system.wheels)
    if (python, set_machine) != (system.python, machine) or numbers(glibc) > numbers(system.glibc):
        raise ValueError(
            f"system.{system.key}.wheels: {system.wheels!r} is for Python {python} on {set_machine} with glibc {glibc} "
            f"or newer; this system has Python {system.python} on {machine} with glibc {system.glibc}"
        )


def explain(error: Mapping[str, Any]) -> str:
    """One pydantic error as `key: what was found, what would be right`."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
        return f"{key}: unknown key"
    if error["type"] in {"missing", "missing_argument"}:
        return f"{key}: missing"
    if error["type"] == "value_error":  # of our own validators: the message says it all
        return str(error["ctx"]["error"])
    return f"{key}: found {error['input']!r}; {error['msg'][0].lower()}{error['msg'][1:]}"

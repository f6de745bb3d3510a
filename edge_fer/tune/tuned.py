"""`tuned.json` in the state folder: what was measured on this board, what won, and what that rests on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from edge_fer.errors import UnavailableError
from edge_fer.memory.state_folder import read_file, replace_file
from edge_fer.sensors.readings import PowerSource
from edge_fer.tune.basis import Basis
from edge_fer.tune.choose import Goal, Measurement, Remembered, Way, can_save

TUNED_FILE = "tuned.json"

CURE = "edge-fer tune"


class Part(Remembered):
    """The expression network, or all detectors together."""

    name: str  # "nano_b", "full+short"
    models: dict[str, str]  # file name -> sha256 of all that was chosen among
    measurements: tuple[Measurement, ...] = Field(min_length=1)
    left_out: tuple[str, ...] = ()  # ways that cannot run here, and why
    winner: Way  # of all measurements; a configuration that names a runtime chooses among fewer
    why: str


class Tuned(Remembered):
    """One tuning, whole."""

    format: Literal[1] = 1
    version: str  # of edge-fer, for people
    measured_at: str  # RFC 3339
    goal: Goal
    goal_note: str  # why not energy, or what its watts are of
    power_source: PowerSource
    power_mode: str | None  # in which it was measured; None: not known
    basis: Basis
    network: Part
    detector: Part
    doubts: tuple[str, ...] = ()  # why the figures may be worse than the board's best

    @model_validator(mode="after")
    def _can_decide(self) -> Tuned:
        if self.goal == "energy" and not can_save((*self.network.measurements, *self.detector.measurements)):
            raise ValueError("decided by energy, but joules are missing")
        return self

    @property
    def day(self) -> str:
        """On which it was measured: "2026-02-03"."""
        return self.measured_at[:10]


def read_tuned(folder: Path) -> Tuned | None:
    """The tuning of a state folder; None where there is none.

    UnavailableError names the file where it cannot be read, or is not what `write_tuned` writes.
    """
    path = folder / TUNED_FILE
    try:
        content = read_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as err:
        raise UnavailableError(f"{path}: cannot be read ({err.strerror})") from err
    except ValueError as err:
        raise UnavailableError(f"{path}: not a tuning ({err}); {CURE}") from err
    try:
        return Tuned.model_validate_json(content)
    except ValidationError as err:
        first = err.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        wrong = f"{key}: {first['msg']}" if key else first["msg"]
        raise UnavailableError(f"{path}: damaged, or of another version ({wrong}); {CURE}") from err


def write_tuned(folder: Path, tuned: Tuned) -> Path:
    """Whole or not at all; UnavailableError names the file. Returns where it is."""
    path = folder / TUNED_FILE
    try:
        replace_file(path, tuned.model_dump_json(indent=1).encode() + b"\n")
    except OSError as err:
        raise UnavailableError(f"{path}: cannot be written ({err.strerror or err})") from err
    return path


def prepare_folder(folder: Path) -> None:
    """Make sure that a tuning can be kept, before minutes are spent on it. UnavailableError says what to do."""
    trial = folder / f"{TUNED_FILE}.trial"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(trial, b"x", durable=False)
        trial.unlink()
    except OSError as err:
        raise UnavailableError(
            f"state folder {folder}: cannot be written ({err.strerror or err}); run it as the daemon's user, or with "
            "sudo; --dry-run only looks"
        ) from err

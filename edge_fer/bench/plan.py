"""What a diagnosis is asked to do."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from edge_fer.capture.uri import CameraUri
from edge_fer.classify import NetworkName
from edge_fer.errors import UsageError
from edge_fer.sensors.machine import Machine

SECONDS_WITH_WATTS, SECONDS_WITHOUT = 10.0, 2.0
"""Of a row: energy takes its time, and speed alone does not."""

DEFAULT_THREADS = (1, 2, 4)


@dataclass(frozen=True, slots=True)
class Plan:
    """Checked already: what is wrong is said before minutes of measuring."""

    networks: tuple[NetworkName, ...]
    clips: tuple[CameraUri, ...]
    machine: Machine
    threads: tuple[int, ...] = DEFAULT_THREADS
    threads_given: bool = False  # whether somebody named them
    seconds: float | None = None  # of a row; None: long enough for what there is to measure
    power_mode: str | None = None
    all_modes: bool = False
    baseline: bool = False
    cameras: int | None = None  # of the load test; None: it is not done
    fps: float = 15.0

    @property
    def one_mode_only(self) -> bool:
        """Whether there is work that is done once."""
        return self.baseline or self.cameras is not None


def parse_threads(text: str) -> tuple[int, ...]:
    """Numbers of threads, "1,2,4"; UsageError where they are none, or more than this machine has cores."""
    cores = os.sysconf("SC_NPROCESSORS_CONF")  # those that are offline too: another power mode may have them
    wanted = f"give numbers from 1 to {cores}, the cores of this machine, with commas: --threads 1,2"
    if not re.fullmatch(r"\d{1,4}(,\d{1,4})*", text):
        raise UsageError(f"--threads {text!r}: {wanted}")
    threads = tuple(dict.fromkeys(int(number) for number in text.split(",")))
    if wrong := [number for number in threads if not 1 <= number <= cores]:
        raise UsageError(f"--threads {wrong[0]}: {wanted}")
    return threads


def check_together(plan: Plan) -> None:
    """UsageError for what does not go together."""
    if plan.all_modes and plan.power_mode is not None:
        raise UsageError("--all-modes and --power-mode: give one of them")
    if plan.all_modes and plan.one_mode_only:
        raise UsageError("--all-modes: --baseline and --cameras are measured in one mode; name it with --power-mode")


def thread_counts(wanted: Sequence[int], cores: int) -> list[int]:
    """Those that the cores which are online now are enough for."""
    return [number for number in sorted(wanted) if number <= cores]

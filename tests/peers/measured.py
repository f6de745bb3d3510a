"""What is measured of one program in one round, and how a child process is measured."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from edge_fer.errors import UnavailableError


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One program on the clip, once. CPU is user and system time of all its threads and child processes."""

    who: str
    what: str  # is done for a frame
    round: int
    frames: int
    cpu_ms_per_frame: float  # decoding included
    cpu_ms_without_decode: float | None
    peak_rss_mb: float
    first_result_s: float | None  # from the start of the process
    first_result: str  # what that is
    whole_process_cpu_s: float  # with start-up and warm-up
    found: dict[str, float] = field(default_factory=dict)
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Child:
    """A process that has ended."""

    lines: list[str]  # of its standard output
    first_line_s: float | None
    cpu_s: float
    peak_rss_mb: float


def run_child(command: list[str], cwd: Path | None = None) -> Child:
    """Run to the end; UnavailableError with its last words where it fails."""
    started_s, first_s, lines = time.monotonic(), None, []
    with tempfile.TemporaryFile("w+", errors="replace") as words:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=words, text=True, cwd=cwd)
        assert child.stdout is not None
        with child.stdout:
            for line in child.stdout:
                if first_s is None:
                    first_s = round(time.monotonic() - started_s, 2)
                lines.append(line.rstrip("\n"))
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        words.seek(0)
        last = (words.read().strip().splitlines() or ["no message"])[-1]
    if child.returncode:
        raise UnavailableError(
            f"{Path(command[0]).name} {' '.join(command[1:3])} ended with {child.returncode}: {last}"
        )
    return Child(lines, first_s, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6)

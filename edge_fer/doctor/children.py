"""Runs what may kill a process in a child, and says how that child ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from edge_fer.doctor.patient import Place

TRIAL = "edge_fer.doctor.trial"

STEP_S = 25.0
"""For all steps of one child: a cold start from an SD card takes its time."""

OPENBLAS = {"OPENBLAS_CORETYPE": "ARMV8"}
"""Keeps OpenBLAS from instructions that it wrongly believes some Jetsons to have."""

_LAST_WORDS = 300


class Step(NamedTuple):
    """What became of one step."""

    name: str
    told: Mapping[str, Any]  # what the child says of it; empty where it failed
    error: str = ""  # of Python
    signal: int = 0  # that ended the child meanwhile
    silent_s: float = 0.0  # for how long it did not answer

    @property
    def good(self) -> bool:
        """Whether it was done."""
        return not (self.error or self.signal or self.silent_s)

    @property
    def problem(self) -> str:
        """What happened, for people; "" where it is good."""
        if self.signal:
            return f"the process was ended by {signal_name(self.signal)}"
        if self.silent_s:
            return f"no answer within {self.silent_s:g} s"
        return self.error


def steps(place: Place, what: str, words: Sequence[str], more_environ: Mapping[str, str] | None = None) -> list[Step]:
    """Try all words; a child that dies at one is followed by another for those after it."""
    found: list[Step] = []
    left = list(words)
    while left:
        done = list(_one_child(place, what, left, {**place.environ, **(more_environ or {})}))
        found += done
        left = left[len(done) :]
    return found


def signal_name(number: int) -> str:
    """SIGILL (illegal instruction)."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    described = signal.strsignal(number)
    return f"{name} ({described.lower()})" if described else name


def _one_child(place: Place, what: str, words: Sequence[str], environ: Mapping[str, str]) -> Iterator[Step]:
    """At least one step, in order, up to where the child ended."""
    command = [place.python, "-m", TRIAL, what, *words]
    pipe = subprocess.PIPE
    try:
        # Of its own session: a Ctrl-C at the terminal is for this process, which then ends the child.
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=dict(environ), start_new_session=True
        )
    except OSError as err:
        yield from (Step(word, {}, f"{place.python}: cannot be started ({err.strerror})") for word in words)
        return
    silent = False
    try:
        said, complained = child.communicate(timeout=STEP_S * place.patience)
    except subprocess.TimeoutExpired:
        silent = True
        child.kill()
        said, complained = child.communicate()
    finally:
        if child.poll() is None:  # interrupted
            child.kill()
            child.wait()
    yield from _read(words, said, _ending(child.returncode, complained, STEP_S * place.patience if silent else 0.0))


def _read(words: Sequence[str], said: bytes, ending: Step) -> Iterator[Step]:
    ended = [line for line in map(_line, said.splitlines()) if "end" in line]
    for word, line in zip(words, ended, strict=False):
        error = str(line.pop("error", ""))
        line.pop("end")
        yield Step(word, {} if error else line, error)
    if len(ended) < len(words):
        yield ending._replace(name=words[len(ended)])


def _line(text: bytes) -> dict[str, Any]:
    """What a library prints between the lines is nothing to us."""
    try:
        line = json.loads(text)
    except ValueError:
        return {}
    return line if isinstance(line, dict) else {}


def _ending(code: int, complained: bytes, silent_s: float) -> Step:
    if silent_s:
        return Step("", {}, silent_s=silent_s)
    if code < 0:
        return Step("", {}, signal=-code)
    words = complained.decode(errors="replace").strip().splitlines()
    last = words[-1][-_LAST_WORDS:] if words else "no message"
    return Step("", {}, f"Python ended with {code}: {last}" if code else f"Python ended early: {last}")


def glibc() -> str:
    """Version of this system's C library; "" where it has another."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").removeprefix("glibc ")
    except (ValueError, OSError):
        return ""

"""A tuning for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_fer.tune.choose import Measurement
from edge_fer.tune.tuned import Part, Tuned

ACCURACY_NOTE = (
    "int8 and float32 of a shipped network read faces equally well: within half a percentage point on 2,828 "
    "validation faces"
)


def report(tuned: Tuned) -> list[str]:
    """The lines of a table for each network, winners first."""
    mode = f", power mode {tuned.power_mode}" if tuned.power_mode else ""
    cores = "1 core" if tuned.basis.cores == 1 else f"{tuned.basis.cores} cores"
    lines = [f"{tuned.basis.board}, {tuned.basis.processor}, {cores}{mode}"]
    lines += [*_part("expressions", tuned.network), *_part("detectors, one look of each", tuned.detector), ""]
    lines.append(f"decided by {tuned.goal}{f': {tuned.goal_note}' if tuned.goal_note else ''}")
    if not tuned.network.name.endswith(".tflite"):
        lines.append(ACCURACY_NOTE)
    return lines


def warnings(tuned: Tuned) -> list[str]:
    """What a person should know before relying on it."""
    return [f"in doubt: {doubt}" for doubt in tuned.doubts]


def verdict(tuned: Tuned, path: Path, stale: Sequence[str]) -> str:
    """Of a remembered tuning: whether it is used."""
    state = f"stale, not used ({'; '.join(stale)}): edge-fer tune" if stale else "holds for this board"
    return f"{path}: tuned on {tuned.day} with edge-fer {tuned.version}; {state}"


def _part(title: str, part: Part) -> list[str]:
    lines = ["", f"{title}: {part.name} on {part.winner}", f"  {part.why}"]
    with_joules = any(one.joules is not None for one in part.measurements)
    head = f"  {'runtime':<16}{'precision':<11}{'threads':>7}{'ms':>10}{'images/s':>10}{'CPU ms':>10}"
    lines.append(head + (f"{'mJ above idle':>15}{'mJ total':>10}" if with_joules else ""))
    for one in sorted(part.measurements, key=lambda one: (one.way != part.winner, one.ms)):
        mark = "*" if one.way == part.winner else " "
        lines.append(f"{mark} {_row(one)}{_joules(one) if with_joules else ''}")
    return [*lines, *(f"  left out: {reason}" for reason in part.left_out)]


def _row(one: Measurement) -> str:
    way = one.way
    return (
        f"{way.runtime:<16}{way.precision or '-':<11}{way.threads:>7}{one.ms:>10.3f}{one.fps:>10.0f}{one.cpu_ms:>10.3f}"
    )


def _joules(one: Measurement) -> str:
    cells = ["-" if joules is None else f"{joules * 1000:.3f}" for joules in (one.joules, one.total_joules)]
    return f"{cells[0]:>15}{cells[1]:>10}"

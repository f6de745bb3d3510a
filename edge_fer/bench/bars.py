"""What a picture of a diagnosis shows, as bars in groups; pure, so that it is tested without drawing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from edge_fer.bench.figures import BaselineRow, Diagnosis, Measured, ReportedRow, Row
from edge_fer.bench.summary import fastest

BarKind = Literal["measured", "baseline", "reported"]

NETWORKS = {"nano_a": "EmotionNet Nano-A", "nano_b": "EmotionNet Nano-B"}
RUNTIMES = {"litert": "LiteRT"}
BASELINES = {"graph": "graph mode", "predict": "predict"}


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of the picture; None where there is no such figure."""

    kind: BarKind
    label: str
    series: str  # what shares a colour: runtime and precision
    fps: float
    detail: str  # beside the figure, smaller
    fps_per_nominal_w: float | None = None
    fps_per_measured_w: float | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """All bars of one network."""

    title: str
    bars: tuple[Bar, ...]


def groups(diagnosis: Diagnosis) -> tuple[Group, ...]:
    """By network: each runtime and precision at its best number of threads, TensorFlow, and what the paper reports.

    Of several power modes only the fastest row in each.
    """
    names = list(dict.fromkeys(row.network for mode in diagnosis.modes for row in mode.rows))
    return tuple(Group(NETWORKS.get(name, name), tuple(_bars(diagnosis, name))) for name in names)


def times_faster(row: Row, baseline: BaselineRow) -> float:
    """Median wall time over median wall time."""
    return baseline.p50_ms / row.speed.p50_ms


def number(value: float) -> str:
    """Three figures that count, with commas: 0.876, 25.8, 2,854."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three figures


def _bars(diagnosis: Diagnosis, network: str) -> Iterable[Bar]:
    several = len(diagnosis.modes) > 1
    measured = [(mode, row) for mode in diagnosis.modes for row in _shown(mode, network, several=several)]
    yield from (_measured(mode, row, several=several) for mode, row in measured)
    best = fastest(row for _, row in measured)
    for how in BASELINES:
        found = [row for row in diagnosis.baseline if row.network == network and row.how == how]
        if found and best:
            yield _baseline(
                min(found, key=lambda row: (row.threads != best.threads, row.p50_ms)), None if several else best
            )
    yield from (_reported(row) for row in diagnosis.reported if row.network == network)


def _shown(mode: Measured, network: str, *, several: bool) -> list[Row]:
    rows = sorted((row for row in mode.rows if row.network == network), key=lambda row: -row.speed.fps)
    if several:
        return rows[:1]
    best = {(row.runtime, row.precision): row for row in reversed(rows)}
    return [row for row in rows if best[row.runtime, row.precision] is row]


def _measured(mode: Measured, row: Row, *, several: bool) -> Bar:
    runtime = f"{RUNTIMES.get(row.runtime, row.runtime)} {row.precision}"
    threads = "1 thread" if row.threads == 1 else f"{row.threads} threads"
    speed = row.speed
    detail = f"p50 {number(speed.p50_ms)}, p99 {number(speed.p99_ms)} ms"
    if flag := "throttled" if speed.throttled else "disturbed" if speed.disturbed else "":
        detail += f" - {flag}"
    watts = speed.energy.total_w if speed.energy else None
    return Bar(
        "measured",
        f"{mode.mode or 'as it is'}: {runtime}, {threads}" if several else f"{runtime}, {threads}",
        f"{row.runtime} {row.precision}",
        speed.fps,
        detail,
        row.nominal_fps_per_w,
        speed.fps / watts if watts else None,
    )


def _baseline(row: BaselineRow, best: Row | None) -> Bar:
    """With a ratio where it is known that both ran in the same power mode."""
    threads = "1 thread" if row.threads == 1 else f"{row.threads} threads"
    ratio = f": {number(times_faster(best, row))} times slower" if best else ""
    name = row.version.rpartition(" ")[0] or row.version
    return Bar(
        "baseline",
        f"{name} {BASELINES[row.how]}, {threads}",
        "TensorFlow",
        1000 / row.p50_ms,
        f"p50 {number(row.p50_ms)} ms{ratio}",
    )


def _reported(row: ReportedRow) -> Bar:
    label = f"Paper: {row.board}, {row.mode}"
    return Bar("reported", label, "reported", row.fps, "reported", row.fps_per_nominal_w)

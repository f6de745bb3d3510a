"""A diagnosis in a few sentences: how many faces per second, at how many watts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from edge_fer.bench.columns import number
from edge_fer.bench.figures import Diagnosis, Measured, Row, Speed

_FIGURE = re.compile(r"(?<![\w.])\d+(?:\.\d+)?")


def fastest(rows: Iterable[Row]) -> Row | None:
    """The row with the most images per second."""
    return max(rows, key=lambda row: row.speed.fps, default=None)


def thriftiest(rows: Sequence[Row]) -> Row | None:
    """The row with the fewest joules of an image; None where none has any."""
    measured = [row for row in rows if row.speed.energy]
    return min(measured, key=lambda row: row.speed.energy.joules_per_image if row.speed.energy else 0, default=None)


def disturbances(speeds: Sequence[Speed]) -> list[str]:
    """Of all rows together: what differs only in its figures is told once, with the lowest and the highest."""
    parts = [part for speed in speeds for part in speed.disturbed.split("; ") if part]
    alike: dict[str, list[str]] = {}
    for part in parts:
        alike.setdefault(_FIGURE.sub("#", part), []).append(part)
    return [f"{len(told)} of {len(speeds)} rows: {_range(told)}" for told in alike.values()]


def _range(alike: Sequence[str]) -> str:
    figures = sorted({found[0] for part in alike if (found := _FIGURE.search(part))}, key=float)
    span = figures[0] if len(figures) == 1 else f"{figures[0]} to {figures[-1]}" if figures else ""
    return _FIGURE.sub(span, alike[0], count=1)


def in_short(diagnosis: Diagnosis) -> list[str]:
    """Sentences, the most important first."""
    told = [sentence for mode in diagnosis.modes for sentence in _of_mode(mode, several=len(diagnosis.modes) > 1)]
    if not told:
        return ["Nothing was measured."]
    return [*told, *_of_peak(diagnosis), *_of_paper(diagnosis), *_of_two_machines(diagnosis)]


def _of_mode(mode: Measured, *, several: bool) -> list[str]:
    best = fastest(mode.rows)
    where = f"{mode.mode}: " if several else ""
    told = [f"{where}{best.speed.fps:,.0f} faces per second at {_watts(best.speed)} ({_name(best)})."] if best else []
    thrifty = thriftiest(mode.rows)
    if thrifty and thrifty.speed.energy and thrifty is not best:
        told.append(
            f"{where}fewest joules: {thrifty.speed.energy.joules_per_image * 1000:.2f} mJ a face at "
            f"{thrifty.speed.fps:,.0f} per second ({_name(thrifty)})."
        )
    if mode.pipeline:
        rates = " and ".join(f"{row.speed.fps:,.0f}" for row in mode.pipeline)
        told.append(f"{where}The whole pipeline, from the camera to the event: {rates} frames per second.")
    return told


def _watts(speed: Speed) -> str:
    energy = speed.energy
    if not energy:
        return "watts that are not known"
    about = "about " if energy.source == "estimated" else ""
    joules = f"{energy.joules_per_image * 1000:.2f} mJ a face"
    return f"{about}{number(energy.total_w)} W, {number(energy.marginal_w)} W above the idle floor: {joules}"


def _of_peak(diagnosis: Diagnosis) -> list[str]:
    best = fastest([row for mode in diagnosis.modes for row in mode.rows])
    if best is None:
        return []
    one_core = diagnosis.peak_gmacs_int8 if best.precision == "int8" else diagnosis.peak_gmacs_float32
    if not one_core:
        return []
    reached = f"The fastest row does {best.gmacs:,.1f} GMAC/s"
    cores = "one core" if best.threads == 1 else f"{best.threads} cores"
    peak = one_core * best.threads
    most = f"the {peak:,.0f} GMAC/s that {cores} could do in {best.precision} at most"
    return [f"{reached}, {best.gmacs / peak:.0%} of {most}."]


def _of_paper(diagnosis: Diagnosis) -> list[str]:
    """Beside the paper's figure of the same network, which is of another board and of other software."""
    best = fastest([row for mode in diagnosis.modes for row in mode.rows])
    alike = [row for row in diagnosis.reported if best and row.network == best.network]
    if not best or not alike:
        return []
    paper = min(alike, key=lambda row: row.budget_w)
    reported = f"{paper.fps:.1f} per second for {paper.network} at {paper.budget_w:g} W nominal on a {paper.board}"
    times = f"{best.speed.fps / paper.fps:,.0f} times that, on this {'machine' if diagnosis.files_below else 'board'}"
    return [f"The paper reports {reported}; this run's fastest is {times}."]


def _of_two_machines(diagnosis: Diagnosis) -> list[str]:
    if diagnosis.files_below is None:
        return []
    return ["Speeds and watts are of two machines: what is made of both (joules, images per watt) is of neither."]


def _name(row: Row) -> str:
    return f"{row.network} {row.precision} on {row.runtime}, {row.threads} thread{'s' if row.threads > 1 else ''}"

"""A diagnosis for people: what was measured on what, in tables of 110 columns."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import click

from edge_fer.bench.columns import Column, Line, fact, headline, milliseconds, number, paragraph, rows, scaled, table
from edge_fer.bench.figures import BaselineRow, Diagnosis, Energy, Load, Measured, PipelineRow, ReportedRow, Row, Speed
from edge_fer.bench.summary import disturbances, fastest, in_short

NETWORKS = (
    Column(7, "", "network", left=True),
    Column(9, "", "precision", left=True),
    Column(14, "", "runtime", left=True),
    Column(7, "", "threads"),
    Column(7, "images", "per s"),
    Column(6, "one in", "p50 ms"),
    Column(6, "", "p95 ms"),
    Column(6, "", "p99 ms"),
    Column(7, "nominal", "img/s/W"),
    Column(5, "watts", "total"),
    Column(5, "above", "idle"),
    Column(6, "mJ/img", "total"),
    Column(6, "above", "idle"),
    Column(4, "", "degC"),
)

PIPELINE = (
    Column(28, "", "clip", left=True),
    Column(6, "", "frames"),
    Column(6, "faces", "read"),
    Column(6, "", "events"),
    Column(8, "frames", "per s"),
    Column(7, "delay", "p50 ms"),
    Column(7, "", "p99 ms"),
    Column(7, "CPU", "ms/frm"),
    Column(6, "watts", "total"),
    Column(6, "above", "idle"),
    Column(6, "mJ/frm", "total"),
    Column(4, "", "degC"),
)

BASELINE = (
    Column(7, "", "network", left=True),
    Column(26, "", "how", left=True),
    Column(7, "", "threads"),
    Column(8, "one in", "p50 ms"),
    Column(8, "", "p95 ms"),
    Column(8, "CPU", "ms"),
    Column(10, "edge-fer", "p50 ms"),
    Column(10, "that is", "times"),
    Column(20, "", "with", left=True),
)


def render(diagnosis: Diagnosis) -> str:
    """All of it as text; `click.echo` takes its colours away where no terminal shows it."""
    lines = [*_head(diagnosis), ""]
    for mode in diagnosis.modes:
        lines += [*_mode(mode, diagnosis.reported), ""]
    if diagnosis.baseline_asked:
        lines += [*_baseline(diagnosis), ""]
    if diagnosis.load:
        lines += [*_load(diagnosis.load), ""]
    if diagnosis.warnings:
        lines += [headline("Please note")]
        for warning in diagnosis.warnings:
            lines += [click.style(line, fg="yellow") for line in paragraph(warning, "    ", "  - ")]
        lines += [""]
    lines += [headline("In short"), *(line for text in in_short(diagnosis) for line in paragraph(text))]
    return "\n".join(lines)


def _head(diagnosis: Diagnosis) -> list[str]:
    packages = ", ".join(f"{name} {version}" for name, version in diagnosis.packages.items())
    measured = [row for mode in diagnosis.modes for row in mode.rows]
    return [
        headline(f"edge-fer {diagnosis.version} on {diagnosis.board or 'this machine'}"),
        *fact("processor", f"{diagnosis.processor}; {_peak(diagnosis)}"),
        *fact("software", f"{packages}; Python {diagnosis.python}"),
        *fact("XNNPACK", _xnnpack(measured)),
        *fact("measured at", diagnosis.started_at),
    ]


def _peak(diagnosis: Diagnosis) -> str:
    int8, float32 = diagnosis.peak_gmacs_int8, diagnosis.peak_gmacs_float32
    if int8 is None or float32 is None:
        return f"no peak is given: {diagnosis.peak_note}"
    return f"a core can do {int8:.0f} GMAC/s in int8, {float32:.0f} in float32 at most ({diagnosis.peak_note})"


def _xnnpack(measured: Sequence[Row]) -> str:
    if not measured:
        return "nothing was loaded"
    partly = [row for row in measured if row.xnnpack_operators < row.operators]
    if not partly:
        whole = dict.fromkeys(f"{row.network} {row.operators} of {row.operators}" for row in measured)
        return f"runs all operators of each network ({', '.join(whole)})"
    told = dict.fromkeys(
        f"{row.network} {row.precision} on {row.runtime} {row.xnnpack_operators} of {row.operators}" for row in partly
    )
    return f"runs only a part of some networks, the rest is slow: {', '.join(told)}"


def _mode(mode: Measured, reported: Sequence[ReportedRow]) -> list[str]:
    budget = f", a budget of {mode.budget_w:g} W" if mode.budget_w else ""
    clock = f" at up to {mode.cpu_mhz:.0f} MHz" if mode.cpu_mhz else ""
    cores = f"{mode.cores_online} of {mode.cores} online{clock}" if mode.cores else "the kernel does not tell"
    lines = [
        headline(f"Power mode {mode.mode}{budget}" if mode.mode else "This machine as it is"),
        *fact("power mode", mode.mode_note if mode.mode else f"none: {mode.mode_note}"),
        *fact("cores", cores),
        *fact("watts", _watts(mode)),
        "",
    ]
    if mode.rows:
        lines += [*_networks(mode, reported), ""]
    if mode.pipeline:
        lines += _pipeline(mode.pipeline)
    return lines


def _watts(mode: Measured) -> str:
    if mode.power_source == "unavailable":
        return f"not measured: {mode.power_note}"
    idle = "not measured" if mode.idle_w is None else f"{mode.idle_w:.2f} W"
    note = mode.power_note.removeprefix(f"{mode.power_source}: ") or "the whole board"
    return f"{mode.power_source}: {note}; idle floor {idle}"


def _networks(mode: Measured, reported: Sequence[ReportedRow]) -> list[str]:
    best = fastest(mode.rows)
    lines = []
    for row in mode.rows:
        speed = row.speed
        cells = [row.network, row.precision, row.runtime, str(row.threads), scaled(speed.fps)]
        cells += [milliseconds(part) for part in (speed.p50_ms, speed.p95_ms, speed.p99_ms)]
        cells += [scaled(row.nominal_fps_per_w), *_energy(speed.energy), number(speed.temperature_c, 0)]
        lines.append(Line(cells, "best" if row is best else "plain", "!" if _flagged(speed) else " "))
    seconds = round(median(row.speed.seconds for row in mode.rows), 1)
    foreign = _foreign(mode, reported)
    return [
        headline(f"Expression networks: one face at a time, {seconds:g} s a row"),
        *table(NETWORKS, lines),
        *foreign,
        *_notes(mode, foreign=bool(foreign)),
    ]


def _foreign(mode: Measured, reported: Sequence[ReportedRow]) -> list[str]:
    """Rows of the paper: those of the same budget, where it has any."""
    alike = [row for row in reported if row.budget_w == mode.budget_w] or list(reported)
    # The columns of precision, runtime and threads become one.
    columns = (NETWORKS[0], Column(32, left=True), *NETWORKS[4:])
    unknown = ["-"] * 5
    lines = [
        [row.network, f"paper: {row.board} {row.mode}", scaled(row.fps), *unknown[:3], scaled(row.fps_per_nominal_w)]
        for row in alike
    ]
    return rows(columns, [Line([*cells, *unknown], "foreign", "*") for cells in lines])


def _energy(energy: Energy | None) -> list[str]:
    if energy is None:
        return ["-"] * 4
    return [
        scaled(energy.total_w),
        scaled(energy.marginal_w),
        scaled(energy.joules_per_image * 1000),
        scaled(energy.marginal_joules_per_image * 1000),
    ]


def _flagged(speed: Speed) -> bool:
    return bool(speed.disturbed or speed.throttled)


def _notes(mode: Measured, *, foreign: bool) -> list[str]:
    """What the marks and the dashes mean."""
    lines = []
    if foreign:
        text = "reported by the paper of EmotionNet Nano, from another board; not measured here"
        lines += paragraph(text, "    ", "  * ")
    for text in disturbances([row.speed for row in mode.rows]):
        lines += paragraph(text, "    ", "  ! ")
    if mode.budget_w is None:
        lines += paragraph("nominal img/s/W: none, as no mode with a budget of watts is set", "    ", "  - ")
    missing = dict.fromkeys(row.speed.energy_missing for row in mode.rows if row.speed.energy is None)
    lines += [line for text in missing for line in paragraph(f"watts and joules: {text}", "    ", "  - ")]
    if any(row.speed.temperature_c is None for row in mode.rows):
        lines += paragraph("degC: no temperature was read", "    ", "  - ")
    return lines


def _pipeline(clips: Sequence[PipelineRow]) -> list[str]:
    lines = [
        Line(
            [
                _shortened(row.clip, 28),
                str(row.frames),
                str(row.faces_read),
                str(row.events),
                scaled(row.speed.fps),
                number(row.speed.p50_ms),
                number(row.speed.p99_ms),
                number(row.speed.cpu_ms, 2),
                *_energy(row.speed.energy)[:3],
                number(row.speed.temperature_c, 0),
            ],
            mark="!" if _flagged(row.speed) else " ",
        )
        for row in clips
    ]
    text = [headline("Whole pipeline: from the camera to the event, as fast as it goes"), *table(PIPELINE, lines)]
    for row in clips:
        if row.speed.disturbed:
            text += paragraph(f"{_shortened(row.clip, 60)}: {row.speed.disturbed}", "    ", "  ! ")
        stages = ", ".join(f"{stage} {cpu_ms:.2f}" for stage, cpu_ms in row.stages_cpu_ms.items())
        text += paragraph(f"CPU ms of a frame: {stages}", "    ")
        text += paragraph(f"{_first_event(row)}; {row.rss_mb:.0f} MB resident; published to {row.published_to}", "    ")
    return text


def _first_event(row: PipelineRow) -> str:
    if not row.events:
        return "no event"
    if row.first_event_s is None:
        return "no event soon after the start"
    return f"first event {row.first_event_s:.1f} s after the start"


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"...{text[3 - width :]}"


def _baseline(diagnosis: Diagnosis) -> list[str]:
    lines = [headline("The same networks in TensorFlow, in this run")]
    if diagnosis.baseline:
        measured = [row for mode in diagnosis.modes for row in mode.rows]
        lines += table(BASELINE, [Line(_baseline_cells(found, measured)) for found in diagnosis.baseline])
    if diagnosis.baseline_skipped:
        lines += paragraph(f"not measured: {diagnosis.baseline_skipped}")
    return lines


def _baseline_cells(found: BaselineRow, measured: Sequence[Row]) -> list[str]:
    """With the fastest row of the same network and as many threads."""
    how = f"{found.version} {'graph mode' if found.how == 'graph' else 'predict'}"
    cells = [found.network, how, str(found.threads)]
    cells += [number(found.p50_ms, 3), number(found.p95_ms, 3), number(found.cpu_ms, 3)]
    best = fastest([row for row in measured if row.network == found.network and row.threads == found.threads])
    if best is None:
        return [*cells, "-", "-", ""]
    ratio = found.p50_ms / best.speed.p50_ms
    return [*cells, number(best.speed.p50_ms, 3), f"{ratio:.1f}x", f"{best.precision} {best.runtime}"]


def _load(load: Load) -> list[str]:
    cameras = "1 camera" if load.cameras == 1 else f"{load.cameras} cameras"
    late = load.latency_ms
    text = [headline(f"{cameras} at {load.wanted_fps:g} fps for {load.seconds:.0f} s on {load.cores} cores")]
    text += paragraph(
        f"looked at {min(load.fps):.1f} to {max(load.fps):.1f} fps, fairness {load.fairness:.2f} (slowest / mean)"
    )
    if late:
        text += paragraph(f"capture to publisher p50 {late.p50:.0f}, p95 {late.p95:.0f}, p99 {late.p99:.0f} ms")
    return text + paragraph(
        f"{load.dropped_share:.1%} of the frames dropped, {load.cpu_cores:.2f} cores, {load.rss_mb:.0f} MB, "
        f"{load.updates_per_minute:.1f} changes of expression a minute of a face"
    )

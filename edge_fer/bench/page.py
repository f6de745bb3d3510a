"""A diagnosis as one HTML file: the picture, and all its figures as tables. It loads nothing, and follows dark mode."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from edge_fer.bench.bars import NETWORKS, number
from edge_fer.bench.figures import BaselineRow, Diagnosis, Measured, PipelineRow, ReportedRow, Row
from edge_fer.bench.picture import Ink, draw_picture, headline, how, notes, where

# No other colour is drawn with, so that each can be exchanged for a variable of the style below.
_VARIABLES = {
    "#010201": "page", "#010202": "text", "#010203": "muted", "#010204": "line", "#010205": "baseline",
    "#010206": "series-0", "#010207": "series-1", "#010208": "series-2", "#010209": "series-3",
}  # fmt: skip
_INK = Ink("#010201", "#010202", "#010203", "#010204", "#010205", ("#010206", "#010207", "#010208", "#010209"))

_STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --text: #1a1a1a; --muted: #5f6368; --line: #d5d8dc;
  --baseline: #9aa0a6; --series-0: #0072b2; --series-1: #e69f00; --series-2: #009e73; --series-3: #cc79a7; }
@media (prefers-color-scheme: dark) { :root { --page: #16181c; --text: #eceff1; --muted: #a7adb4; --line: #3c4147;
  --baseline: #7d838a; --series-0: #56a8e0; --series-1: #f0b429; --series-2: #2fbf94; --series-3: #e0a3c4; } }
body { background: var(--page); color: var(--text); font: 15px/1.45 "DejaVu Sans", Verdana, sans-serif;
  max-width: 80rem; margin: 1.5rem auto; padding: 0 1rem; }
svg { width: 100%; height: auto; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--muted); font-weight: normal; }
th:first-child, td:first-child, .words { text-align: left; }
p, li { max-width: 62rem; color: var(--muted); }
"""


def page(diagnosis: Diagnosis) -> str:
    """The whole file."""
    title = escape(headline(diagnosis))
    parts = [_picture(diagnosis, title), *(_mode(mode) for mode in diagnosis.modes)]
    if diagnosis.baseline:
        parts.append(_table("TensorFlow, in the same run", _BASELINE_HEAD, map(_baseline, diagnosis.baseline)))
    if diagnosis.reported:
        sources = "".join(f"<p>{escape(source)}</p>" for source in dict.fromkeys(r.source for r in diagnosis.reported))
        head = "Reported, not measured here"
        parts.append(_table(head, _REPORTED_HEAD, map(_reported, diagnosis.reported)) + sources)
    parts.append(_words(diagnosis))
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body>{''.join(parts)}</body></html>\n"
    )


def _picture(diagnosis: Diagnosis, title: str) -> str:
    svg = draw_picture(diagnosis, "svg", _INK, text_as_paths=False).decode()
    svg = svg[svg.index("<svg") :]
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)


_MODE_HEAD = (
    "network", "precision", "runtime", "threads", "images/s", "p50 ms", "p95 ms", "p99 ms", "CPU ms", "GMAC/s",
    "XNNPACK", "img/s per nominal W", "W total", "W idle", "W marginal", "J/image", "hottest °C", "remarks",
)  # fmt: skip
_PIPELINE_HEAD = (
    "clip", "frames/s", "p50 ms", "p95 ms", "p99 ms", "CPU ms", "W total", "W marginal", "J/frame", "hottest °C",
    "faces read", "events", "remarks",
)  # fmt: skip
_BASELINE_HEAD = ("network", "how", "version", "threads", "p50 ms", "p95 ms", "CPU ms")
_WORDS = ("network", "precision", "runtime", "how", "version", "board", "mode", "clip", "remarks")
_REPORTED_HEAD = ("network", "board", "mode", "images/s", "img/s per nominal W")


def _mode(mode: Measured) -> str:
    name = f"Power mode {mode.mode}" if mode.mode else "As the board is set"
    heads = _table(name, _MODE_HEAD, map(_row, mode.rows))
    remarks = [mode.mode_note, mode.power_note]
    heads += "".join(f"<p>{escape(remark)}</p>" for remark in remarks if remark)
    if mode.pipeline:
        heads += _table("Whole pipeline, camera to event", _PIPELINE_HEAD, map(_pipeline, mode.pipeline))
    return heads


def _row(row: Row) -> Sequence[str]:
    speed, energy = row.speed, row.speed.energy
    watts = [energy.total_w, energy.idle_w, energy.marginal_w, energy.joules_per_image] if energy else [None] * 4
    return [
        NETWORKS.get(row.network, row.network), row.precision, row.runtime, str(row.threads),
        *map(_figure, (speed.fps, speed.p50_ms, speed.p95_ms, speed.p99_ms, speed.cpu_ms, row.gmacs)),
        f"{row.xnnpack_operators}/{row.operators}",
        *map(_figure, (row.nominal_fps_per_w, *watts, speed.temperature_c)),
        ", ".join(filter(None, (*speed.throttled, speed.disturbed, speed.energy_missing))),
    ]  # fmt: skip


def _pipeline(row: PipelineRow) -> Sequence[str]:
    speed, energy = row.speed, row.speed.energy
    watts = (energy.total_w, energy.marginal_w, energy.joules_per_image) if energy else (None,) * 3
    figures = (speed.fps, speed.p50_ms, speed.p95_ms, speed.p99_ms, speed.cpu_ms, *watts, speed.temperature_c)
    remarks = ", ".join(filter(None, (*speed.throttled, speed.disturbed, speed.energy_missing)))
    return [row.clip, *map(_figure, figures), str(row.faces_read), str(row.events), remarks]


def _baseline(row: BaselineRow) -> Sequence[str]:
    figures = map(_figure, (row.p50_ms, row.p95_ms, row.cpu_ms))
    return [NETWORKS.get(row.network, row.network), row.how, row.version, str(row.threads), *figures]


def _reported(row: ReportedRow) -> Sequence[str]:
    name = NETWORKS.get(row.network, row.network)
    return [name, row.board, row.mode, _figure(row.fps), _figure(row.fps_per_nominal_w)]


def _words(diagnosis: Diagnosis) -> str:
    peaks = [
        f"{name} {number(peak)} GMAC/s"
        for name, peak in (("int8", diagnosis.peak_gmacs_int8), ("float32", diagnosis.peak_gmacs_float32))
        if peak
    ]
    lines = [where(diagnosis), how(diagnosis), *notes(diagnosis)]
    lines += [f"Peak of one core: {', '.join(peaks)} ({diagnosis.peak_note})"] if peaks else []
    lines += [f"No figures of TensorFlow: {diagnosis.baseline_skipped}"] if diagnosis.baseline_skipped else []
    lines += diagnosis.warnings
    return f"<h2>Remarks</h2><ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    left = {index for index, cell in enumerate(head) if cell in _WORDS}

    def line(cells: Sequence[str], tag: str) -> str:
        kinds = (' class="words"' if index in left else "" for index in range(len(cells)))
        return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))

    heads = line(head, "th")
    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f'<h2>{escape(title)}</h2><div class="scroll"><table><tr>{heads}</tr>{body}</table></div>'


def _figure(value: float | None) -> str:
    return "-" if value is None else number(value)

"""The picture of a diagnosis, drawn by matplotlib: `Figure` objects, no pyplot: no window, no global state."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_fer.bench.bars import Bar, Group, groups, number
from edge_fer.bench.figures import Diagnosis
from edge_fer.bench.summary import fastest
from edge_fer.errors import UnavailableError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SERIES = ("litert int8", "tflite-runtime float32", "litert float32", "tflite-runtime int8")
"""In the order of their colours; others share the last."""


@dataclass(frozen=True, slots=True)
class Ink:
    """All colours of a picture."""

    page: str
    text: str
    muted: str
    line: str
    baseline: str
    series: tuple[str, ...]


PAPER = Ink("#ffffff", "#1a1a1a", "#5f6368", "#d5d8dc", "#9aa0a6", ("#0072b2", "#e69f00", "#009e73", "#cc79a7"))
"""Colours of Okabe and Ito, which colour-blind people tell apart; each bar has its name beside it all the same."""

WIDTH_IN, ROW_IN = 12.8, 0.34
DPI = 150  # 1920 px wide
TITLE_PT, SUBTITLE_PT, HEAD_PT, LABEL_PT, SMALL_PT = 21.0, 11.0, 11.0, 10.5, 9.0
MARGIN_IN, TOP_IN, NOTE_IN, GAP_IN = 0.35, 1.78, 0.2, 0.3
GROUP_GAP = 0.55  # of a row
LETTER = 0.6
"""Width of a letter of DejaVu Sans in its size, rather too much than too little."""

LINE_CHARACTERS = 150
MOST_NOTES = 6
SPEED = "images per second"

Figures = Callable[[Bar], float | None]


def draw_picture(diagnosis: Diagnosis, ending: str, ink: Ink = PAPER, *, text_as_paths: bool = True) -> bytes:
    """The picture as a file's content, "png" or "svg"; UnavailableError without matplotlib."""
    with _style(ink, text_as_paths=text_as_paths):
        figure = _figure(diagnosis, ink)
        drawn = io.BytesIO()
        metadata: dict[str, Any] = (
            {"Date": None, "Creator": "edge-fer"} if ending == "svg" else {"Software": "edge-fer"}
        )
        figure.savefig(drawn, format=ending, dpi=DPI, metadata=metadata, transparent=ink is not PAPER)
        return drawn.getvalue()


@contextmanager
def _style(ink: Ink, *, text_as_paths: bool) -> Iterator[None]:
    """The same picture everywhere, whatever the user's matplotlibrc says."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of each folder where it can keep no cache
    try:
        import matplotlib as mpl
    except ImportError as err:
        raise UnavailableError(f"--plot needs matplotlib ({err}): pip install 'edge-fer[bench]'") from err
    style: Any = {  # its keys are a type of their own in some versions of matplotlib
        "svg.hashsalt": "edge-fer",  # else the ids are drawn by chance
        "svg.fonttype": "path" if text_as_paths else "none",
        "text.parse_math": False,  # a board's name may hold "$"
        "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib
        "figure.facecolor": ink.page,
        "axes.facecolor": ink.page,
        "text.color": ink.text,
        "hatch.color": ink.baseline,
        "hatch.linewidth": 1.2,
    }
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(style)
        yield


def _figure(diagnosis: Diagnosis, ink: Ink) -> Figure:
    from matplotlib.figure import Figure

    shown = groups(diagnosis)
    places = _places(shown)
    below_in = MARGIN_IN + NOTE_IN * len(notes(diagnosis)[:MOST_NOTES])
    height_in = TOP_IN + below_in + ROW_IN * (places[-1][0] + 1.3 if places else 1)
    figure = Figure(figsize=(WIDTH_IN, height_in))
    _heads(figure, diagnosis, ink, height_in)
    panels = _panels(shown)
    left_in = _left_in(places)
    shares = [2.4 if title == SPEED and len(panels) > 1 else 1.0 for title, _ in panels]
    share_in = (WIDTH_IN - left_in - MARGIN_IN - GAP_IN * (len(panels) - 1)) / sum(shares)
    x_in = left_in
    for (title, figures), share in zip(panels, shares, strict=True):
        width_in, tall_in = share_in * share, height_in - TOP_IN - below_in
        box = (x_in / WIDTH_IN, below_in / height_in, width_in / WIDTH_IN, tall_in / height_in)
        axes = figure.add_axes(box)
        _panel(axes, title, figures, places, ink, width_in)
        if x_in == left_in:
            _labels(axes, shown, places, ink, left_in)
        x_in += width_in + GAP_IN
    return figure


def _panels(shown: tuple[Group, ...]) -> list[tuple[str, Figures]]:
    """Titles and what they show: nominal and measured watts apart, and no panel without a figure."""
    panels: list[tuple[str, Figures]] = [(SPEED, lambda bar: bar.fps)]
    watts: list[tuple[str, Figures]] = [
        ("images/s per\nnominal watt", lambda bar: bar.fps_per_nominal_w),
        ("images/s per\nmeasured watt", lambda bar: bar.fps_per_measured_w),
    ]
    bars = [bar for group in shown for bar in group.bars if bar.kind == "measured"]
    return panels + [(title, figures) for title, figures in watts if any(figures(bar) for bar in bars)]


def _places(shown: tuple[Group, ...]) -> list[tuple[float, Bar | None]]:
    """Where each bar is, downwards; None is the line of a group's title."""
    places: list[tuple[float, Bar | None]] = []
    y = 0.0
    for group in shown:
        places.append((y, None))
        for bar in group.bars:
            y += 1
            places.append((y, bar))
        y += 1 + GROUP_GAP
    return places


def _left_in(places: list[tuple[float, Bar | None]]) -> float:
    """Room for the longest label."""
    letters = max((len(bar.label) for _, bar in places if bar), default=0)
    return max(2.6, MARGIN_IN + 0.3 + letters * LETTER * LABEL_PT / 72)


def _panel(
    axes: Axes, title: str, figures: Figures, places: list[tuple[float, Bar | None]], ink: Ink, width_in: float
) -> None:
    found = [(y, bar, value) for y, bar in places if bar and (value := figures(bar)) is not None]
    details = {bar: bar.detail if title == SPEED else "" for _, bar, _ in found}
    # As far right as the longest bar and what stands beside it need.
    most = max((value / (width_in - _beside_in(value, details[bar])) for _, bar, value in found), default=1) * width_in
    axes.set(xlim=(0, most), ylim=(places[-1][0] + 0.7 if places else 1, -0.6), yticks=[], xticks=[])
    axes.spines[:].set_visible(False)
    axes.spines["left"].set(visible=True, color=ink.line, linewidth=1)
    axes.set_title(title, loc="left", fontsize=HEAD_PT, color=ink.muted, pad=6)
    for y, bar, value in found:
        axes.barh(y, value, 0.68, **_look(bar, ink))
        weight = "bold" if bar.kind == "measured" else "normal"
        beside: dict[str, Any] = {"textcoords": "offset points", "va": "center"}
        axes.annotate(number(value), (value, y), (5, 0), fontsize=LABEL_PT, weight=weight, **beside)
        shift = 14 + 0.68 * LABEL_PT * len(number(value))
        axes.annotate(details[bar], (value, y), (shift, 0), fontsize=SMALL_PT, color=ink.muted, **beside)


def _beside_in(value: float, detail: str) -> float:
    return (14 + 0.68 * LABEL_PT * len(number(value)) + LETTER * SMALL_PT * len(detail)) / 72


def _look(bar: Bar, ink: Ink) -> dict[str, Any]:
    if bar.kind == "reported":
        return {"facecolor": ink.page, "edgecolor": ink.baseline, "hatch": "////", "linewidth": 1}
    if bar.kind == "baseline":
        return {"color": ink.baseline}
    index = SERIES.index(bar.series) if bar.series in SERIES else len(SERIES) - 1
    return {"color": ink.series[index]}


def _labels(
    axes: Axes, shown: tuple[Group, ...], places: list[tuple[float, Bar | None]], ink: Ink, left_in: float
) -> None:
    titles = iter(group.title for group in shown)
    for y, bar in places:
        colour = ink.text if bar is None or bar.kind == "measured" else ink.muted
        where: dict[str, Any] = {"textcoords": "offset points", "xycoords": ("axes fraction", "data"), "va": "center"}
        if bar is None:
            offset = (-(left_in - MARGIN_IN) * 72, 0)
            axes.annotate(next(titles), (0, y), offset, fontsize=HEAD_PT, weight="bold", **where)
        else:
            axes.annotate(bar.label, (0, y), (-8, 0), ha="right", fontsize=LABEL_PT, color=colour, **where)


def _heads(figure: Figure, diagnosis: Diagnosis, ink: Ink, height_in: float) -> None:
    def line(text: str, from_top_in: float, size: float, colour: str, **more: Any) -> None:  # noqa: ANN401 - text's own
        figure.text(MARGIN_IN / WIDTH_IN, 1 - from_top_in / height_in, text, fontsize=size, color=colour, **more)

    title = _short(headline(diagnosis))
    # Bold letters are wider.
    fits_pt = (WIDTH_IN - 2 * MARGIN_IN) * 72 / (0.68 * len(title))
    line(title, 0.58, min(TITLE_PT, fits_pt), ink.text, weight="bold")
    line(_short(where(diagnosis)), 0.9, SUBTITLE_PT, ink.muted)
    line(_short(how(diagnosis)), 1.14, SUBTITLE_PT, ink.muted)
    for index, note in enumerate(reversed(notes(diagnosis)[:MOST_NOTES])):
        line(_short(note), height_in - 0.18 - NOTE_IN * index, SMALL_PT, ink.muted)


def headline(diagnosis: Diagnosis) -> str:
    """What was found, in a line."""
    best = fastest(row for mode in diagnosis.modes for row in mode.rows)
    if not best:
        return f"{diagnosis.board}: nothing was measured"
    if diagnosis.files_below is not None:
        return f"{number(best.speed.fps)} faces read per second by another machine than {diagnosis.board}"
    mode = next(mode for mode in diagnosis.modes if best in mode.rows)
    at = f" at {mode.budget_w:g} W nominal" if mode.budget_w else ""
    return f"{diagnosis.board}: {number(best.speed.fps)} faces read per second{at}"


def where(diagnosis: Diagnosis) -> str:
    """Processor, power mode, cores and clock."""
    parts = [diagnosis.processor]
    if len(diagnosis.modes) == 1:
        (mode,) = diagnosis.modes
        parts += [f"power mode {mode.mode}" if mode.mode else "no power modes"]
        parts += [f"{mode.cores_online} of {mode.cores} cores"]
        parts += [f"{mode.cpu_mhz:.0f} MHz"] if mode.cpu_mhz else []
    else:
        parts += [f"power modes {', '.join(mode.mode or 'as it is' for mode in diagnosis.modes)}"]
    return ", ".join(parts)


def how(diagnosis: Diagnosis) -> str:
    """Versions and the day."""
    packages = ", ".join(f"{name} {version}" for name, version in diagnosis.packages.items())
    return f"edge-fer {diagnosis.version}, {packages}, Python {diagnosis.python}, {diagnosis.started_at[:10]}"


def notes(diagnosis: Diagnosis) -> list[str]:
    """What must be known to read the figures."""
    pipelines = [(mode, row) for mode in diagnosis.modes for row in mode.pipeline]
    found = []
    if diagnosis.files_below is not None:
        found.append(
            "Board, clocks, watts and modes are those of files; the speeds are of the machine that this ran on."
        )
    if pipelines:
        mode, row = pipelines[0]
        name = f" ({mode.mode})" if len(diagnosis.modes) > 1 else ""
        found.append(
            f"Whole pipeline, camera to event: {number(row.speed.fps)} frames per second of {row.clip}{name}, "
            f"p50 {number(row.speed.p50_ms)}, p95 {number(row.speed.p95_ms)} ms."
        )
    found.append("One image at a time, again and again; the best number of threads is shown.")
    if any(mode.budget_w for mode in diagnosis.modes):
        found[-1] += " Nominal watts: the budget in the mode's name, as the paper counts."
    sources = {mode.power_source: mode.power_note for mode in diagnosis.modes}
    if "estimated" in sources:
        found.append(f"Watts are estimated: {sources['estimated']}.")
    if set(sources) == {"unavailable"}:
        found.append(f"No watts were measured: {sources['unavailable']}.")
    if diagnosis.reported:
        found.append("Hatched: what the paper reports for its board and runtime; not measured here.")
    speeds = [row.speed for mode in diagnosis.modes for row in mode.rows]
    if flags := list(dict.fromkeys(speed.disturbed for speed in speeds if speed.disturbed)):
        found.append(f"Disturbed, this machine may be faster: {flags[0]}.")
    return found


def _short(line: str) -> str:
    """One line that fits, without what fonts have no sign for."""
    plain = "".join(character if character.isprintable() else " " for character in line)
    return plain if len(plain) <= LINE_CHARACTERS else f"{plain[: LINE_CHARACTERS - 1]}…"

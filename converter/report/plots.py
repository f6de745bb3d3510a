"""Plots of a model report as SVG: their colours are CSS variables, so that they follow the page into dark mode.

matplotlib draws with a placeholder for each variable (`Figure` objects, no pyplot: no window, no global state).
"""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from converter.evaluate import ECE_BINS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from converter.report.figures import Bin, Share
    from edge_fer.card import Coverage

INK, MUTED, GRID, CARD = "#010203", "#010204", "#010205", "#010209"
FILL, ON_FILL, MID_FILL = "#010206", "#010207", "#010208"
SERIES = tuple(f"#0103{index:02x}" for index in range(6))
VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    CARD: "var(--card)",
    FILL: "var(--fill)",
    ON_FILL: "var(--on-fill)",
    MID_FILL: "var(--mid-fill)",
    **{colour: f"var(--series-{index})" for index, colour in enumerate(SERIES)},
}
"""Placeholder -> CSS variable of report.css; no other colour is drawn with."""

STYLE: Any = {  # its keys are a type of their own in some versions of matplotlib
    "svg.hashsalt": "edge-fer",  # else the ids are drawn by chance
    "svg.fonttype": "none",
    "text.parse_math": False,  # a label may hold "$"
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the layout is the same everywhere
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.labelcolor", "ytick.labelcolor"), INK),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), MUTED),
    "grid.color": GRID,
    "hatch.color": MUTED,
}

WIDTH_IN = 7.2
LABEL_CHARACTERS = 24
"""Longer names are cut in plots; the tables have them whole."""

LABELS_SIDE_BY_SIDE = 8

MIN_FACES_ON_LINE = 10
"""Bins of fewer faces are points beside the line of a reliability diagram."""

MARKED_THRESHOLDS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)


def confusion_plot(name: str, confusion: npt.NDArray[np.int64], labels: Sequence[str]) -> str:
    """Counts (classes, classes) of shown against read; a cell is as dark as its share of the row."""
    classes = len(labels)
    with _figure(max(4.2, 0.62 * classes + 1.6)) as figure:
        axes = figure.add_subplot(xlim=(0, classes), ylim=(classes, 0), xlabel="read as", ylabel="shown (annotators)")
        axes.spines[:].set_visible(False)
        places = np.arange(classes) + 0.5
        axes.set_xticks(places, [_short(label) for label in labels], rotation=30, ha="right", rotation_mode="anchor")
        axes.set_yticks(
            places, [f"{_short(label)} ({row.sum()})" for label, row in zip(labels, confusion, strict=True)]
        )
        axes.tick_params(length=0)
        for (shown, read), count in np.ndenumerate(confusion):
            share = count / max(1, confusion[shown].sum())
            cell = mpl.patches.Rectangle((read + 0.02, shown + 0.02), 0.96, 0.96, facecolor=FILL, alpha=float(share))
            axes.add_patch(cell)
            frame: dict[str, Any] = {"fill": False, "edgecolor": GRID, "linewidth": 0.8}
            axes.add_patch(mpl.patches.Rectangle((read + 0.02, shown + 0.02), 0.96, 0.96, **frame))
            colour = INK if share < 0.5 else MID_FILL if share < 0.65 else ON_FILL  # noqa: PLR2004 - see report.css
            if count:
                weight = "bold" if shown == read else "normal"
                text: dict[str, Any] = {"ha": "center", "color": colour}
                axes.text(read + 0.5, shown + 0.47, f"{count}", va="center", weight=weight, **text)
                rate = f"{100 * share:.0f} %" if share >= 0.005 else "<1 %"  # noqa: PLR2004 - half of what is printed
                axes.text(read + 0.5, shown + 0.78, rate, va="center", fontsize=6.5, **text)
    return _svg(figure, name)


def recall_plot(name: str, recalls: Sequence[Sequence[Share]], labels: Sequence[str]) -> str:
    """Recall of each label, a bar for each operating point, with 95 % intervals; none where no face shows it."""
    width = 0.8 / len(recalls)
    with _figure(3.6) as figure:
        axes = figure.add_subplot(ylim=(0, 103), xlim=(-0.6, len(labels) - 0.4), ylabel="recall, %")
        axes.grid(axis="y")
        named = zip(labels, recalls[0], strict=True)
        axes.set_xticks(range(len(labels)), [f"{_short(label)}\nn = {share.n}" for label, share in named])
        if len(labels) > LABELS_SIDE_BY_SIDE:
            axes.tick_params(axis="x", labelrotation=90)
        for index, shares in enumerate(recalls):
            known = [place for place, share in enumerate(shares) if share.n]
            x = np.array(known) + (index - (len(recalls) - 1) / 2) * width
            values = np.array([100 * shares[place].value for place in known])
            ends = np.array([shares[place].interval for place in known]).reshape(-1, 2) * 100
            axes.bar(x, values, width * 0.92, color=SERIES[index % len(SERIES)])
            spread = np.maximum(0, [values - ends[:, 0], ends[:, 1] - values])  # -0 to the last bit at 0 and 100 %
            for colour, width_pt in ((CARD, 3.0), (INK, 1.0)):  # a halo: ink alone is lost on a dark bar
                errors = axes.errorbar(x, values, spread, fmt="none", ecolor=colour, elinewidth=width_pt, capsize=2.2)
                errors.lines[2][0].set_zorder(3)
    return _svg(figure, name)


def reliability_plot(name: str, before: Sequence[Bin], after: Sequence[Bin]) -> str:
    """How often a reading is right against how sure it was, before and after the temperature; below, the faces."""
    with _figure(4.6) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1.3)})
        upper.set(xlim=(0, 1), ylim=(0, 103), ylabel="right, %")
        upper.grid()
        upper.plot((0, 1), (0, 100), color=MUTED, linestyle=(0, (4, 3)), linewidth=1)
        for bins, colour, marker in ((before, SERIES[0], "s"), (after, SERIES[1], "o")):
            full = [entry for entry in bins if entry.right.n]
            x, y = [entry.confidence for entry in full], np.array([100 * entry.right.value for entry in full])
            ends = np.array([entry.right.interval for entry in full]).reshape(-1, 2) * 100
            spread = np.maximum(0, [y - ends[:, 0], ends[:, 1] - y])
            upper.errorbar(x, y, spread, color=colour, fmt=marker, markersize=4, elinewidth=0.8)
            enough = [place for place, entry in enumerate(full) if entry.right.n >= MIN_FACES_ON_LINE]
            upper.plot([x[place] for place in enough], y[enough], color=colour, linewidth=1.4)
        counts = [entry.right.n for entry in after]
        lower.bar([(entry.low + entry.high) / 2 for entry in after], counts, 0.92 / ECE_BINS, color=SERIES[1])
        for entry in after:
            if entry.right.n:
                place = (entry.low + entry.high) / 2
                lower.text(place, entry.right.n + 0.03 * max(counts), f"{entry.right.n}", ha="center", fontsize=7)
        lower.set(ylim=(0, 1.22 * max(1, *counts)), xlabel="confidence", ylabel="faces")
        lower.grid(axis="y")
    return _svg(figure, name)


def trade_off_plot(
    name: str, clear: Sequence[Coverage], every: Sequence[Coverage], chosen: tuple[Coverage, Coverage]
) -> str:
    """Share of faces that are read against how many of those are right, along the threshold; `chosen` is marked."""
    with _figure(3.6) as figure:
        axes = figure.add_subplot(xlabel="faces that are read, %", ylabel="of those right, %")
        axes.grid()
        for rows, colour, marked in ((clear, SERIES[1], chosen[0]), (every, SERIES[0], chosen[1])):
            _line(axes, rows, colour)
            axes.scatter(
                [100 * row.coverage for row in rows if row.min_confidence in MARKED_THRESHOLDS],
                [100 * (row.accuracy or 0) for row in rows if row.min_confidence in MARKED_THRESHOLDS],
                12,
                color=colour,
            )
            if marked.accuracy is not None:
                axes.scatter(
                    [100 * marked.coverage], [100 * marked.accuracy], 90, facecolors="none", edgecolors=INK, zorder=3
                )
        for row in clear:
            if row.min_confidence in MARKED_THRESHOLDS and row.accuracy is not None:
                place = (100 * row.coverage, 100 * row.accuracy)
                axes.annotate(f"{row.min_confidence:g}", place, (4, 5), textcoords="offset points", fontsize=7.5)
        for marked in chosen:
            if marked.accuracy is not None:
                place = (100 * marked.coverage, 100 * marked.accuracy)
                text = f"threshold {marked.min_confidence:g}"
                axes.annotate(text, place, (-7, -12), textcoords="offset points", ha="right", weight="bold")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xlim(left=max(0, axes.get_xlim()[0]), right=101)
        axes.set_ylim(top=100.5)
    return _svg(figure, name)


def _line(axes: Axes, rows: Sequence[Coverage], colour: str) -> None:
    left = [row for row in rows if row.accuracy is not None]
    axes.plot([100 * row.coverage for row in left], [100 * (row.accuracy or 0) for row in left], color=colour)


def robustness_plot(
    name: str, losses: Mapping[str, Mapping[str, float]], kinds: Mapping[str, float], mean_points: float
) -> str:
    """Points of accuracy lost: a bar for each change, grouped by kind (kind -> change -> loss), and the means."""
    rows, y = [], 0.0
    for kind, changes in losses.items():
        for change, loss in changes.items():
            rows.append((y, kind, change, loss))
            y += 1
        y += 0.5
    with _figure(0.19 * y + 1.1) as figure:
        axes = figure.add_subplot(ylim=(y, -0.9), xlabel="accuracy lost, points of a hundred")
        axes.grid(axis="x")
        axes.barh([row[0] for row in rows], [row[3] for row in rows], 0.78, color=SERIES[2])
        axes.set_yticks([row[0] for row in rows], [_short(row[2].replace("_", " ")) for row in rows])
        axes.tick_params(axis="y", length=0)
        for kind, mean in kinds.items():
            span = [row[0] for row in rows if row[1] == kind]
            if len(span) > 1:
                axes.vlines(mean, min(span) - 0.45, max(span) + 0.45, color=INK, linewidth=1.6)
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.axvline(mean_points, color=SERIES[1], linestyle=(0, (4, 3)), linewidth=1.4, zorder=1.5)
        behind: dict[str, Any] = {"facecolor": CARD, "edgecolor": "none", "pad": 0.4}
        for place, _, _, loss in rows:
            side, offset_pt = ("left", 4) if loss >= 0 else ("right", -4)
            axes.annotate(
                f"{loss:.1f}",
                (loss, place),
                (offset_pt, 0),
                textcoords="offset points",
                va="center",
                ha=side,
                fontsize=7.5,
                bbox=behind,
            )
        axes.margins(x=0.1)
    return _svg(figure, name)


@contextmanager
def _figure(height_in: float) -> Iterator[Figure]:
    """A figure to draw on in the report's style, whatever the user's matplotlibrc says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield Figure(figsize=(WIDTH_IN, height_in), layout="constrained")


def _short(label: str) -> str:
    """A name for a plot: one line without control characters, which XML does not allow."""
    line = "".join(character if character.isprintable() else " " for character in label)
    return line if len(line) <= LABEL_CHARACTERS else f"{line[: LABEL_CHARACTERS - 1]}…"


def _svg(figure: Figure, name: str) -> str:
    """An SVG element for an HTML page: variables for colours, ids that begin with `name`, the page's font."""
    drawn = io.StringIO()
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    root = ET.fromstring(drawn.getvalue())  # noqa: S314  # written by matplotlib one line above
    root.attrib = {"viewBox": root.attrib["viewBox"], "aria-hidden": "true"}
    for element in root.iter():
        for child in [child for child in element if child.tag.endswith(("}metadata", "}style"))]:
            element.remove(child)
        element.tag = element.tag.partition("}")[2]
        element.attrib = dict(_for_page(key, value, name) for key, value in element.attrib.items())
        if element.tag != "text":  # only texts hold text; the rest is indentation
            element.text = None
        element.tail = None
    return ET.tostring(root, encoding="unicode")


def _for_page(key: str, value: str, name: str) -> tuple[str, str]:
    if key == "id":
        return key, f"{name}-{value}"
    if key.endswith("}href"):
        return "href", value.replace("#", f"#{name}-", 1)
    if key == "d":
        return key, " ".join(value.split())
    for placeholder, variable in VARIABLES.items():
        value = value.replace(placeholder, variable)
    return key, value.replace("url(#", f"url(#{name}-").replace("font-family: 'DejaVu Sans'", "font-family: inherit")

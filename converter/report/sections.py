"""The sections of a model report with a plot: each says in words what the plot shows, and has the same as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from converter.report.page import details, interval, paragraph, percent, plot, section, series, table
from converter.report.plots import (
    SERIES,
    confusion_plot,
    recall_plot,
    reliability_plot,
    robustness_plot,
    trade_off_plot,
)
from converter.robust import KINDS

if TYPE_CHECKING:
    from converter.report.figures import Bin, PointFigures, Share
    from edge_fer.card import ModelCard

MIN_RECALL = 0.5
"""Below it an expression is missed more often than read, which the page says in words."""


def recall_section(card: ModelCard, figures: Sequence[PointFigures], default: PointFigures) -> str:
    """Recall of each label at each operating point, with intervals."""
    recalls = [entry.recalls for entry in figures]
    rows = [
        (label, f"{recalls[0][index].n:,}", *(cell for shares in recalls for cell in _recall_cells(shares[index])))
        for index, label in enumerate(card.labels)
    ]
    headings = ("expression", "faces", *(text for entry in figures for text in (entry.name, "95 % interval")))
    named = list(zip(card.labels, default.recalls, strict=True))
    told = [f"{label} {percent(share.value, 0)} ({interval(share)}) of {share.n}" for label, share in named if share.n]
    missed = [f"{label} ({share.right} of {share.n})" for label, share in named if share.n and share.value < MIN_RECALL]
    warning = f"Missed more often than read at the operating point {default.name!r}: {', '.join(missed)}."
    return section(
        "Each expression",
        paragraph(warning, "warning") if missed else "",
        plot(
            recall_plot("recall", recalls, card.labels),
            f"Bars: recall of each expression. At {default.name}, with 95 % intervals in percent: {'; '.join(told)}.",
            "Of the faces that show an expression, how many are read so. Thin lines are 95 % intervals (Wilson): where "
            "they are long there were few faces, and the bar says little.",
            series([entry.name for entry in figures]),
        ),
        table("Recall of each expression, clear faces", headings, rows),
    )


def _recall_cells(share: Share) -> tuple[str, str]:
    return (percent(share.value), interval(share)) if share.n else ("–", "–")  # noqa: RUF001 - a dash


def confusion_section(card: ModelCard, default: PointFigures) -> str:
    """What is read instead of what is shown."""
    wrong = default.confusion.copy()
    wrong[range(len(wrong)), range(len(wrong))] = 0
    most = sorted(
        ((int(wrong[cell]), cell) for cell in zip(*wrong.nonzero(), strict=True)),
        key=lambda entry: (-entry[0], entry[1]),
    )
    told = [f"{card.labels[shown]} as {card.labels[read]} ({count})" for count, (shown, read) in most[:3]]
    mistakes = f"Most frequent mistakes: {', '.join(told)}." if told else "No mistakes."
    rows = [
        (label, *(str(count) for count in counts)) for label, counts in zip(card.labels, default.confusion, strict=True)
    ]
    return section(
        "What is mistaken for what",
        plot(
            confusion_plot("confusion", default.confusion, card.labels),
            f"Table of shades: shown against read; {default.accuracy.right} of {default.accuracy.n} are on the "
            f"diagonal. {mistakes}",
            f"Clear faces at {default.name}: number of faces, and the share of their row, which is also the shade. In "
            f"brackets the faces of each row. {mistakes}",
        ),
        details("The same as a table", table("Rows: shown; columns: read", ("", *card.labels), rows)),
    )


def calibration_section(default: PointFigures) -> str:
    """Whether a confidence means what it says."""
    rows = [
        (f"{after.low:.2f} to {after.high:.2f}", *_bin_cells(before), *_bin_cells(after))
        for before, after in zip(default.bins_before, default.bins, strict=True)
    ]
    headings = (
        "confidence",
        *(f"{when}: {what}" for when in ("before", "after") for what in ("faces", "mean", "right")),
    )
    names = (
        f"before (temperature 1): error {default.ece_before:.3f}",
        f"after (temperature {default.point.temperature:g}): error {default.ece:.3f}",
    )
    return section(
        "Is the confidence honest?",
        plot(
            reliability_plot("reliability", default.bins_before, default.bins),
            f"Curves of accuracy against confidence. Calibration error {names[0]}; {names[1]}. Below, the number of "
            f"faces of each confidence; {default.bins[-1].right.n} are read with more than "
            f"{percent(default.bins[-1].low, 0)}.",
            f"Clear faces at {default.name}, in 15 bins. On the dashed line a confidence of 70 % is right 70 times of "
            "a hundred; above it the model is more often right than it says. Thin lines are 95 % intervals; "
            "points beside the line stand for fewer than 10 faces. Below: faces in each bin, after the temperature.",
            series(names),
        ),
        details("The same as a table", table("Reliability, 15 bins", headings, rows)),
    )


def _bin_cells(entry: Bin) -> tuple[str, str, str]:
    return f"{entry.right.n}", percent(entry.confidence), percent(entry.right.value)


def trade_off_section(default: PointFigures) -> str:
    """What a higher threshold costs and gains."""
    rows = [
        (
            f"{clear.min_confidence:.2f}",
            *(percent(share) for share in (clear.coverage, clear.accuracy, every.coverage, every.accuracy)),
        )
        for clear, every in zip(default.curve, default.curve_every, strict=False)
        if round(100 * clear.min_confidence) % 5 == 0
    ]
    headings = ("threshold", "clear: read", "of those right", "all: read", "of those right")
    text = (
        f"At the card's threshold of {default.point.min_confidence:.2f}, {percent(default.abstain.coverage)} of the "
        f"clear faces are read and {percent(default.abstain.accuracy)} of those are right; of all faces, "
        f"{percent(default.abstain_every.coverage)} and {percent(default.abstain_every.accuracy)}."
    )
    return section(
        'When to say "uncertain"',
        paragraph(text),
        plot(
            trade_off_plot("tradeoff", default.curve, default.curve_every, (default.abstain, default.abstain_every)),
            f"Two curves of accuracy against the share of faces that are read. {text}",
            f"Operating point {default.name}. Small figures are thresholds; a circle marks the card's. Further left, "
            "fewer faces are read, and more of those are right.",
            [(SERIES[1], "clear faces"), (SERIES[0], "all faces")],
        ),
        details("The same as a table", table("Coverage and accuracy at each threshold", headings, rows)),
    )


def robustness_section(robust: Mapping[str, Any], default: PointFigures) -> str:
    """What changed pictures cost, from a `robust_report`."""
    changes, mean = robust["perturbations"], robust["mean_loss_points"]
    losses = {kind: _known(changes, names) for kind, names in KINDS.items()}
    rows = [
        (
            name,
            kind,
            *(percent(changes[name][key]) for key in ("accuracy", "macro_recall")),
            _points(changes[name]["loss_points"]),
        )
        for kind, names in KINDS.items()
        for name in names
    ]
    worst = sorted(((-loss, name) for named in losses.values() for name, loss in named.items()))[:3]
    told = ", ".join(f"{name.replace('_', ' ')} ({-loss:.1f})" for loss, name in worst)
    recropped = changes["recropped"]
    text = (
        f"Each of {robust['n']:,} clear faces is changed in {len(rows)} ways and read again at {default.name}. On "
        f"average over the {len(robust['kinds'])} kinds of change, {mean:.1f} points of a hundred are lost from "
        f'{percent(robust["clean"]["accuracy"])}; most cost: {told}. For "recropped" the face is put on a larger '
        f"picture and found again by the daemon's own detector, which finds {percent(recropped['found'])} of them; it "
        "counts only those."
    )
    return section(
        "What changed pictures cost",
        paragraph(text),
        plot(
            robustness_plot(
                "robustness", {kind: named for kind, named in losses.items() if named}, robust["kinds"], mean
            ),
            f"Bars: points of accuracy lost by each change, mean {mean:.1f}. Most cost: {told}.",
            "A negative bar is a gain. Upright lines are the means of a kind, the dashed line is the mean over kinds. "
            "A strip hides a quarter of the face at one border, half occlusion the whole lower half.",
            [(SERIES[2], "points lost"), (SERIES[1], f"mean over kinds: {mean:.1f}")],
        ),
        details(
            "The same as a table",
            table("Robustness", ("change", "kind", "accuracy", "mean recall", "points lost"), rows),
        ),
    )


def _known(changes: Mapping[str, Any], names: Sequence[str]) -> dict[str, float]:
    return {name: changes[name]["loss_points"] for name in names if changes[name]["loss_points"] is not None}


def _points(loss: float | None) -> str:
    return "–" if loss is None else f"{loss:.1f}"  # noqa: RUF001 - a dash

"""The sections of a model report without a plot: what the model is, its main figures, and what its card says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from converter.report.page import (
    details,
    interval,
    paragraph,
    percent,
    preformatted,
    section,
    table,
    title,
)
from edge_fer import __version__

if TYPE_CHECKING:
    from converter.report.figures import PointFigures
    from converter.report.write import Run
    from edge_fer.card import ModelCard

POINTS = {
    "observed": "expressions as common as in the training data",
    "dashboard": "half way between observed and balanced",
    "balanced": "every expression equally common",
    "as_trained": "the training's own, which is not known",
}
"""What an operating point of the converter expects."""


def summary_header(card: ModelCard, default: PointFigures, run: Run) -> str:
    """Title, what the model is, and what the figures were made on."""
    text = (
        f"{card.description} The file has {card.size_bytes:,} bytes, {card.parameters:,} parameters and "
        f"{card.operators} operators, and needs {card.macs / 1e6:.1f} million multiply-accumulates for each face. The "
        f"figures on this page were measured with it on {run.runtime} ({run.machine}), where XNNPACK, the fast path, "
        f"ran {run.xnnpack.taken} of {run.xnnpack.total} operators. The faces are those of {run.data}: {run.images:,} "
        f"images, {default.every.n:,} with one of the model's expressions, {default.accuracy.n:,} of these clear "
        f"(where annotators voted, more than half agreed). It is read at the operating point {default.name!r} unless "
        f"another is named."
    )
    slow = (
        "XNNPACK left operators to slow kernels on this runtime; edge-fer refuses to run a model so. "
        "The figures are right, but it would be many times slower than on another runtime."
    )
    channels = "one channel" if card.input_channels == 1 else f"each of {card.input_channels} channels"
    facts = [
        ("Model", run.model),
        ("sha256 of the model", card.sha256),
        ("Labels", ", ".join(card.labels)),
        ("Input", f"{card.input_px} × {card.input_px} px, grey in {channels}, levels scaled to {card.input_scaling}"),  # noqa: RUF001
        ("Precision", card.precision),
        ("Data", run.data),
        ("sha256 of the data", run.data_sha256),
    ]
    parts = (
        "<header>",
        title(f"{card.name}: model report"),
        paragraph(text),
        "" if run.xnnpack.whole else paragraph(slow, "warning"),
        table("Which files this page is about", ("", ""), facts, numbers=False),
        "</header>",
    )
    return "\n".join(part for part in parts if part)


def headline_section(
    card: ModelCard,
    figures: Sequence[PointFigures],
    default: PointFigures,
    differing: Sequence[tuple[str, str, str, str]],
    uses: Sequence[str] | None,
) -> str:
    """The main figures of each operating point, whether the card has the same, and how far to trust them."""
    rows = [
        (
            _point_name(entry.name, default),
            percent(entry.accuracy.value),
            interval(entry.accuracy),
            percent(entry.macro_recall),
            f"{entry.ece:.3f}",
            percent(entry.every.value),
            f"{entry.point.min_confidence:.2f}",
            percent(entry.abstain.coverage),
            percent(entry.abstain.accuracy),
        )
        for entry in figures
    ]
    headings = (
        "operating point",
        "accuracy",
        "95 % interval",
        "mean recall",
        "calibration error",
        "all faces: accuracy",
        '"uncertain" below',
        "still read",
        "of those right",
    )
    caption = f"Clear faces ({default.accuracy.n:,}), and all faces ({default.every.n:,}) where it says so"
    points = [(entry.name, POINTS.get(entry.name, "")) for entry in figures]
    return section(
        "Main figures",
        table(caption, headings, rows, chosen=_point_name(default.name, default)),
        paragraph(
            "Accuracy is the share of faces that are read as the annotators do. Mean recall counts every expression "
            "the same, however rare. The calibration error is how far confidence and accuracy lie apart on average: 0 "
            "is honest. Below the threshold the daemon says "
            '"uncertain" instead of an expression. All faces include those that annotators disagree about.'
        ),
        _chance(default, card.labels),
        _earlier(uses),
        _card_agrees(card, differing),
        table("What each operating point expects", ("operating point", "expects"), points, numbers=False),
        details("Operating points in detail: prior, offset, temperature", _point_details(card)),
    )


def _point_name(name: str, default: PointFigures) -> str:
    return f"{name} (default)" if name == default.name else name


def _chance(default: PointFigures, labels: Sequence[str]) -> str:
    """How much single faces of the rarest expression move the figures."""
    present = [(share.n, label) for share, label in zip(default.recalls, labels, strict=True) if share.n]
    count, label = min(present)
    absent = [label for share, label in zip(default.recalls, labels, strict=True) if not share.n]
    text = (
        f"The rarest expression here is {label} with {_faces(count)}: each moves the recall of {label} by "
        f"{100 / count:.1f} points and the mean recall by {100 / count / len(present):.1f}. Look at intervals, not at "
        "last digits."
    )
    if absent:
        text += f" Not measured, because no clear face shows it: {', '.join(absent)}."
    return paragraph(text, "warning")


def _earlier(uses: Sequence[str] | None) -> str:
    if uses is None:
        return paragraph("The card does not say which faces the model was validated on.", "note")
    if not uses:
        return paragraph(
            "This is not the data file that the card names for validation: other faces, or the same in another file.",
            "note",
        )
    return paragraph(
        f"These are the faces that {' and that '.join(uses)}: the figures are a little better here than on faces that "
        "nothing was chosen on.",
        "note",
    )


def _card_agrees(card: ModelCard, differing: Sequence[tuple[str, str, str, str]]) -> str:
    if not any(card.metrics.get(name) for name in card.operating_points):
        return paragraph("The card holds no figures of its own: no faces were measured at conversion.", "note")
    if not differing:
        return paragraph("All main figures are those of the model's card, to the last of its digits.", "note")
    return paragraph(
        "Not the figures of the model's card: it was measured on other faces or another machine.", "warning"
    ) + table("Where card and page differ", ("operating point", "figure", "card", "here"), differing)


def _point_details(card: ModelCard) -> str:
    points = card.operating_points
    rows = [
        (
            label,
            *(
                cell
                for point in points.values()
                for cell in (_prior(point.prior, index), f"{point.offset[index]:+.3f}")
            ),
        )
        for index, label in enumerate(card.labels)
    ]
    rows.append(("temperature", *(cell for point in points.values() for cell in ("", f"{point.temperature:.4f}"))))
    headings = ("", *(text for name in points for text in (f"{name}: expected", "added to the logit")))
    return table("Probabilities are softmax((logits + added) / temperature)", headings, rows)


def _prior(prior: tuple[float, ...] | None, index: int) -> str:
    return "not known" if prior is None else percent(prior[index])


def card_sections(card: ModelCard) -> Iterator[str]:
    """What the card says in words, and the recipe."""
    texts = {
        "Intended use": card.intended_use,
        "Limits": card.limits,
        "Training data and terms": card.training_data,
        "Credits": card.credits,
    }
    for heading, text in texts.items():
        yield section(heading, paragraph(text or "The card does not say."))
    rows = list(_flat(card.recipe)) or [("(empty)", "The card does not say how the model was made.")]
    yield section("Recipe", table("How the model was trained and converted", ("setting", "value"), rows, numbers=False))


def _flat(table_of: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested tables as "outer.inner"."""
    for key, value in table_of.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            text = "none" if value is None else json.dumps(value, ensure_ascii=False)
            yield f"{prefix}{key}", value if isinstance(value, str) else text


def made_section(run: Run, command: str) -> str:
    """How to make the page again."""
    return section(
        "Make this page again",
        paragraph(
            "In a checkout of edge-fer, with pip install -e '.[convert]', and the two files of the sha256 above:"
        ),
        preformatted(command),
        paragraph(
            f"Made by edge-fer {__version__} on {run.runtime} ({run.machine}). The same files and versions give the "
            "same page; other runtimes and processors round differently, which can move single faces. The page holds "
            "no script, loads nothing, and shows no face.",
            "note",
        ),
    )


def _faces(count: int) -> str:
    return "1 face" if count == 1 else f"{count:,} faces"

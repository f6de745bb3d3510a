"""Parts of a report's HTML; every text goes through `html.escape` here and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from converter.report.plots import SERIES, VARIABLES

if TYPE_CHECKING:
    from converter.report.figures import Share

STYLE_SHEET = Path(__file__).with_name("report.css")

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""The browser itself refuses scripts and anything from elsewhere."""


def page(title: str, parts: Iterable[str]) -> str:
    """A whole document."""
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>\n{STYLE_SHEET.read_text(encoding='utf-8')}</style>",
            "</head>",
            "<body>",
            *parts,
            "</body>",
            "</html>\n",
        )
    )


def section(heading: str, *parts: str) -> str:
    """A part of the page with its heading; `parts` are HTML."""
    return "\n".join(("<section>", f"<h2>{escape(heading)}</h2>", *(part for part in parts if part), "</section>"))


def title(text: str) -> str:
    """The page's only first heading."""
    return f"<h1>{escape(text)}</h1>"


def paragraph(text: str, kind: str = "") -> str:
    """Plain text; `kind` is a class of report.css."""
    return f"<p{_class(kind)}>{escape(text)}</p>"


def preformatted(text: str) -> str:
    """A command, as it is typed."""
    return f'<pre tabindex="0"><code>{escape(text)}</code></pre>'


def details(summary: str, content: str) -> str:
    """HTML that opens on a click."""
    return f"<details><summary>{escape(summary)}</summary>\n{content}\n</details>"


def table(
    caption: str,
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: bool = True,
    chosen: str | None = None,
) -> str:
    """Rows of text, each headed by its first cell; `numbers` aligns the rest right, `chosen` is a row to stress."""
    kind = _class("number" if numbers else "long")
    head = "".join(
        f'<th scope="col"{kind if place and numbers else ""}>{escape(text)}</th>' for place, text in enumerate(headings)
    )
    body = [
        f"<tr{_class('chosen' if row[0] == chosen else '')}>"
        f'<th scope="row"{kind}>{escape(row[0])}</th>'
        + "".join(f"<td{kind}>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    ]
    return "\n".join(
        (
            # Outside the table: a caption is as wide as its table and would scroll with it.
            paragraph(caption, "caption"),
            f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}">',
            f'<table aria-label="{escape(caption)}">',
            f"<thead><tr>{head}</tr></thead>" if any(headings) else "",
            "<tbody>",
            *body,
            "</tbody></table></div>",
        )
    )


def plot(svg: str, alt: str, caption: str, legend: Sequence[tuple[str, str]] = ()) -> str:
    """A figure: SVG with what it shows in words, what to make of it, and (colour, name) of what is in it."""
    entries = [
        f'<li><svg viewBox="0 0 24 12" aria-hidden="true"><rect width="24" height="12" style="fill: '
        f'{VARIABLES[colour]}"/></svg>{escape(name)}</li>'
        for colour, name in legend
    ]
    return "\n".join(
        (
            "<figure>",
            f'<ul class="legend">{"".join(entries)}</ul>' if entries else "",
            f'<div class="wide plot" tabindex="0" role="img" aria-label="{escape(alt)}">{svg}</div>',
            f"<figcaption>{escape(caption)}</figcaption>",
            "</figure>",
        )
    )


def series(names: Sequence[str]) -> list[tuple[str, str]]:
    """Names with the colours that plots give them in this order."""
    return [(SERIES[index % len(SERIES)], name) for index, name in enumerate(names)]


def percent(share: float | None, digits: int = 1) -> str:
    """0.5 -> "50.0 %"; a dash where nothing was measured."""
    return "–" if share is None or math.isnan(share) else f"{100 * share:.{digits}f}\u00a0%"  # noqa: RUF001 - a dash


def interval(share: Share) -> str:
    """The 95 % interval in percent."""
    low, high = share.interval
    return f"{100 * low:.1f} to {100 * high:.1f}"


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""

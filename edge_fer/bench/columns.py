"""Text in columns: figures that were not measured are "-"."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Literal, NamedTuple

import click

WIDTH = 110
MISSING = "-"

Look = Literal["plain", "best", "foreign"]


class Column(NamedTuple):
    """One column; its two lines of headline stand as its figures do."""

    width: int
    above: str = ""
    below: str = ""
    left: bool = False  # words stand left, figures right

    def place(self, text: str) -> str:
        """Text in this width."""
        return text.ljust(self.width) if self.left else text.rjust(self.width)


class Line(NamedTuple):
    """One row, and how it looks in a terminal."""

    cells: Sequence[str]
    look: Look = "plain"
    mark: str = " "


def table(columns: Sequence[Column], lines: Sequence[Line]) -> list[str]:
    """Headline and rows, two blanks in front, one between the columns."""
    names = ([column.above for column in columns], [column.below for column in columns])
    return [*(click.style(_row(columns, line), bold=True) for line in names), *rows(columns, lines)]


def rows(columns: Sequence[Column], lines: Sequence[Line]) -> list[str]:
    """A table without its headline."""
    return [_styled(_row(columns, line.cells, line.mark), line.look) for line in lines]


def number(value: float | None, digits: int = 1) -> str:
    """A figure, or that there is none."""
    # The sum turns a minus before nothing but zeros into none.
    return MISSING if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def scaled(value: float | None) -> str:
    """A figure of any size with about four digits."""
    size = abs(value or 0.0)
    return number(value, 0 if size >= 1000 else 1 if size >= 100 else 2)  # noqa: PLR2004 - four digits


def milliseconds(value: float) -> str:
    """To a microsecond, where a microsecond counts."""
    return number(value, 3 if value < 100 else 1)  # noqa: PLR2004 - six places


def headline(text: str) -> str:
    """Of a section."""
    return click.style(text, bold=True, fg="cyan")


def paragraph(text: str, indent: str = "  ", first: str | None = None) -> list[str]:
    """Words, wrapped."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent if first is None else first, subsequent_indent=indent, break_on_hyphens=False
    )


def fact(name: str, text: str) -> list[str]:
    """A name and what there is to say about it."""
    return paragraph(text, " " * 15, f"  {name:<13}")


def _row(columns: Sequence[Column], cells: Sequence[str], mark: str = " ") -> str:
    return f"{mark} {' '.join(column.place(cell) for column, cell in zip(columns, cells, strict=True))}".rstrip()


def _styled(text: str, look: Look) -> str:
    if look == "best":
        return click.style(text, fg="green", bold=True)
    return click.style(text, dim=True) if look == "foreign" else text

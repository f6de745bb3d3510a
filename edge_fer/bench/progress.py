"""What is being measured, on the standard error: a bar in a terminal, else a line for each step."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

import click

REFRESH_PER_S = 2
"""Each costs about a millisecond, which others measure meanwhile."""


class Progress(Protocol):
    """Told before each step."""

    def expect(self, steps: int) -> None:
        """So many more steps are to come."""

    def step(self, what: str) -> None:
        """The next step begins."""


class Lines:
    """For pipes and files, and where rich is not installed."""

    def __init__(self) -> None:
        self._done, self._steps = 0, 0

    def expect(self, steps: int) -> None:
        """So many more steps are to come."""
        self._steps += steps

    def step(self, what: str) -> None:
        """The next step begins."""
        self._done += 1
        with suppress(OSError):  # of a full disk, say: the figures matter more
            click.echo(f"[{self._done}/{max(self._done, self._steps)}] {what}", err=True)


@contextmanager
def progress() -> Iterator[Progress]:
    """A bar where the standard error is a terminal and rich is installed."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress
    except ImportError:
        yield Lines()
        return
    columns = (BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    # A file of its own: the standard error is taken away for moments while a runtime is loaded.
    with (
        os.fdopen(os.dup(2), "w") as terminal,
        RichProgress(
            *columns,
            console=Console(file=terminal),
            transient=True,  # the table comes next
            refresh_per_second=REFRESH_PER_S,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as shown,
    ):
        task = shown.add_task("starting", total=0)

        class Bar:
            started, steps = False, 0

            def expect(self, steps: int) -> None:
                self.steps += steps
                shown.update(task, total=self.steps)

            def step(self, what: str) -> None:
                shown.update(task, description=what, advance=1 if self.started else 0)
                self.started = True

        yield Bar()

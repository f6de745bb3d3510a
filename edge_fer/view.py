"""The live view of a daemon in the terminal."""

from __future__ import annotations

import time
from collections import deque

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from edge_fer.colours import COLOURS, STATE_COLOURS
from edge_fer.messages import Message
from edge_fer.pipeline import CameraView, Pipeline, TrackView

BAR_CELLS = 24
RATE_WINDOW_S = 2.0


class LiveView:
    """Cameras, tracks, expressions and rates; a publisher too, so that it shows the events that go out."""

    def __init__(self, pipeline: Pipeline, title: str, *, events_shown: int = 6) -> None:
        self._pipeline, self._title = pipeline, title
        self._events: deque[str] = deque(maxlen=events_shown)
        self._frames: deque[tuple[float, dict[str, int]]] = deque()
        self.broker = ""

    def publish(self, message: Message) -> None:
        """Remember an event for the list below the table."""
        if message.tells_expression:
            self._events.append(event_line(message))

    def __rich__(self) -> RenderableType:
        """The picture of this moment."""
        views = dict(self._pipeline.views)
        rates = self._rates({name: view.frames for name, view in views.items()})
        table = Table(expand=True, box=None, header_style="bold")
        for name, width in (
            ("camera", 12),
            ("track", 5),
            ("expression", 11),
            ("confidence", BAR_CELLS + 7),
            ("fps", 6),
        ):
            table.add_column(name, min_width=width, justify="right" if name in ("track", "fps") else "left")
        for name, view in views.items():
            _add_camera(table, name, view, rates[name])
        below = Text("\n".join(self._events) or "waiting for the first event ...", style="grey66")
        footer = Text(self.broker, style="grey66")
        return Panel(Group(table, Text(), below, footer), title=self._title, border_style="grey66")

    def _rates(self, frames: dict[str, int]) -> dict[str, float]:
        """Frames per second over the last two seconds."""
        now_s = time.monotonic()
        self._frames.append((now_s, frames))
        while now_s - self._frames[0][0] > RATE_WINDOW_S:
            self._frames.popleft()
        then_s, then = self._frames[0]
        elapsed_s = now_s - then_s
        return {
            name: (count - then.get(name, 0)) / elapsed_s if elapsed_s > 0 else 0.0 for name, count in frames.items()
        }


def event_line(message: Message) -> str:
    """One event for people."""
    body = message.body
    return (
        f"{body['occurred_at'][11:19]}  {body['camera']}  track {body['track']}  {body['type']:<6}  "
        f"{body['expression']} {body['confidence']:.0%}"
    )


def _add_camera(table: Table, name: str, view: CameraView, fps: float) -> None:
    label = Text.assemble((name, "bold"), (" ●", STATE_COLOURS[view.state]))
    rate = f"{fps:.1f}"
    if view.state != "online" or not view.tracks:
        what = "no face" if view.state == "online" else f"{view.state}: {view.reason}" if view.reason else view.state
        table.add_row(label, "-", Text(what, style="bright_black"), "", rate)
        return
    for number, track in enumerate(view.tracks):
        table.add_row(label if number == 0 else "", *_track_cells(track), rate if number == 0 else "")


def _track_cells(track: TrackView) -> tuple[str, Text, Text]:
    reading = track.reading
    colour = COLOURS[reading.expression]
    filled = round(reading.confidence * BAR_CELLS)
    bar = Text.assemble(
        ("█" * filled, colour), ("░" * (BAR_CELLS - filled), "bright_black"), f" {reading.confidence:4.0%}"
    )
    return str(track.track), Text(reading.expression, style=colour), bar

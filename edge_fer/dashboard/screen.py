"""The fleet as it fits a terminal. Everything is words; colours only help."""

from __future__ import annotations

from datetime import tzinfo

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from edge_fer.dashboard.blocks import Lines, alert_lines, event_line, node_lines, node_summary
from edge_fer.dashboard.views import FleetView
from edge_fer.dashboard.words import amount, clock

TITLE = "edge-fer watch; Ctrl-C ends it"
EVENTS_SHARE, ALERTS_SHARE = 0.25, 0.4
"""Of the height, at most."""


class Screen:
    """One picture: header, alerts, nodes, last events; never higher or wider than the terminal."""

    def __init__(
        self, view: FleetView, now_ns: int, *, broker: str, connected: bool, zone: tzinfo | None = None
    ) -> None:
        """`broker` is one sentence on the connection; times are those of the zone, or of this machine."""
        self._view, self._now_ns, self._zone = view, now_ns, zone
        self._broker, self._connected = broker, connected

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self.lines(options.max_width, options.height or console.height):
            line.truncate(options.max_width, overflow="ellipsis")
            line.no_wrap = True
            yield line

    def lines(self, width: int, height: int) -> Lines:
        """Exactly as many as the terminal has."""
        top = self._header(width)
        alerts = self._alerts(width, max(1, int(height * ALERTS_SHARE)))
        room = height - len(top) - len(alerts)
        events = self._events(max(0, min(int(height * EVENTS_SHARE), room - 4)))
        nodes = self._nodes(width, room - len(events))
        if not self._connected:
            for line in (*alerts, *nodes):
                line.stylize("dim")
        empty = [Text() for _ in range(height - len(top) - len(alerts) - len(nodes) - len(events))]
        return [*top, *alerts, *nodes, *empty, *events][:height]

    def _header(self, width: int) -> Lines:
        view = self._view
        counts = [f"{amount(view.total, 'node')}: {view.online} online"]
        if view.total > view.online:
            counts.append(f"{view.total - view.online} not online")
        if view.alerts:
            counts.append(amount(len(view.alerts), "alert"))
        right = Text(f"{', '.join(counts)}  {clock(self._now_ns, self._zone)}", "bold")
        left = Text(TITLE, "bold")
        left.truncate(max(0, width - right.cell_len - 2), overflow="ellipsis")
        first = Text.assemble(left, " " * max(2, width - left.cell_len - right.cell_len), right)
        broker = Text(self._broker, "dim" if self._connected else "bold yellow")
        if not self._connected and view.total:
            broker = Text.assemble(("ALL THIS IS OLD: ", "bold red"), broker)
        lines = [first, broker]
        notes = []
        if view.beyond:
            notes.append(f"more than {amount(view.total, 'node')}: name those to watch with --node")
        if view.unreadable:
            notes.append(amount(view.unreadable, "unreadable message"))
        return [*lines, *([Text("; ".join(notes), "yellow")] if notes else []), _rule(width)]

    def _alerts(self, width: int, room: int) -> Lines:
        blocks = [alert_lines(alert, self._now_ns, self._zone, width) for alert in self._view.alerts]
        if sum(map(len, blocks)) > room:
            blocks = [block[:1] for block in blocks]
        lines = [line for block in blocks for line in block]
        return [*_fit(lines, room), _rule(width)] if lines else []

    def _events(self, room: int) -> Lines:
        if room < 2 or not self._view.events:  # noqa: PLR2004 - a heading and one event
            return []
        newest = self._view.events[: room - 1]
        heading = Text("last events", "dim")
        return [heading, *(event_line(event, self._zone) for event in newest)]

    def _nodes(self, width: int, room: int) -> Lines:
        """One line for each node, and as many more of the most urgent ones as there is room."""
        nodes, total = self._view.nodes, self._view.total
        if not nodes:
            return [Text("waiting for the first node ...", "dim")][: max(0, room)]
        spare = room - min(total, max(1, room // 2))
        lines: Lines = []
        for shown, node in enumerate(nodes):
            block = node_lines(node, self._now_ns, width)
            if len(block) - 1 > spare:
                block = [node_summary(node, self._now_ns)]
            spare -= len(block) - 1
            all_others = shown + 1 == total
            if len(lines) + len(block) + (0 if all_others else 1) > room:
                return [*lines, Text(f"+ {amount(total - shown, 'more node')}", "dim")]
            lines += block
        left = total - len(nodes)
        return [*lines, *([Text(f"+ {amount(left, 'more node')}", "dim")] if left else [])]


def _fit(lines: Lines, room: int) -> Lines:
    """The first of the alerts, and how many more there are."""
    if len(lines) <= room:
        return lines
    return [*lines[: room - 1], Text(f"+ {amount(len(lines) - room + 1, 'more alert')}", "bold red")]


def _rule(width: int) -> Text:
    return Text("─" * width, "dim")

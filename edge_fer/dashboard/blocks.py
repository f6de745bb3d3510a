"""Lines of the screen: an alert, a node with its cameras, an event."""

from __future__ import annotations

import textwrap
from datetime import tzinfo

from rich.text import Text

from edge_fer.colours import COLOURS, STATE_COLOURS
from edge_fer.dashboard.fleet import GOOD_CAMERA
from edge_fer.dashboard.views import AlertView, CameraView, EventView, NodeView
from edge_fer.dashboard.words import age, amount, clock, mebibytes, span

Lines = list[Text]

WIDE = 120
"""From so many columns on, a node and its figures share a line."""

BAR_CELLS = 10

_STATUS_COLOURS = {"online": "green", "offline": "red", "unknown": "yellow"}
_NAME_CELLS = 12


def alert_lines(alert: AlertView, now_ns: int, zone: tzinfo | None, width: int) -> Lines:
    """Which, where, since when; why, on a line of its own where the terminal is narrow."""
    since = f"  since {clock(alert.since_ns, zone)} ({age(alert.since_ns, now_ns)})" if alert.since_ns else ""
    doubt = " (may be over)" if alert.stale else ""
    quiet = " (raised in quiet hours)" if alert.quiet else ""
    head = Text.assemble(
        (f"ALERT {alert.node}/{alert.rule}{doubt}", "yellow" if alert.stale else "bold red"), f"{since}{quiet}"
    )
    why = f"{alert.why}  {alert.text}".strip()
    if width >= WIDE:
        return [Text.assemble(head, "  ", (why, "bold"))]
    wrapped = textwrap.wrap(why, max(20, width - 6), max_lines=2, placeholder=" ...")
    return [head, *(Text(f"      {line}", "bold") for line in wrapped)]


def event_line(event: EventView, zone: tzinfo | None) -> Text:
    """When, whether it is history, where, what."""
    late = Text("late  ", "yellow") if event.late else Text("      ")
    colour = COLOURS.get(event.expression or "", "")
    return Text.assemble(f"{clock(event.at_ns, zone)}  ", late, f"{event.node}/", (event.what, colour))


def node_summary(node: NodeView, now_ns: int) -> Text:
    """A node in one line: what is wrong with it, or else what it sees."""
    wrong = [f"problem {problem.code}" for problem in node.problems]
    wrong += ["problem silent"] if node.silent_s is not None else []
    wrong += [f"{camera.name} {camera.state}" for camera in node.cameras if camera.state not in GOOD_CAMERA]
    words = Text.assemble(_head(node, now_ns), "  ", (", ".join(wrong), "bold yellow"))
    if node.paused:
        words.append(f"{', ' if wrong else ''}privacy pause: {', '.join(node.paused)}  ", "magenta")
    if not wrong and not node.stale:
        seeing = [camera for camera in node.cameras if camera.state == "online" and camera.faces]
        faces = sum(camera.faces or 0 for camera in seeing)
        words.append(f"{amount(len(node.cameras), 'camera')}, {amount(faces, 'face')}")
        for camera in seeing:
            if camera.expression:
                words.append(f"  {camera.expression}", COLOURS.get(camera.expression, ""))
    return Text.assemble(words, (f"  {_figures(node)}", "dim"))


def node_lines(node: NodeView, now_ns: int, width: int) -> Lines:
    """A node with its figures, problems and cameras; dimmed where it is not online."""
    head, figures = _head(node, now_ns), Text(_figures(node), "dim" if node.sample_stale else "")
    about = Text("  ".join(part for part in (node.version, node.board) if part), "dim")
    if width >= WIDE:
        lines = [Text.assemble(head, "  ", about, "  ", figures)]
    else:
        lines = [Text.assemble(head, "  ", about), Text.assemble("    ", figures)]
        lines = lines if figures.plain else lines[:1]
    for problem in node.problems:
        since = f" (since {age(problem.since_ns, now_ns)})" if problem.since_ns else ""
        lines.append(Text.assemble("    ", (f"problem {problem.code}{since}: ", "bold yellow"), problem.text))
    if node.silent_s is not None:
        told = f"no health for {span(node.silent_s)} although it is said to be online: look after it"
        lines.append(Text.assemble("    ", ("problem silent: ", "bold yellow"), told))
    if node.paused:
        until = f", for {span((node.paused_until_ns - now_ns) / 1e9)} more" if node.paused_until_ns else ""
        lines.append(Text(f"    privacy pause: {', '.join(node.paused)}{until}", "magenta"))
    lines += [_camera_line(camera, stale=camera.stale and not node.stale) for camera in node.cameras]
    if node.stale:
        for line in lines[1:]:
            line.stylize("dim")
    return lines


def _head(node: NodeView, now_ns: int) -> Text:
    sign = "●" if node.status == "online" else "○"
    words = node.status if node.status == "online" else f"{node.status.upper()}"
    if node.status == "online" and node.uptime_s is not None:
        words += f" (up {span(node.uptime_s)})"
    elif node.since_ns is not None:
        words += f" for {age(node.since_ns, now_ns)}"
    if node.stale:
        words += ", values are stale"
    return Text.assemble(
        (f"{sign} ", _STATUS_COLOURS[node.status]), (f"{node.name}  ", "bold"), (words, _STATUS_COLOURS[node.status])
    )


def _figures(node: NodeView) -> str:
    rates = [camera.fps for camera in node.cameras if camera.fps is not None]
    figures = [
        f"{sum(rates):.1f} fps" if rates else "",
        "" if node.latency_p95_ms is None else f"p95 {node.latency_p95_ms:.0f} ms",
        "" if node.cpu_percent is None else f"CPU {node.cpu_percent:.0f} %",
        "" if node.rss_bytes is None else mebibytes(node.rss_bytes),
        "" if node.total_w is None else f"{node.total_w:.1f} W",
        "" if node.temperature_c is None else f"{node.temperature_c:.0f} °C",
        f"slowed {slowed.level}/{slowed.levels} ({slowed.cause})" if (slowed := node.governor) and slowed.level else "",
        "" if node.outbox_events is None else f"outbox {node.outbox_events}",
        f"{node.events_lost} LOST" if node.events_lost else "",
    ]
    told = "  ".join(figure for figure in figures if figure)
    old = node.sample_stale and not node.stale and node.cpu_percent is not None
    return f"{told}  (old)" if told and old else told


def _camera_line(camera: CameraView, *, stale: bool) -> Text:
    state = camera.state or "unknown"
    line = Text(f"    {camera.name:<{_NAME_CELLS}}  ")
    line.append(f"{state:<10}", "" if stale else STATE_COLOURS.get(state, "red"))
    if stale:
        line.append("  (stale)", "yellow")
    if camera.paused:
        line.append("  paused for privacy", "magenta")
    elif state != "online":
        line.append(f"  {camera.reason}", "dim" if state in GOOD_CAMERA else "")
    else:
        line.append_text(_seen(camera))
        if camera.fps is not None:
            line.append(f"  {camera.fps:5.1f} fps", "dim")
    return line


def _seen(camera: CameraView) -> Text:
    faces = "faces ?" if camera.faces is None else amount(camera.faces, "face") if camera.faces else "no face"
    if not camera.faces or camera.expression is None:
        return Text(f"  {faces:<8}{'':{14 + BAR_CELLS + 5}}")
    colour = COLOURS.get(camera.expression, "")
    filled = round((camera.confidence or 0.0) * BAR_CELLS)
    share = "" if camera.confidence is None else f"{camera.confidence:4.0%}"
    return Text.assemble(
        f"  {faces:<8}  ",
        (f"{camera.expression:<12}", colour),
        (f"{'█' * filled}", colour),
        ("░" * (BAR_CELLS - filled), "bright_black"),
        f" {share:<4}",
    )

"""Changes of a fleet as plain lines, for logs and pipes."""

from __future__ import annotations

from collections.abc import Iterator

from edge_fer.dashboard.fleet import Fleet
from edge_fer.dashboard.mailbox import Received
from edge_fer.dashboard.views import CameraView, EventView, NodeView
from edge_fer.dashboard.words import clock


class ChangeLines:
    """One line for each change of a node that people care about; telemetry is left out."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def take(self, received: Received) -> list[str]:
        """Hand the message to the fleet; what it changed."""
        now_ns, incoming = received
        name = incoming.topic.split("/")[1] if "/" in incoming.topic else ""
        before, event_before = self._fleet.node(name, now_ns), self._fleet.newest_event
        self._fleet.take(incoming, now_ns)
        after, event = self._fleet.node(name, now_ns), self._fleet.newest_event
        lines = list(changes(before or NodeView(name=name, status="unknown"), after)) if after else []
        if event is not None and event is not event_before:
            lines.append(_event(event))
        return [f"{clock(now_ns)}  {line}" for line in lines]


def changes(before: NodeView, after: NodeView) -> Iterator[str]:
    """What became different, as sentences that begin with the node."""
    name = after.name
    if after.status != before.status:
        yield f"{name}  {after.status}"
    if after.boot_id != before.boot_id:
        yield f"{name}  run {after.boot_id}, version {after.version}, {after.board}"
    cameras = {camera.name: camera for camera in before.cameras}
    for camera in after.cameras:
        yield from _camera(name, cameras.get(camera.name) or CameraView(name=camera.name), camera)
    yield from _alerts(before, after)
    yield from _problems(before, after)
    slowed = before.governor.level if before.governor else 0
    if (now := after.governor) and now.level != slowed:
        yield (
            f"{name}  slowed to level {now.level} of {now.levels}: {now.reason}" if now.level else f"{name}  not slowed"
        )
    if after.paused != before.paused:
        yield f"{name}  privacy pause: {', '.join(after.paused)}" if after.paused else f"{name}  no privacy pause"


def _camera(node: str, before: CameraView, after: CameraView) -> Iterator[str]:
    if (after.state, after.reason) != (before.state, before.reason):
        yield f"{node}/{after.name}  {after.state or 'unknown'}{': ' if after.reason else ''}{after.reason}"
    if (after.faces, after.expression) != (before.faces, before.expression):
        faces = "?" if after.faces is None else after.faces
        share = "" if after.confidence is None else f" {after.confidence:.0%}"
        yield f"{node}/{after.name}  faces {faces}, {after.expression or 'unknown'}{share}"


def _alerts(before: NodeView, after: NodeView) -> Iterator[str]:
    known = {alert.rule: alert for alert in before.alerts}
    for alert in after.alerts:
        old = known.pop(alert.rule, None)
        if old is None or (old.why, old.since_ns, old.stale) != (alert.why, alert.since_ns, alert.stale):
            doubt = " (may be over)" if alert.stale else ""
            yield f"{after.name}  ALERT {alert.rule}{doubt}: {alert.why}{'  ' if alert.text else ''}{alert.text}"
    for rule in known:
        yield f"{after.name}  alert {rule} is over"


def _problems(before: NodeView, after: NodeView) -> Iterator[str]:
    known = {problem.code: problem for problem in before.problems}
    for problem in after.problems:
        old = known.pop(problem.code, None)
        if old is None or old.text != problem.text:
            yield f"{after.name}  problem {problem.code}: {problem.text}"
    for code in known:
        yield f"{after.name}  problem {code} is over"


def _event(event: EventView) -> str:
    return f"{event.node}/{event.what}{'  late' if event.late else ''}"

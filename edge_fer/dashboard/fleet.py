"""What is known of all nodes: messages in, one picture out."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import replace

from edge_fer.channels import BASE
from edge_fer.dashboard.node import Node
from edge_fer.dashboard.payload import Body, read_body
from edge_fer.dashboard.views import AlertView, EventView, FleetView, NodeView
from edge_fer.mqtt.incoming import Incoming

NODES_MAX = 5000
EVENTS_KEPT = 100

ID = re.compile(r"[a-z0-9-]{1,63}", re.ASCII)
"""What nodes, cameras and rules are called."""

LATE_NS = 30_000_000_000
"""An event that was published so long after it happened is history, whatever else it says."""

GOOD_CAMERA = ("online", "connecting", "disabled")

_NOTHING_TO_SHOW = ("cmd", "rsp", "identity", "self-test")


class Fleet:
    """Takes every message below `edge-fer/`, of well-behaved nodes or not; never raises, and its memory is bounded."""

    def __init__(self, *, nodes_max: int = NODES_MAX, events_kept: int = EVENTS_KEPT) -> None:
        self._nodes: dict[str, Node] = {}
        self._nodes_max = nodes_max
        self._events: deque[EventView] = deque(maxlen=events_kept)
        self._unreadable = 0
        self._beyond = 0

    def take(self, incoming: Incoming, now_ns: int) -> None:
        """A message that was received now, in nanoseconds since 1970."""
        base, _, below = incoming.topic.partition("/")
        levels = below.split("/")
        parts = [levels[0], *(levels[2:3] if levels[1:2] in (["camera"], ["alert"]) else ())]
        if base != BASE or len(levels) < 2 or not all(ID.fullmatch(part) for part in parts):  # noqa: PLR2004
            self._unreadable += 1
        elif levels[1] not in _NOTHING_TO_SHOW:
            self._take(levels[0], levels[1:], incoming, now_ns)

    def node(self, name: str, now_ns: int) -> NodeView | None:
        """One node; None where nothing is known of it."""
        node = self._nodes.get(name)
        return node.view(now_ns) if node else None

    @property
    def newest_event(self) -> EventView | None:
        """The event that was received last."""
        return self._events[-1] if self._events else None

    def view(self, now_ns: int, at_most: int | None = None) -> FleetView:
        """The picture of now, with so many nodes: those with alerts first, then those with problems, then by name."""
        views = sorted((node.view(now_ns) for node in self._nodes.values()), key=urgency)
        alerts = sorted((alert for view in views for alert in view.alerts), key=_alert_order)
        return FleetView(
            nodes=tuple(views[:at_most]),
            total=len(views),
            online=sum(view.status == "online" for view in views),
            alerts=tuple(alerts),
            events=tuple(reversed(self._events)),
            unreadable=self._unreadable,
            beyond=self._beyond,
        )

    def _take(self, name: str, levels: list[str], incoming: Incoming, now_ns: int) -> None:
        node = self._nodes.get(name)
        if node is None and len(self._nodes) >= self._nodes_max:
            self._beyond += 1
            return
        if levels[-1] == "events" and len(levels) == 3:  # noqa: PLR2004 - camera/NAME/events, alert/RULE/events
            self._take_event(name, levels, incoming, now_ns)
            return
        node = node or Node(name)
        readable = node.take(levels, incoming, now_ns)
        self._unreadable += readable is False
        if node.empty:
            self._nodes.pop(name, None)
        else:
            self._nodes[name] = node

    def _take_event(self, name: str, levels: list[str], incoming: Incoming, now_ns: int) -> None:
        body = read_body(incoming.payload)
        event = body and _event(name, levels, body, now_ns)
        if not event:
            self._unreadable += bool(incoming.payload)
            return
        if incoming.retained:  # somebody else's doing: events are never retained
            event = replace(event, late=True)
        if not (event.id and any(event.id == known.id for known in self._events)):
            self._events.append(event)


def urgency(view: NodeView) -> tuple[int, str]:
    """Sorts nodes: alerts, then problems, then all others."""
    if any(not alert.stale for alert in view.alerts):
        return 0, view.name
    return (1 if has_problem(view) else 2), view.name


def has_problem(view: NodeView) -> bool:
    """Whether somebody should look at this node."""
    return (
        view.status != "online"
        or bool(view.problems or view.alerts)
        or view.silent_s is not None
        or any(camera.state not in GOOD_CAMERA and not camera.stale for camera in view.cameras)
    )


def _alert_order(alert: AlertView) -> tuple[bool, int, str, str]:
    return alert.stale, alert.since_ns or 0, alert.node, alert.rule


def _event(name: str, levels: list[str], body: Body, now_ns: int) -> EventView | None:
    """None where it says too little."""
    kind, part, _ = levels
    expression, waited_ns = None, 0
    if kind == "camera":
        event_type, expression = body.text("type"), body.text("expression")
        if event_type is None or expression is None:
            return None
        at_ns, published_ns = body.time_ns("occurred_at"), body.time_ns("published_at")
        waited_ns = published_ns - at_ns if published_ns and at_ns else 0
        what = f"{part}  track {_number(body)}  {event_type:<6}  {expression}{_share(body.share('confidence'))}"
    elif kind == "alert" and (state := body.text("state")):
        at_ns = body.time_ns("since")  # which may be long ago although it is told now: a rule can wait
        what = f"alert {part} {state}: {body.text('why') or ''}"
    else:
        return None
    return EventView(
        id=body.text("id") or "",
        node=name,
        what=what,
        expression=expression,
        at_ns=now_ns if at_ns is None else at_ns,
        late=body.flag("replayed") is True or waited_ns > LATE_NS,
    )


def _number(body: Body) -> str:
    track = body.count("track")
    return "?" if track is None else str(track)


def _share(value: float | None) -> str:
    return "" if value is None else f" {value:.0%}"

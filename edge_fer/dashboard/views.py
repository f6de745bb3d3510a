"""What is known of a fleet at one moment, for the screen; all texts are harmless to a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Status = Literal["online", "offline", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraView:
    """A camera; None is not known."""

    name: str
    state: str | None = None
    reason: str = ""
    faces: int | None = None
    expression: str | None = None
    confidence: float | None = None  # 0..1
    fps: float | None = None
    paused: bool = False  # for privacy, proven
    stale: bool = False  # of an earlier run


class GovernorView(NamedTuple):
    """How much less often than configured a node looks, and why."""

    level: int  # 0: as configured
    levels: int
    cause: str
    reason: str


class ProblemView(NamedTuple):
    """What a node says is wrong with it."""

    code: str
    text: str
    since_ns: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertView:
    """An alert that is active."""

    node: str
    rule: str
    why: str
    text: str
    since_ns: int | None
    quiet: bool
    stale: bool  # of an earlier run, or its node is not online: it may be over


@dataclass(frozen=True, slots=True, kw_only=True)
class EventView:
    """Something that happened."""

    id: str
    node: str
    what: str  # for people
    expression: str | None
    at_ns: int  # when it happened; when it was received, where that is not told
    late: bool  # it is history and not the present


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """A node; None is not known. Where `stale`, all below is what was true before."""

    name: str
    status: Status
    since_ns: int | None = None  # of the status, where its beginning was seen
    stale: bool = False
    version: str = ""
    board: str = ""
    boot_id: str = ""
    uptime_s: int | None = None
    cameras: tuple[CameraView, ...] = ()
    alerts: tuple[AlertView, ...] = ()  # active ones
    problems: tuple[ProblemView, ...] = ()
    silent_s: int | None = None  # so long without health, too long
    sample_stale: bool = False  # of the throughput and the power below
    latency_p95_ms: float | None = None
    cpu_percent: float | None = None
    rss_bytes: int | None = None
    total_w: float | None = None
    temperature_c: float | None = None
    governor: GovernorView | None = None
    outbox_events: int | None = None
    events_lost: int | None = None
    paused: tuple[str, ...] = ()  # cameras that are proven to be closed
    paused_until_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetView:
    """Everything, the most urgent first."""

    nodes: tuple[NodeView, ...]  # the first of all
    total: int
    online: int
    alerts: tuple[AlertView, ...]  # the longest active first; those that may be over last
    events: tuple[EventView, ...]  # the newest first
    unreadable: int  # messages
    beyond: int  # messages of nodes that are too many

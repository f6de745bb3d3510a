"""What is published: payload types and their JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any, Literal, Protocol

from edge_fer.channels import CAMERA_EVENTS, CAMERA_STATE, CAMERA_STATUS, INFO, THROUGHPUT, Channel, topic

SCHEMA_VERSION = 1

EventType = Literal["start", "update", "end"]
CameraCondition = Literal["connecting", "online", "offline"]


@dataclass(frozen=True, slots=True)
class BoxPx:
    """A face's place in the frame; may reach over its border."""

    left_px: int
    top_px: int
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpressionEvent:
    """A face appeared, changed its expression, or left. Times are RFC 3339, UTC."""

    id: str  # of this event: boot id and seq
    seq: int  # one more for each event of this node and boot, so a gap is a loss
    boot_id: str
    type: EventType
    camera: str
    track: int  # the same from start to end; never used again in this boot
    expression: str  # one of labels, or "uncertain"
    confidence: float  # 0..1, smoothed score of the most probable expression
    scores: dict[str, float]  # of every expression, smoothed, sum 1
    box: BoxPx
    frame_width_px: int
    frame_height_px: int
    duration_ms: int  # since the start of this track
    occurred_at: str  # capture of the frame that decided it
    clip_ms: int | None = None  # position in a clip; null for a live camera
    reason: str = ""  # of an end: "left", "camera", "stopped"
    published_at: str = ""  # filled when it is handed to the broker
    replayed: bool = False  # true: it waited for the broker, so it is history and not the present
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraStatus:
    """Whether frames arrive, and why not."""

    state: CameraCondition
    reason: str
    since: str
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraState:
    """What a camera sees now; expression "unknown" until it has looked."""

    faces: int | None
    expression: str  # of the face longest in view; "none" without a face
    confidence: float | None
    since: str
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A network in use."""

    name: str
    sha256: str
    runtime: str
    threads: int
    xnnpack_operators: int
    operators: int
    operating_point: str | None = None  # of a network that reads expressions: the prior that it reads at


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInfo:
    """What runs on this node."""

    version: str
    boot_id: str
    board: str
    labels: list[str]
    models: list[ModelInfo]
    cameras: list[str]
    config_sha256: str
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraThroughput:
    """Work done for one camera in the last period."""

    fps: float  # frames looked at per second
    captured: int  # frames since the start
    dropped: int  # frames since the start that a newer one replaced


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Work done in the last period."""

    period_s: float
    cameras: dict[str, CameraThroughput]
    cpu_percent: float  # of one core, the whole process
    rss_bytes: int
    occurred_at: str
    schema_version: int = SCHEMA_VERSION


Payload = ExpressionEvent | CameraStatus | CameraState | NodeInfo | Throughput

_CHANNEL_OF: dict[type, Channel] = {
    ExpressionEvent: CAMERA_EVENTS,
    CameraStatus: CAMERA_STATUS,
    CameraState: CAMERA_STATE,
    NodeInfo: INFO,
    Throughput: THROUGHPUT,
}


@dataclass(frozen=True, slots=True)
class Message:
    """A payload on its way to its topic."""

    topic: str
    qos: int
    retain: bool
    body: Mapping[str, Any]

    @property
    def is_event(self) -> bool:
        """Whether it must arrive even if the broker is away now; states and samples are only worth their newest."""
        return self.qos > 0 and not self.retain

    def to_json(self) -> bytes:
        """Compact UTF-8 JSON, keys in the order of the type."""
        return json.dumps(self.body, ensure_ascii=False, separators=(",", ":")).encode()

    def sent(self, at: str, *, replayed: bool) -> Message:
        """The event as it goes out: with its time of publishing, and marked if it had to wait."""
        return Message(self.topic, self.qos, self.retain, {**self.body, "published_at": at, "replayed": replayed})


class Publisher(Protocol):
    """Where messages go. Called from the pipeline's thread: must not block."""

    def publish(self, message: Message) -> None:
        """Take over a message."""


def message(payload: Payload, node: str, camera: str = "") -> Message:
    """The payload addressed to its channel."""
    channel = _CHANNEL_OF[type(payload)]
    return Message(topic(channel, node, camera), channel.qos, channel.retain, asdict(payload))


def rfc3339(unix_ns: int) -> str:
    """A wall clock time as RFC 3339, UTC, with milliseconds and Z."""
    moment = datetime.fromtimestamp(unix_ns // 1_000_000_000, tz=timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{unix_ns // 1_000_000 % 1000:03d}Z"

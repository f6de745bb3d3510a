"""What is published: payload types and their JSON."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

from edge_fer.readability import Quality
from edge_fer.sensors.readings import PowerSource

SCHEMA_VERSION = 1

EventType = Literal["start", "update", "end"]
EndReason = Literal["left", "camera", "paused", "stopped", "restart"]
CameraCondition = Literal["connecting", "online", "stalled", "frozen", "dark", "offline", "disabled"]
AlertState = Literal["active", "cleared"]
GovernorCause = Literal["none", "temperature", "power", "throttled"]


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
    reason: str = ""  # why it ended; "" of a start or an update
    published_at: str = ""  # filled when it is handed to the broker
    replayed: bool = False  # true: it waited for the broker, so it is history and not the present
    schema_version: int = SCHEMA_VERSION
    previous: str | None = None  # expression before an update
    expression_ms: int = 0  # how long the expression held: of an update the previous one, of an end the last one
    peak: float = 0.0  # highest smoothed score of that expression while it held
    mean: float = 0.0  # mean smoothed score of that expression while it held
    quality: Quality | None = None  # of the face in the frame that decided it
    frame_age_ms: int = 0  # from the capture of that frame to the decision
    track_boot_id: str = ""  # of an end with reason "restart": boot_id of the start that it belongs to
    clock_synced: bool | None = None  # whether the node's clock was set by a time server; null: not known


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
class AlertSample:
    """One of the observations that an alert rests on."""

    occurred_at: str
    camera: str
    track: int | None = None
    expression: str | None = None
    confidence: float | None = None
    faces: int | None = None
    state: str | None = None  # of the camera


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What a rule of the configuration found, and why."""

    rule: str
    state: AlertState
    why: str  # one sentence for people: what was found, and the threshold
    value: float  # what was measured: a share, seconds, faces
    threshold: float
    unit: str  # of both: "share", "s", "faces"
    cameras: list[str]
    track: int | None
    samples: list[AlertSample]  # at most 20, evenly chosen from those that count
    since: str
    quiet: bool = False  # it became true in quiet hours, whose end it waited for
    text: str = ""  # what the configuration says to people about it
    boot_id: str = ""
    schema_version: int = SCHEMA_VERSION
    id: str = ""  # boot id, "alert" and seq; "" of the state that a rule begins with
    seq: int = 0  # one more for each alert raised or cleared by this node and boot, so a gap is a loss
    published_at: str = ""  # in the history: when it was handed to the broker
    replayed: bool = False  # in the history: it waited for the broker
    clock_synced: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something on this node that is not as it should be."""

    code: str  # lower case, hyphens: "self-test", "outbox", "state-folder" ...
    text: str
    since: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How this node is."""

    ok: bool  # no problems
    problems: list[Problem]
    uptime_s: int
    rss_bytes: int
    load_1m: float
    outbox_events: int  # not acknowledged by the broker
    events_lost: int
    camera_restarts: dict[str, int]  # attempts to open a camera after its first
    frames_dropped: dict[str, int]
    self_test_at: str | None  # of the last one that passed
    occurred_at: str
    boot_id: str
    schema_version: int = SCHEMA_VERSION
    outbox_bytes: int = 0
    outbox_oldest_s: float = 0.0  # age of the oldest event that waits
    telemetry_lost: int = 0  # samples since the start that no broker was there for
    clock_synced: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    """Proof of a privacy pause: these cameras are closed, and since when."""

    paused: bool
    cameras: list[str]  # paused; each is closed when this is published
    until: str | None
    by: str  # who asked: "command line", "mqtt", or "damaged file"
    since: str
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """A drawn face went through detector, network and outbox."""

    id: str
    passed: bool
    reason: str  # why not
    faces: int
    confidence: float | None
    took_ms: float
    occurred_at: str
    boot_id: str
    published_at: str = ""
    replayed: bool = False
    schema_version: int = SCHEMA_VERSION
    clock_synced: bool | None = None


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
    withheld: int = 0  # frames since the start that were not to be looked at: frozen, dark, above max_fps, paused


@dataclass(frozen=True, slots=True)
class LatencyMs:
    """Quantiles of the time from a frame's capture to the end of its turn."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Work done in the last period."""

    period_s: float
    cameras: dict[str, CameraThroughput]
    cpu_percent: float  # of one core, the whole process
    rss_bytes: int
    occurred_at: str
    latency_ms: LatencyMs | None = None  # of all frames of the period; null without any
    schema_version: int = SCHEMA_VERSION
    images_per_s: float = 0.0  # faces read per second
    detections_per_s: float = 0.0  # frames, or regions of them, searched for faces per second
    images_per_s_per_w: float | None = None  # over the watts of the whole board; null without a sensor
    joules_per_image: float | None = None  # energy of the whole board over the faces read; null without either


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """Watts, energy, heat and clocks of the board in the last period."""

    source: PowerSource
    reason: str  # why watts are unavailable or only estimated; "" where they are measured
    total_w: float | None  # mean of the period: energy over time; null: unavailable
    rails_w: dict[str, float]  # newest, by name of the supply line
    energy_j: float | None  # since the start of the daemon; null: unavailable
    mode: str | None  # power mode or frequency cap; null: this board has none
    mode_id: int | None  # of nvpmodel
    temperature_c: float | None  # of the hottest zone, newest
    temperatures_c: dict[str, float]  # newest, by name of the zone
    throttled: list[str]  # what holds the board back now
    throttled_since_boot: list[str]
    throttling_known: bool  # false: this board does not tell
    cpu_mhz: float | None  # mean of the cores that are online, newest
    cores_online: int | None  # newest; null: not known
    period_s: float
    occurred_at: str
    boot_id: str
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class GovernorState:
    """How often this node looks, and what keeps it from looking more often."""

    level: int  # 0: as configured; each level more looks less often
    levels: int  # the highest there is
    cause: GovernorCause  # of the level
    reason: str  # for people: what was found, and the limit
    max_fps: float | None  # of each camera; null: as configured
    detect_every_frames: int  # at least
    idle_cameras: list[str]  # looked at less often because nobody is there
    since: str
    boot_id: str
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What became of a command."""

    command: str
    ok: bool
    message: str  # for people: what was done, or what is wrong
    id: str | None  # of the request, if it gave one
    occurred_at: str
    boot_id: str
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A daemon says that this node is its own; another one that holds it objects with its own claim."""

    boot_id: str
    uptime_s: float  # the older one keeps the name
    host: str
    schema_version: int = SCHEMA_VERSION
    rejects: str = ""  # boot id of the other one, which must leave


Payload = (
    ExpressionEvent
    | CameraStatus
    | CameraState
    | Alert
    | Health
    | Privacy
    | SelfTest
    | NodeInfo
    | Throughput
    | Power
    | GovernorState
    | Reply
    | Claim
)


def rfc3339(unix_ns: int) -> str:
    """A wall clock time as RFC 3339, UTC, with milliseconds and Z."""
    moment = datetime.fromtimestamp(unix_ns // 1_000_000_000, tz=timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{unix_ns // 1_000_000 % 1000:03d}Z"

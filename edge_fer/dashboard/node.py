"""What one node has told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

from edge_fer.dashboard.payload import Body, read_body
from edge_fer.dashboard.views import AlertView, CameraView, GovernorView, NodeView, ProblemView, Status
from edge_fer.mqtt.incoming import Incoming

PARTS_MAX = 32
"""Cameras, alerts and problems of a node that are remembered; what is beyond is passed over."""

SILENT_S = 150
"""`health` comes every minute: after two and a half of them something is wrong that the node cannot tell."""

RUN_GRACE_NS = 10_000_000_000
"""What came so shortly before the first `info` of a run belongs to this run: states arrive in any order."""

_SAMPLE_PERIODS = 3


@dataclass(frozen=True, slots=True)
class _Camera:
    """A camera, and when it was told of."""

    view: CameraView
    status_ns: int | None = None
    state_ns: int | None = None


class _Info(NamedTuple):
    """What of `info` is shown."""

    version: str
    board: str
    boot_id: str
    cameras: tuple[str, ...] | None

    @classmethod
    def of(cls, body: Body) -> _Info:
        version, board, boot_id = (body.text(key) or "" for key in ("version", "board", "boot_id"))
        return cls(version, board, boot_id, body.texts("cameras", PARTS_MAX))


class _Health(NamedTuple):
    """What of `health` is shown."""

    told_ns: int
    boot_id: str | None
    uptime_s: int | None
    rss_bytes: int | None
    outbox_events: int | None
    events_lost: int | None
    problems: tuple[ProblemView, ...]

    @classmethod
    def of(cls, body: Body, told_ns: int) -> _Health:
        return cls(
            told_ns,
            body.text("boot_id"),
            body.count("uptime_s"),
            body.count("rss_bytes"),
            body.count("outbox_events"),
            body.count("events_lost"),
            _problems(body),
        )


class _Pause(NamedTuple):
    """What of `privacy` is shown."""

    cameras: tuple[str, ...] = ()
    until_ns: int | None = None

    @classmethod
    def of(cls, body: Body) -> _Pause:
        return cls(body.texts("cameras", PARTS_MAX) or (), body.time_ns("until")) if body.flag("paused") else cls()


class _Sample(NamedTuple):
    """Telemetry, and until when it holds."""

    until_ns: int
    fps: dict[str, float]
    latency_p95_ms: float | None
    cpu_percent: float | None
    rss_bytes: int | None
    total_w: float | None
    temperature_c: float | None

    @classmethod
    def of(cls, body: Body, received_ns: int) -> _Sample:
        period_s = min(body.number("period_s") or 0.0, 3600.0)
        return cls(
            received_ns + round(max(15.0, _SAMPLE_PERIODS * period_s) * 1e9),
            body.numbers("cameras", "fps", PARTS_MAX),
            body.body("latency_ms").number("p95"),
            body.number("cpu_percent"),
            body.count("rss_bytes"),
            body.number("total_w"),
            body.number("temperature_c"),
        )


_NO_INFO = _Info("", "", "", None)
_NO_HEALTH = _Health(0, None, None, None, None, None, ())
_NO_SAMPLE = _Sample(0, {}, None, None, None, None, None)


class Node:
    """One node: takes its messages, never raises, and shows what is known at a moment."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._status: Status = "unknown"
        self._status_ns: int | None = None
        self._status_boot: str | None = None
        self._info = _NO_INFO
        self._run_ns = 0  # since when this boot id is known
        self._cameras: dict[str, _Camera] = {}
        self._alerts: dict[str, tuple[AlertView, str | None]] = {}  # with the boot id
        self._health = _NO_HEALTH
        self._pause = _Pause()
        self._throughput = self._power = _NO_SAMPLE
        self._governor: tuple[GovernorView, str | None] | None = None  # with the boot id

    @property
    def empty(self) -> bool:
        """Whether nothing is known of it (any more)."""
        parts = (self._info, self._health, self._pause, self._throughput, self._power)
        nothing = parts == (_NO_INFO, _NO_HEALTH, _Pause(), _NO_SAMPLE, _NO_SAMPLE)
        return nothing and self._status == "unknown" and not (self._cameras or self._alerts or self._governor)

    def take(self, levels: list[str], incoming: Incoming, now_ns: int) -> bool | None:
        """A message, `levels` of its topic below the node; False: it cannot be read, None: it is nothing to show."""
        match levels:
            case ["status"]:
                return self._take_status(incoming, now_ns)
            case ["camera", camera, "status" | "state" as kind] if camera:
                return self._take_camera(camera, kind, incoming.payload, now_ns)
            case ["alert", rule] if rule:
                return self._take_alert(rule, incoming.payload)
        take = self._whole_topics.get("/".join(levels))
        if take is None:
            return None
        body = read_body(incoming.payload)
        if body is None and incoming.payload:
            return False
        # Of what is retained only the node can say how old it is, and only if its clock is right.
        dated = body is not None and incoming.retained and body.flag("clock_synced") is not False
        told_ns = body.time_ns("occurred_at") if body and dated else None
        take(self, body, now_ns if told_ns is None else min(told_ns, now_ns))
        return True

    def view(self, now_ns: int) -> NodeView:
        """What is known, and how far it still holds."""
        status = self._present_status()
        info, health, sample = self._info, self._health, self._throughput
        power = self._power if now_ns <= self._power.until_ns else _NO_SAMPLE
        health_stale = self._is_other_boot(health.boot_id)
        lasts = status != "offline" and not health_stale and health.uptime_s is not None
        return NodeView(
            name=self.name,
            status=status,
            since_ns=self._status_ns,
            stale=status == "offline",
            version=info.version,
            board=info.board,
            boot_id=info.boot_id,
            uptime_s=(health.uptime_s or 0) + self._health_age_s(now_ns) if lasts else None,
            cameras=self._camera_views(now_ns),
            alerts=self._alert_views(stale=status != "online"),
            problems=() if health_stale else health.problems,
            silent_s=self._silent_s(now_ns) if status == "online" else None,
            sample_stale=now_ns > sample.until_ns,
            latency_p95_ms=sample.latency_p95_ms,
            cpu_percent=sample.cpu_percent,
            rss_bytes=sample.rss_bytes or health.rss_bytes,
            total_w=power.total_w,
            temperature_c=power.temperature_c,
            governor=self._governor[0] if self._governor and not self._is_other_boot(self._governor[1]) else None,
            outbox_events=health.outbox_events,
            events_lost=health.events_lost,
            paused=self._pause.cameras,
            paused_until_ns=self._pause.until_ns,
        )

    def _present_status(self) -> Status:
        # A last will of an earlier run that came late says nothing about this one, neither good nor bad.
        if self._status == "offline" and self._status_boot and self._is_other_boot(self._status_boot):
            return "unknown"
        return self._status

    def _is_other_boot(self, boot_id: str | None) -> bool:
        return bool(boot_id and self._info.boot_id and boot_id != self._info.boot_id)

    def _take_status(self, incoming: Incoming, now_ns: int) -> bool:
        told: dict[bytes, Status] = {b"online": "online", b"offline": "offline", b"": "unknown"}
        status = told.get(incoming.payload)
        if status is None:
            return False
        if status != self._status:
            self._status = status
            self._status_ns = None if incoming.retained else now_ns
        self._status_boot = incoming.properties.get("boot_id")
        return True

    def _take_info(self, body: Body | None, now_ns: int) -> None:
        before, self._info = self._info, _Info.of(body) if body else _NO_INFO
        if self._info.boot_id != before.boot_id:
            self._run_ns = now_ns if before.boot_id else 0

    def _take_health(self, body: Body | None, told_ns: int) -> None:
        self._health = _Health.of(body, told_ns) if body else _NO_HEALTH

    def _take_privacy(self, body: Body | None, _now_ns: int) -> None:
        self._pause = _Pause.of(body) if body else _Pause()

    def _take_throughput(self, body: Body | None, now_ns: int) -> None:
        self._throughput = _Sample.of(body, now_ns) if body else _NO_SAMPLE

    def _take_power(self, body: Body | None, now_ns: int) -> None:
        self._power = _Sample.of(body, now_ns) if body else _NO_SAMPLE

    def _take_governor(self, body: Body | None, _now_ns: int) -> None:
        self._governor = (_governor(body), body.text("boot_id")) if body else None

    def _take_camera(self, name: str, kind: str, payload: bytes, now_ns: int) -> bool:
        known = self._cameras.get(name) or _Camera(CameraView(name=name))
        body = read_body(payload)
        if kind == "status":
            state = body.text("state") if body else None
            readable = state is not None
            view = replace(known.view, state=state, reason=(body.text("reason") if body else None) or "")
            known = _Camera(view, now_ns if state else None, known.state_ns)
        else:
            expression = body.text("expression") if body else None
            readable = expression is not None
            faces, confidence = (body.count("faces"), body.share("confidence")) if body else (None, None)
            view = replace(known.view, faces=faces, expression=expression, confidence=confidence)
            known = _Camera(view, known.status_ns, now_ns if expression else None)
        if not (readable or not payload):
            return False
        if known.status_ns is None and known.state_ns is None:
            self._cameras.pop(name, None)
        elif name in self._cameras or len(self._cameras) < PARTS_MAX:
            self._cameras[name] = known
        return True

    def _take_alert(self, rule: str, payload: bytes) -> bool:
        body = read_body(payload)
        state = body.text("state") if body else None
        if body is None or state != "active":
            if payload and state != "cleared":
                return False
            self._alerts.pop(rule, None)
        elif rule in self._alerts or len(self._alerts) < PARTS_MAX:
            self._alerts[rule] = (_alert(self.name, rule, body), body.text("boot_id"))
        return True

    def _camera_views(self, now_ns: int) -> tuple[CameraView, ...]:
        rates = self._throughput.fps if now_ns <= self._throughput.until_ns else {}
        views = []
        for name, camera in sorted(self._cameras.items()):
            if self._info.cameras is not None and name not in self._info.cameras:
                continue  # its configuration has gone, but what was retained has not
            of_this_run = max(camera.status_ns or 0, camera.state_ns or 0) >= self._run_ns - RUN_GRACE_NS
            paused = name in self._pause.cameras
            views.append(replace(camera.view, fps=rates.get(name), paused=paused, stale=not of_this_run))
        return tuple(views)

    def _alert_views(self, *, stale: bool) -> tuple[AlertView, ...]:
        return tuple(
            replace(view, stale=True) if stale or self._is_other_boot(boot_id) else view
            for _, (view, boot_id) in sorted(self._alerts.items())
        )

    def _health_age_s(self, now_ns: int) -> int:
        return max(0, now_ns - self._health.told_ns) // 1_000_000_000

    def _silent_s(self, now_ns: int) -> int | None:
        age_s = self._health_age_s(now_ns)
        return age_s if self._health.told_ns and age_s > SILENT_S else None

    _whole_topics: ClassVar[dict[str, Callable[[Node, Body | None, int], None]]] = {
        "info": _take_info,
        "health": _take_health,
        "privacy": _take_privacy,
        "telemetry/throughput": _take_throughput,
        "telemetry/power": _take_power,
        "governor": _take_governor,
    }


def _alert(node: str, rule: str, body: Body) -> AlertView:
    return AlertView(
        node=node,
        rule=rule,
        why=body.text("why") or "",
        text=body.text("text") or "",
        since_ns=body.time_ns("since"),
        quiet=body.flag("quiet") or False,
        stale=False,
    )


def _governor(body: Body) -> GovernorView:
    level, levels = body.count("level") or 0, body.count("levels") or 0
    return GovernorView(level, levels, body.text("cause") or "", body.text("reason") or "")


def _problems(health: Body) -> tuple[ProblemView, ...]:
    return tuple(
        ProblemView(problem.text("code") or "?", problem.text("text") or "", problem.time_ns("since"))
        for problem in health.bodies("problems", PARTS_MAX)
    )

"""What nodes publish, as a subscriber receives it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from edge_fer.dashboard.fleet import Fleet
from edge_fer.events import (
    Alert,
    BoxPx,
    CameraState,
    CameraStatus,
    CameraThroughput,
    ExpressionEvent,
    GovernorState,
    Health,
    LatencyMs,
    NodeInfo,
    Power,
    Privacy,
    Problem,
    Throughput,
    rfc3339,
)
from edge_fer.messages import Message, alert_history, message
from edge_fer.mqtt.incoming import Incoming

T0_S = 1_795_000_000  # 2026-11-18
T0_NS = T0_S * 1_000_000_000


def at(seconds: float) -> str:
    return rfc3339(T0_NS + round(seconds * 1e9))


def ns(seconds: float) -> int:
    return T0_NS + round(seconds * 1e9)


def incoming(sent: Message, *, retained: bool = False) -> Incoming:
    return Incoming(sent.topic, sent.to_json(), retained)


def raw(topic: str, payload: bytes | str | dict[str, Any], *, retained: bool = False, **properties: str) -> Incoming:
    if isinstance(payload, dict):
        payload = json.dumps(payload)
    content = payload.encode() if isinstance(payload, str) else payload
    return Incoming(f"edge-fer/{topic}", content, retained, properties=properties)


def info(boot_id: str = "boot-a", cameras: tuple[str, ...] = ("front", "hall"), **more: Any) -> NodeInfo:
    return NodeInfo(**{"version": "0.1.0", "boot_id": boot_id, "board": "Raspberry Pi 5 Model B", "labels": [],
                       "models": [], "cameras": list(cameras), "config_sha256": "0", **more})  # fmt: skip


def health(boot_id: str = "boot-a", *problems: Problem, when_s: float = 0, **more: Any) -> Health:
    known: dict[str, Any] = {
        "ok": not problems, "problems": list(problems), "uptime_s": 7380, "rss_bytes": 127_225_856, "load_1m": 0.4,
        "outbox_events": 0, "events_lost": 0, "camera_restarts": {"front": 0, "hall": 12},
        "frames_dropped": {"front": 1}, "self_test_at": at(-60), "occurred_at": at(when_s), "boot_id": boot_id,
    }  # fmt: skip
    return Health(**{**known, **more})


def throughput(**fps: float) -> Throughput:
    cameras = {name: CameraThroughput(fps=rate, captured=4800, dropped=7, withheld=3) for name, rate in fps.items()}
    return Throughput(
        period_s=10.0, cameras=cameras, cpu_percent=41.7, rss_bytes=127_225_856, occurred_at=at(0),
        latency_ms=LatencyMs(13.5, 38.1, 59.5), images_per_s=37.0, detections_per_s=12.5, images_per_s_per_w=7.4,
        joules_per_image=0.1351,
    )  # fmt: skip


def power(**more: Any) -> Power:
    known: dict[str, Any] = {
        "source": "measured", "reason": "", "total_w": 5.0, "rails_w": {"VDD_IN": 5.1, "VDD_SOC": 1.2},
        "energy_j": 7200.5, "mode": "15W", "mode_id": 0, "temperature_c": 61.5,
        "temperatures_c": {"cpu-thermal": 61.5, "gpu-thermal": 58.0}, "throttled": ["throttled"],
        "throttled_since_boot": ["throttled", "under-voltage"], "throttling_known": True, "cpu_mhz": 1190.4,
        "cores_online": 6, "period_s": 10.0, "occurred_at": at(0), "boot_id": "boot-a",
    }  # fmt: skip
    return Power(**{**known, **more})


def nothing_told() -> Power:
    """Of a board without any sensor."""
    return power(
        source="unavailable", reason="no sensor", total_w=None, rails_w={}, energy_j=None, mode=None, mode_id=None,
        temperature_c=None, temperatures_c={}, throttled=[], throttled_since_boot=[], throttling_known=False,
        cpu_mhz=None,
    )  # fmt: skip


def governor(level: int = 0, boot_id: str = "boot-a", **more: Any) -> GovernorState:
    known: dict[str, Any] = {
        "level": level, "levels": 5, "cause": "temperature" if level else "none",
        "reason": "81.5 °C in cpu-thermal, limit 80 °C" if level else "", "max_fps": 10.0 if level else None,
        "detect_every_frames": 3, "idle_cameras": ["hall"], "since": at(0), "boot_id": boot_id,
    }  # fmt: skip
    return GovernorState(**{**known, **more})


def alert(rule: str = "crying", state: Any = "active", boot_id: str = "boot-a", **more: Any) -> Alert:
    why = "face 1 on camera front showed sadness, fear or anger for 12 s of the last 20 s: 60 %, alert from 60 %"
    known: dict[str, Any] = {
        "rule": rule, "state": state, "why": why, "value": 0.6, "threshold": 0.6, "unit": "share", "cameras": ["front"],
        "track": 1, "samples": [], "since": at(-71), "text": "Look after the child.", "boot_id": boot_id,
    }  # fmt: skip
    return Alert(**{**known, **more})


def event(seq: int = 1, expression: str = "happiness", event_type: Any = "update", **more: Any) -> ExpressionEvent:
    known: dict[str, Any] = {
        "id": f"boot-a-{seq}", "seq": seq, "boot_id": "boot-a", "type": event_type, "camera": "front", "track": 1,
        "expression": expression, "confidence": 0.91, "scores": {}, "box": BoxPx(0, 0, 9, 9), "frame_width_px": 64,
        "frame_height_px": 36, "duration_ms": 900, "occurred_at": at(seq), "published_at": at(seq + 0.1),
    }  # fmt: skip
    return ExpressionEvent(**{**known, **more})


def problem(code: str = "state-folder", text: str = "/var/lib/edge-fer: read-only file system") -> Problem:
    return Problem(code=code, text=text, since=at(-600))


def condition(state: Any, reason: str = "") -> CameraStatus:
    return CameraStatus(state=state, reason=reason, since=at(-30))


def sees(faces: int | None, expression: str, confidence: float | None = None) -> CameraState:
    return CameraState(faces=faces, expression=expression, confidence=confidence, since=at(-5))


def well(node: str = "living-room", boot_id: str = "boot-a") -> list[Incoming]:
    """A node that is as it should be: two cameras, one of them with a face."""
    told = [
        (info(boot_id), ""), (condition("online"), "front"), (sees(1, "happiness", 0.93), "front"),
        (condition("online"), "hall"), (sees(0, "none"), "hall"), (health(boot_id), ""),
        (throughput(front=22.5, hall=14.9), ""),
    ]  # fmt: skip
    return [
        raw(f"{node}/status", "online", retained=True),
        *(incoming(message(payload, node, part), retained=True) for payload, part in told),
    ]


def busy_fleet() -> Fleet:
    """All that can be seen: alerts, problems, a pause, an earlier run, one that is offline, late events, rubbish."""
    fleet = Fleet()
    for node in ("living-room", "bedroom", "kitchen", "garage", "studio"):
        for one in well(node):
            fleet.take(one, T0_NS)
    cry = alert()
    lost = condition("offline", "rtsp://carer:***@10.0.0.7/stream: connection refused")
    pause = Privacy(paused=True, cameras=["front"], until=at(1800), by="command line", since=at(0))
    told = [
        (message(cry, "living-room", "crying"), True),
        (message(sees(2, "sadness", 0.83), "living-room", "front"), False),
        (message(lost, "kitchen", "hall"), False),
        (message(health("boot-a", problem()), "kitchen"), False),
        (message(pause, "bedroom"), True),
        (message(condition("disabled", "paused"), "bedroom", "front"), False),
        (alert_history(replace(cry, id="boot-a-alert-1", replayed=True), "living-room"), False),
        (message(event(3, "sadness"), "living-room", "front"), False),
        (message(event(2, "fear", replayed=True), "living-room", "front"), False),
        (message(event(4, "sadness", "end", reason="left"), "living-room", "front"), False),
    ]  # fmt: skip
    for sent, retained in told:
        fleet.take(incoming(sent, retained=retained), ns(5))
    fleet.take(raw("garage/status", "offline"), ns(6))
    fleet.take(incoming(message(power(total_w=4.21), "living-room")), ns(6))
    fleet.take(incoming(message(governor(2), "living-room"), retained=True), ns(6))
    fleet.take(raw("kitchen/info", b"\xff"), ns(6))
    return fleet

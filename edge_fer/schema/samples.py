"""Golden samples: one real payload of each kind, with values that never change. What is shown in the documents."""

from __future__ import annotations

from dataclasses import replace

from edge_fer.envelope import cloud_event
from edge_fer.events import (
    Alert,
    AlertSample,
    BoxPx,
    CameraState,
    CameraStatus,
    CameraThroughput,
    Claim,
    ExpressionEvent,
    GovernorState,
    Health,
    LatencyMs,
    ModelInfo,
    NodeInfo,
    Payload,
    Power,
    Privacy,
    Problem,
    Reply,
    SelfTest,
    Throughput,
)
from edge_fer.messages import Message, alert_history, message
from edge_fer.readability import Quality

NODE = "hall-7"

_BOOT = "5f27da9023f8"
_NEXT_BOOT = "8f6e5bc2eeaa"

_START = ExpressionEvent(
    id=f"{_BOOT}-3",
    seq=3,
    boot_id=_BOOT,
    type="start",
    camera="front",
    track=1,
    expression="sadness",
    confidence=0.8301,
    scores={
        "neutral": 0.0612,
        "happiness": 0.0021,
        "surprise": 0.0107,
        "sadness": 0.8301,
        "anger": 0.0188,
        "disgust": 0.0102,
        "fear": 0.0561,
        "contempt": 0.0108,
    },
    box=BoxPx(left_px=317, top_px=67, width_px=243, height_px=243),
    frame_width_px=640,
    frame_height_px=360,
    duration_ms=1210,
    occurred_at="2026-11-22T19:09:18.452Z",
    published_at="2026-11-22T19:09:18.527Z",
    quality=Quality(size_px=243, brightness=112, sharpness=0.1204, yaw_deg=-8.2, roll_deg=1.1),
    frame_age_ms=71,
    clock_synced=True,
)
_UPDATE = replace(
    _START,
    id=f"{_BOOT}-4",
    seq=4,
    type="update",
    expression="uncertain",
    confidence=0.3885,
    scores={
        "neutral": 0.3497,
        "happiness": 0.0041,
        "surprise": 0.0342,
        "sadness": 0.1664,
        "anger": 0.0008,
        "disgust": 0.0084,
        "fear": 0.3885,
        "contempt": 0.0479,
    },
    duration_ms=6715,
    occurred_at="2026-11-22T19:09:23.957Z",
    published_at="2026-11-22T19:09:24.055Z",
    previous="sadness",
    expression_ms=5505,
    peak=0.9931,
    mean=0.8764,
    quality=Quality(size_px=243, brightness=104, sharpness=0.0991, yaw_deg=-21.3, roll_deg=1.7),
)
_END = replace(
    _UPDATE,
    id=f"{_BOOT}-5",
    seq=5,
    type="end",
    reason="left",
    duration_ms=14020,
    occurred_at="2026-11-22T19:09:31.262Z",
    published_at="2026-11-22T19:09:31.340Z",
    previous=None,
    expression_ms=7305,
    peak=0.4102,
    mean=0.3711,
    quality=None,
)
_RESTART = replace(
    _UPDATE,
    id=f"{_NEXT_BOOT}-1",
    seq=1,
    boot_id=_NEXT_BOOT,
    type="end",
    reason="restart",
    duration_ms=9830,
    occurred_at="2026-11-22T19:09:27.072Z",
    published_at="2026-11-22T19:11:02.418Z",
    replayed=True,
    previous=None,
    expression_ms=3115,
    peak=0.3885,
    mean=0.3885,
    quality=None,
    frame_age_ms=0,
    track_boot_id=_BOOT,
)
_ALERT = Alert(
    rule="crying",
    state="active",
    why="face 1 on camera front showed sadness, fear or anger for 12 s of the last 20 s: 60 %, alert from 60 %",
    value=0.6005,
    threshold=0.6,
    unit="share",
    cameras=["front"],
    track=1,
    samples=[
        AlertSample(
            occurred_at="2026-11-22T19:08:02.136Z", camera="front", track=1, expression="fear", confidence=0.6265
        )
    ],
    since="2026-11-22T19:08:06.098Z",
    text="Look after the child.",
    boot_id=_BOOT,
    id=f"{_BOOT}-alert-1",
    seq=1,
    clock_synced=True,
)
_CLEARED = replace(
    _ALERT,
    state="cleared",
    why="face 1 on camera front showed sadness, fear or anger for 4 s of the last 20 s: 20 %, cleared below 30 %",
    value=0.2004,
    threshold=0.3,
    samples=[],
    since="2026-11-22T19:09:40.310Z",
    id=f"{_BOOT}-alert-2",
    seq=2,
)
_HEALTH = Health(
    ok=True,
    problems=[],
    uptime_s=86400,
    rss_bytes=123985920,
    load_1m=0.28,
    outbox_events=0,
    events_lost=0,
    camera_restarts={"front": 0, "hall": 12},
    frames_dropped={"front": 1},
    self_test_at="2026-11-22T19:09:28.080Z",
    occurred_at="2026-11-22T19:09:28.085Z",
    boot_id=_NEXT_BOOT,
    clock_synced=True,
)
_PAUSE_PROBLEM = Problem(
    code="pause",
    text="/var/lib/edge-fer/pause.json: damaged; all cameras are paused, `edge-fer resume` ends it",
    since="2026-11-22T19:09:28.085Z",
)
_PRIVACY = Privacy(
    paused=True,
    cameras=["front"],
    until="2026-11-22T19:38:15.549Z",
    by="command line",
    since="2026-11-22T19:08:15.888Z",
)
_SELF_TEST = SelfTest(
    id=f"{_NEXT_BOOT}-self-test-1",
    passed=True,
    reason="",
    faces=1,
    confidence=0.9641,
    took_ms=23.448,
    occurred_at="2026-11-22T19:09:28.080Z",
    boot_id=_NEXT_BOOT,
    published_at="2026-11-22T19:09:28.082Z",
    clock_synced=True,
)
_INFO = NodeInfo(
    version="0.1.0",
    boot_id=_NEXT_BOOT,
    board="Raspberry Pi 4 Model B Rev 1.4",
    labels=["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"],
    models=[
        ModelInfo(
            name="emotionnet_nano_b_int8",
            sha256="091d46d3cc13724eb1ec4f567b85c023fd2fa190ff2d61d59e12c32499d65ba6",
            runtime="litert",
            threads=1,
            xnnpack_operators=39,
            operators=39,
            operating_point="dashboard",
        )
    ],
    cameras=["front", "hall"],
    config_sha256="7426a11b08b8dfca043e18501e74f022480cd10b5e8009f83c6676d53c9a7008",
)
_THROUGHPUT = Throughput(
    period_s=2.042,
    cameras={"front": CameraThroughput(fps=22.53, captured=48, dropped=1, withheld=0)},
    cpu_percent=19.6,
    rss_bytes=127225856,
    occurred_at="2026-11-22T19:07:56.057Z",
    latency_ms=LatencyMs(p50=13.5, p95=38.1, p99=59.5),
    images_per_s=22.04,
    detections_per_s=9.79,
    images_per_s_per_w=4.271,
    joules_per_image=0.2341,
)
# Watts per rail do not add up to their mean: the one is the newest, the other of the whole period.
_POWER = Power(
    source="measured",
    reason="",
    total_w=5.16,
    rails_w={"VDD_IN": 5.214, "VDD_CPU_GPU_CV": 1.006, "VDD_SOC": 1.326},
    energy_j=44582.31,
    mode="15W",
    mode_id=0,
    temperature_c=51.3,
    temperatures_c={"cpu-thermal": 50.9, "gpu-thermal": 49.8, "tj-thermal": 51.3},
    throttled=[],
    throttled_since_boot=["over-current"],
    throttling_known=True,
    cpu_mhz=1190.4,
    cores_online=6,
    period_s=2.042,
    occurred_at="2026-11-22T19:07:56.056Z",
    boot_id=_BOOT,
)
_ESTIMATED = replace(
    _POWER,
    source="estimated",
    reason="the sum of the rails behind the PMIC: its own losses and what hangs on 5 V, such as USB, are not in it",
    total_w=3.84,
    rails_w={"VDD_CORE": 1.62, "3V3_SYS": 0.41},
    energy_j=33177.6,
    mode=None,
    mode_id=None,
    temperature_c=61.4,
    temperatures_c={"cpu-thermal": 61.4},
    throttled=["under-voltage"],
    throttled_since_boot=["under-voltage", "frequency-capped"],
    cpu_mhz=2400.0,
    cores_online=4,
)
_UNAVAILABLE = replace(
    _POWER,
    source="unavailable",
    reason="this machine has no power sensor",
    total_w=None,
    rails_w={},
    energy_j=None,
    mode=None,
    mode_id=None,
    temperature_c=None,
    temperatures_c={},
    throttled_since_boot=[],
    throttling_known=False,
    cpu_mhz=None,
    cores_online=2,
)
_GOVERNOR = GovernorState(
    level=0,
    levels=5,
    cause="none",
    reason="",
    max_fps=None,
    detect_every_frames=1,
    idle_cameras=["hall"],
    since="2026-11-22T19:07:58.101Z",
    boot_id=_BOOT,
)
_SLOWED = replace(
    _GOVERNOR,
    level=2,
    cause="temperature",
    reason="81.5 °C in cpu-thermal, limit 80 °C",
    max_fps=10.0,
    detect_every_frames=3,
    idle_cameras=[],
    since="2026-11-22T19:08:41.733Z",
)
_REPLY = Reply(
    command="pause",
    ok=True,
    message="paused: front",
    id="nurse-42",
    occurred_at="2026-11-22T19:08:15.901Z",
    boot_id=_BOOT,
)
_OFFLINE = CameraStatus(
    state="offline",
    reason="rtsp://carer:***@10.0.0.7/stream: connection refused: nothing listens at this host and port",
    since="2026-11-22T19:07:54.735Z",
)
_STATE = CameraState(faces=1, expression="sadness", confidence=0.8301, since="2026-11-22T19:09:18.452Z")

_PAYLOADS: dict[str, tuple[Payload, str]] = {
    "info": (_INFO, ""),
    "camera-status-online": (CameraStatus(state="online", reason="", since="2026-11-22T19:07:58.019Z"), "front"),
    "camera-status-offline": (_OFFLINE, "hall"),
    "camera-state": (_STATE, "front"),
    "camera-state-empty": (replace(_STATE, faces=0, expression="none", confidence=None), "front"),
    "camera-state-unknown": (replace(_STATE, faces=None, expression="unknown", confidence=None), "hall"),
    "camera-events-start": (_START, "front"),
    "camera-events-update": (_UPDATE, "front"),
    "camera-events-end": (_END, "front"),
    "camera-events-end-restart": (_RESTART, "front"),
    "alert-active": (_ALERT, _ALERT.rule),
    "alert-cleared": (_CLEARED, _ALERT.rule),
    "health": (_HEALTH, ""),
    "health-problem": (replace(_HEALTH, ok=False, problems=[_PAUSE_PROBLEM]), ""),
    "privacy-paused": (_PRIVACY, ""),
    "privacy-open": (replace(_PRIVACY, paused=False, cameras=[], until=None, since="2026-11-22T19:38:15.549Z"), ""),
    "self-test": (_SELF_TEST, ""),
    "telemetry-throughput": (_THROUGHPUT, ""),
    "telemetry-power": (_POWER, ""),
    "telemetry-power-estimated": (_ESTIMATED, ""),
    "telemetry-power-unavailable": (_UNAVAILABLE, ""),
    "governor": (_GOVERNOR, ""),
    "governor-slowed": (_SLOWED, ""),
    "rsp": (_REPLY, _REPLY.command),
    "rsp-error": (replace(_REPLY, ok=False, message="camera 'door': no such camera; there are front, hall"), "pause"),
    "identity": (Claim(boot_id=_BOOT, uptime_s=3600.5, host="hall-board"), ""),
}

REQUEST_SAMPLES: dict[str, bytes] = {
    "pause": b'{"id":"17","cameras":["front"],"for_s":1800}',
    "resume": b'{"id":"18","cameras":["front"]}',
    "reload": b'{"id":"19"}',
    "detect-now": b'{"id":"20"}',
    "set-power-mode": b'{"id":"21","mode":"15W"}',
}
"""Command -> a request as somebody may send it."""


def messages() -> dict[str, Message]:
    """Name -> what the daemon publishes. A name begins with that of the schema."""
    made = {name: message(payload, NODE, part) for name, (payload, part) in _PAYLOADS.items()}
    made["self-test-failed"] = message(
        replace(_SELF_TEST, passed=False, reason="the drawn face was not found", faces=0, confidence=None), NODE
    )
    late = alert_history(_ALERT, NODE).sent("2026-11-22T19:09:45.230Z", replayed=True)
    made["alert-events-active"] = late
    made["alert-events-cleared"] = alert_history(_CLEARED, NODE).sent("2026-11-22T19:09:45.231Z", replayed=False)
    made["cloudevents-camera-events-update"] = cloud_event(made["camera-events-update"])
    made["cloudevents-alert-events-active"] = cloud_event(late)
    return made


def samples() -> dict[str, bytes]:
    """Name -> exactly the bytes of the payload."""
    texts = {"status-online": b"online", "status-offline": b"offline"}
    requests = {f"cmd-{command}": request for command, request in REQUEST_SAMPLES.items()}
    return {**texts, **{name: made.to_json() for name, made in messages().items()}, **requests}

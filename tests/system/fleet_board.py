"""A board of a fleet: no camera, but payloads of the daemon's own types at a daemon's rates."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace

from edge_fer.events import (
    AlertSample,
    BoxPx,
    CameraState,
    CameraStatus,
    CameraThroughput,
    ExpressionEvent,
    GovernorState,
    Health,
    LatencyMs,
    ModelInfo,
    NodeInfo,
    Payload,
    Power,
    Privacy,
    SelfTest,
    Throughput,
    rfc3339,
)
from edge_fer.labels import EXPRESSIONS
from edge_fer.messages import message
from edge_fer.mqtt.publisher import MqttPublisher
from edge_fer.readability import Quality

CAMERAS = ("front", "hall")
PI_5_RAILS = ("3V7_WL_SW", "3V3_SYS", "1V8_SYS", "DDR_VDD2", "DDR_VDDQ", "1V1_SYS", "0V8_SW", "VDD_CORE", "3V3_DAC",
              "3V3_ADC", "0V8_AON", "HDMI")  # fmt: skip


@dataclass(frozen=True)
class Rates:
    """How often a board says what; the periods are the daemon's defaults."""

    events_per_s: float = 0.2  # of both cameras together
    states_per_s: float = 0.05
    throughput_s: float = 10.0
    health_s: float = 60.0
    self_test_s: float = 300.0


class Board:
    """What a daemon with two cameras publishes, each message with the time of its publishing in `sent_ns`."""

    def __init__(self, node: str, publisher: MqttPublisher, rates: Rates, chance: random.Random) -> None:
        self.publisher = publisher
        self._node, self._rates, self._chance = node, rates, chance
        self._boot = f"{chance.getrandbits(48):012x}"
        self._seq = 0
        now_s = time.monotonic()
        # Boards of a fleet do not start at the same moment.
        self._due_s = {
            self._throughput: now_s + chance.uniform(0, rates.throughput_s),
            self._health: now_s + chance.uniform(0, rates.health_s),
            self._self_test: now_s + chance.uniform(0, rates.self_test_s),
            self._event: now_s + self._pause_s(rates.events_per_s),
            self._state: now_s + self._pause_s(rates.states_per_s),
        }

    def say_hello(self) -> None:
        """What is retained from the start of a daemon on."""
        self._publish(node_info(self._boot))
        self._publish(Privacy(paused=False, cameras=[], until=None, by="", since=_now()))
        self._publish(health(self._boot))
        self._publish(governor(self._boot))
        for camera in CAMERAS:
            self._publish(CameraStatus(state="online", reason="frames arrive", since=_now()), camera)
            self._publish(camera_state(self._chance), camera)

    def turn(self, now_s: float) -> int:
        """Publish what is due; how many messages that was."""
        due = [what for what, at_s in self._due_s.items() if at_s <= now_s]
        for what in due:
            self._due_s[what] = now_s + what()
        return len(due)

    def _throughput(self) -> float:
        self._publish(power(self._boot))
        self._publish(throughput(self._chance))
        return self._rates.throughput_s

    def _health(self) -> float:
        self._publish(health(self._boot))
        return self._rates.health_s

    def _self_test(self) -> float:
        self._publish(self_test(self._boot))
        return self._rates.self_test_s

    def _event(self) -> float:
        self._seq += 1
        camera = self._chance.choice(CAMERAS)
        self._publish(expression_event(self._boot, self._seq, camera, self._chance), camera)
        return self._pause_s(self._rates.events_per_s)

    def _state(self) -> float:
        self._publish(camera_state(self._chance), self._chance.choice(CAMERAS))
        return self._pause_s(self._rates.states_per_s)

    def _pause_s(self, per_s: float) -> float:
        """To the next one of a stream without memory."""
        return self._chance.expovariate(per_s)

    def _publish(self, payload: Payload, part: str = "") -> None:
        made = message(payload, self._node, part)
        self.publisher.publish(replace(made, body={**made.body, "sent_ns": time.monotonic_ns()}))


def expression_event(boot: str, seq: int, camera: str, chance: random.Random) -> ExpressionEvent:
    """An update, the longest of the three kinds."""
    weights = [chance.random() for _ in EXPRESSIONS]
    scores = {label: round(weight / sum(weights), 4) for label, weight in zip(EXPRESSIONS, weights, strict=True)}
    best = max(scores, key=scores.__getitem__)
    return ExpressionEvent(
        id=f"{boot}-{seq}",
        seq=seq,
        boot_id=boot,
        type="update",
        camera=camera,
        track=seq // 4 + 1,
        expression=best,
        confidence=scores[best],
        scores=scores,
        box=BoxPx(317, 67, 243, 243),
        frame_width_px=640,
        frame_height_px=360,
        duration_ms=6715,
        occurred_at=_now(),
        previous="sadness",
        expression_ms=5505,
        peak=0.9931,
        mean=0.8764,
        quality=Quality(size_px=243, brightness=104, sharpness=0.0991, yaw_deg=-21.3, roll_deg=1.7),
        frame_age_ms=71,
        clock_synced=True,
    )


def camera_state(chance: random.Random) -> CameraState:
    return CameraState(
        faces=chance.randint(1, 3), expression=chance.choice(EXPRESSIONS), confidence=0.8301, since=_now()
    )


def throughput(chance: random.Random) -> Throughput:
    fps = round(chance.uniform(14, 16), 2)
    return Throughput(
        period_s=10.002,
        cameras={name: CameraThroughput(fps=fps, captured=123_456, dropped=12, withheld=3) for name in CAMERAS},
        cpu_percent=119.6,
        rss_bytes=127_225_856,
        occurred_at=_now(),
        latency_ms=LatencyMs(p50=13.5, p95=38.1, p99=59.5),
        images_per_s=29.87,
        detections_per_s=12.34,
        images_per_s_per_w=7.812,
        joules_per_image=0.128,
    )


def power(boot: str) -> Power:
    """Of a Raspberry Pi 5, which names more supply lines than other boards."""
    return Power(
        source="estimated",
        reason="1.1451 * 3.34 W + 0.5879 W: the power chip does not see all of the board",
        total_w=4.413,
        rails_w=dict.fromkeys(PI_5_RAILS, 0.347),
        energy_j=381_283.26,
        mode=None,
        mode_id=None,
        temperature_c=61.4,
        temperatures_c={"cpu-thermal": 61.4},
        throttled=[],
        throttled_since_boot=[],
        throttling_known=True,
        cpu_mhz=2400.0,
        cores_online=4,
        period_s=10.002,
        occurred_at=_now(),
        boot_id=boot,
    )


def governor(boot: str) -> GovernorState:
    return GovernorState(
        level=0,
        levels=5,
        cause="none",
        reason="",
        max_fps=None,
        detect_every_frames=1,
        idle_cameras=["hall"],
        since=_now(),
        boot_id=boot,
    )


def health(boot: str) -> Health:
    return Health(
        ok=True,
        problems=[],
        uptime_s=86_400,
        rss_bytes=123_985_920,
        load_1m=0.28,
        outbox_events=0,
        events_lost=0,
        camera_restarts=dict.fromkeys(CAMERAS, 0),
        frames_dropped=dict.fromkeys(CAMERAS, 12),
        self_test_at=_now(),
        occurred_at=_now(),
        boot_id=boot,
        clock_synced=True,
    )


def self_test(boot: str) -> SelfTest:
    return SelfTest(
        id=f"{boot}-self-test-1",
        passed=True,
        reason="",
        faces=1,
        confidence=0.9641,
        took_ms=23.448,
        occurred_at=_now(),
        boot_id=boot,
    )


def node_info(boot: str) -> NodeInfo:
    model = ModelInfo(
        name="emotionnet_nano_b_int8",
        sha256="0" * 64,
        runtime="litert",
        threads=1,
        xnnpack_operators=39,
        operators=39,
        operating_point="dashboard",
    )
    return NodeInfo(
        version="0.1.0",
        boot_id=boot,
        board="Raspberry Pi 5 Model B Rev 1.0",
        labels=list(EXPRESSIONS),
        models=[model, replace(model, name="face_full"), replace(model, name="face_short")],
        cameras=list(CAMERAS),
        config_sha256="0" * 64,
    )


def alert_sample(camera: str) -> AlertSample:
    return AlertSample(occurred_at=_now(), camera=camera, track=1, expression="fear", confidence=0.6265)


def _now() -> str:
    return rfc3339(time.time_ns())

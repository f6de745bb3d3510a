"""What the daemon publishes, as metrics for Prometheus."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from edge_fer.channels import BASE, GOVERNOR, POWER, THROUGHPUT
from edge_fer.events import CameraCondition
from edge_fer.messages import Message
from edge_fer.sensors.readings import ThrottleFlag

_STATES: tuple[str, ...] = get_args(CameraCondition)
_FLAGS: tuple[str, ...] = get_args(ThrottleFlag)
_WANTED = frozenset(("info", "health", "privacy", "camera", "alert", "telemetry", "self-test", "governor"))
_QUANTILES = {"p50": "0.5", "p95": "0.95", "p99": "0.99"}

Labels = tuple[str, ...]
Samples = Iterable[tuple[Labels, float | None]]
Table = Mapping[str, Any]


class Metrics(Collector):
    """Listens to all messages like any publisher, and tells the newest when Prometheus asks.

    publish() only remembers, so it takes microseconds; it never raises. What is gone from the newest messages
    (cameras, rules, problems) is gone from the metrics; counters count since the start of the daemon.
    """

    def __init__(self, clock_s: Callable[[], float] = time.time) -> None:
        """`clock_s` tells seconds since 1970."""
        self._clock_s = clock_s
        self._sampled_s: float | None = None
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)
        self._lock = threading.Lock()
        self._newest: dict[str, Table] = {}  # by topic below the node
        self._events: Counter[tuple[str, str]] = Counter()  # by camera and type
        self._alerts: Counter[str] = Counter()  # raised, by rule

    def publish(self, message: Message) -> None:
        """Remember what matters."""
        base, _, rest = message.topic.partition("/")
        below = rest.partition("/")[2]
        if base != BASE or below.partition("/")[0] not in _WANTED:
            return
        with self._lock:
            if message.clears:
                self._newest.pop(below, None)
            elif below.endswith("/events"):
                self._count(below, message.body)
            else:
                self._newest[below] = message.body
                if below == THROUGHPUT.topic:
                    self._sampled_s = self._clock_s()

    def collect(self) -> Iterator[Metric]:
        """All families as of now; those of which nothing is known have no samples."""
        with self._lock:
            newest, events, alerts = dict(self._newest), dict(self._events), dict(self._alerts)
            sampled_s = self._sampled_s
        info, health = newest.get("info", {}), newest.get("health", {})
        listed = info.get("cameras")
        statuses = {
            name: body
            for name, body in _parts(newest, "camera", "status")
            if listed is None or name in listed
        }  # fmt: skip
        told = {key: str(info.get(key, "")) for key in ("version", "boot_id", "board")}
        yield InfoMetricFamily("edge_fer", "What runs on this node.", told if info else None)
        yield from _of_throughput(newest.get(THROUGHPUT.topic, {}))
        yield from _of_power(newest.get(POWER.topic, {}))
        yield from _of_governor(newest.get(GOVERNOR.topic, {}))
        yield _one("edge_fer_sample_timestamp_seconds", "When the daemon last told its throughput.", sampled_s)
        yield from _of_health(health)
        yield from _of_cameras(statuses, dict(_parts(newest, "camera", "state")), newest.get("privacy", {}))
        rules = dict(_parts(newest, "alert", ""))
        yield _gauge(
            "edge_fer_alert_active", "Whether the rule holds now: 1 or 0.", ("rule",),
            (((rule,), float(body.get("state") == "active")) for rule, body in rules.items()),
        )  # fmt: skip
        yield _counter(
            "edge_fer_alerts", "Alerts raised.", ("rule",),
            (((rule,), alerts.get(rule, 0)) for rule in rules),
        )  # fmt: skip
        yield _counter(
            "edge_fer_events", "Events told of faces.", ("camera", "type"),
            ((key, count) for key, count in events.items() if listed is None or key[0] in listed),
        )  # fmt: skip
        yield _gauge(
            "edge_fer_self_test_passed", "Whether the newest self-test passed: 1 or 0.", (),
            [((), float(newest["self-test"].get("passed", False)))] if "self-test" in newest else [],
        )  # fmt: skip

    def _count(self, below: str, body: Table) -> None:
        kind, _, rest = below.partition("/")
        part = rest.partition("/")[0]
        if kind == "camera":
            self._events[part, str(body.get("type"))] += 1
        elif body.get("state") == "active":
            self._alerts[part] += 1


def _parts(newest: Mapping[str, Table], kind: str, leaf: str) -> Iterator[tuple[str, Table]]:
    """Those of one kind, by name of the camera or rule, in the order of the alphabet."""
    wanted = 3 if leaf else 2
    for topic, body in sorted(newest.items()):
        levels = topic.split("/")
        if levels[0] == kind and len(levels) == wanted and (not leaf or levels[2] == leaf):
            yield levels[1], body


def _of_throughput(body: Table) -> Iterator[Metric]:
    cameras: Mapping[str, Table] = body.get("cameras") or {}
    tables: tuple[tuple[Callable[..., Metric], str, str, str], ...] = (
        (_gauge, "edge_fer_camera_fps", "Frames looked at per second.", "fps"),
        (_counter, "edge_fer_camera_frames", "Frames captured.", "captured"),
        (_counter, "edge_fer_camera_frames_dropped", "Frames that a newer one replaced.", "dropped"),
        (_counter, "edge_fer_camera_frames_withheld", "Frames that were not to be looked at.", "withheld"),
    )
    for make, name, text, key in tables:
        yield make(name, text, ("camera",), [((camera,), counts.get(key)) for camera, counts in cameras.items()])
    latency = Metric("edge_fer_latency_seconds", "From the capture of a frame to the end of its turn.", "summary")
    for key, quantile in _QUANTILES.items():
        if (milliseconds := (body.get("latency_ms") or {}).get(key)) is not None:
            latency.add_sample("edge_fer_latency_seconds", {"quantile": quantile}, milliseconds / 1000)
    yield latency
    percent = body.get("cpu_percent")
    yield _one("edge_fer_cpu_ratio", "CPU time of the process per time; 1 is one core.", percent and percent / 100)
    yield _one("edge_fer_resident_memory_bytes", "Memory of the process.", body.get("rss_bytes"))
    yield _one("edge_fer_images_per_second", "Faces read per second.", body.get("images_per_s"))
    yield _one("edge_fer_detections_per_second", "Runs of a detector per second.", body.get("detections_per_s"))
    yield _one("edge_fer_image_joules", "Energy of the board over the faces read.", body.get("joules_per_image"))


def _of_power(body: Table) -> Iterator[Metric]:
    rails: Mapping[str, float] = body.get("rails_w") or {}
    zones: Mapping[str, float] = body.get("temperatures_c") or {}
    now, since_boot = body.get("throttled", ()), body.get("throttled_since_boot", ())
    known = body.get("throttling_known")
    clock_mhz = body.get("cpu_mhz")
    yield _one("edge_fer_power_watts", "Of the whole board, mean of the period.", body.get("total_w"))
    yield _gauge(
        "edge_fer_rail_power_watts", "Of a supply line; not all lines are part of the whole.", ("rail",),
        [((rail,), watts) for rail, watts in rails.items()],
    )  # fmt: skip
    yield _total("edge_fer_energy_joules", "Of the whole board.", body.get("energy_j"))
    yield _gauge(
        "edge_fer_temperature_celsius", "Of a thermal zone.", ("zone",),
        [((zone,), celsius) for zone, celsius in zones.items()],
    )  # fmt: skip
    yield _gauge(
        "edge_fer_throttled", "1 for each thing that holds the board back now, 0 for the others.", ("flag",),
        [((flag,), float(flag in now)) for flag in (_FLAGS if known else ())],
    )  # fmt: skip
    yield _gauge(
        "edge_fer_throttled_since_boot", "1 for each thing that held it back since its boot, 0 for the others.",
        ("flag",), [((flag,), float(flag in since_boot)) for flag in (_FLAGS if known else ())],
    )  # fmt: skip
    yield _one("edge_fer_cpu_hertz", "Mean clock of the cores that are online.", clock_mhz and clock_mhz * 1e6)
    yield _one("edge_fer_cores_online", "Processor cores that are online.", body.get("cores_online"))
    mode = body.get("mode")
    yield _gauge("edge_fer_power_mode", "The power mode that is set, 1.", ("mode",), [((mode,), 1)] if mode else [])


def _of_governor(body: Table) -> Iterator[Metric]:
    yield _one("edge_fer_governor_level", "0: as configured; each level more looks less often.", body.get("level"))
    idle = body.get("idle_cameras")
    yield _one(
        "edge_fer_cameras_idle", "Cameras that are looked at less often because nobody is there.",
        None if idle is None else len(idle),
    )  # fmt: skip


def _of_health(body: Table) -> Iterator[Metric]:
    problems = [problem["code"] for problem in body.get("problems", ())]
    yield _one("edge_fer_healthy", "Whether there is no problem: 1 or 0.", body.get("ok"))
    yield _gauge("edge_fer_problem", "Problems of the node, 1 each.", ("code",), [((code,), 1) for code in problems])
    yield _one("edge_fer_uptime_seconds", "Since the start of the daemon.", body.get("uptime_s"))
    yield _one("edge_fer_outbox_events", "Events that the broker has not acknowledged.", body.get("outbox_events"))
    yield _one("edge_fer_outbox_bytes", "What they take.", body.get("outbox_bytes"))
    yield _one("edge_fer_outbox_oldest_seconds", "Age of the oldest of them.", body.get("outbox_oldest_s"))
    yield _one("edge_fer_clock_synced", "Whether a time server set the clock: 1 or 0.", body.get("clock_synced"))
    yield _total("edge_fer_events_lost", "Events that nobody will get; health says why.", body.get("events_lost"))
    yield _total("edge_fer_telemetry_lost", "Samples that no broker was there for.", body.get("telemetry_lost"))
    restarts: Mapping[str, float] = body.get("camera_restarts") or {}
    yield _counter(
        "edge_fer_camera_restarts", "Attempts to open a camera after its first.", ("camera",),
        [((camera,), count) for camera, count in restarts.items()],
    )  # fmt: skip


def _of_cameras(statuses: Mapping[str, Table], states: Mapping[str, Table], privacy: Table) -> Iterator[Metric]:
    yield _gauge(
        "edge_fer_camera_up", "Whether the camera gives pictures: 1 or 0.", ("camera",),
        [((camera,), float(body.get("state") == "online")) for camera, body in statuses.items()],
    )  # fmt: skip
    yield _gauge(
        "edge_fer_camera_state", "1 for the state that the camera is in, 0 for all others.", ("camera", "state"),
        [((name, state), float(body.get("state") == state)) for name, body in statuses.items() for state in _STATES],
    )  # fmt: skip
    yield _gauge(
        "edge_fer_camera_faces", "Faces in view; absent where that is not known.", ("camera",),
        [((camera,), body.get("faces")) for camera, body in states.items() if camera in statuses],
    )  # fmt: skip
    paused = privacy.get("cameras", ()) if privacy.get("paused") else ()
    yield _gauge(
        "edge_fer_camera_paused", "Whether the camera is closed for privacy: 1 or 0.", ("camera",),
        [((camera,), float(camera in paused)) for camera in statuses],
    )  # fmt: skip


def _gauge(name: str, text: str, labels: Labels, samples: Samples) -> Metric:
    return _filled(GaugeMetricFamily(name, text, labels=labels), samples)


def _counter(name: str, text: str, labels: Labels, samples: Samples) -> Metric:
    return _filled(CounterMetricFamily(name, text, labels=labels), samples)


def _one(name: str, text: str, value: float | None) -> Metric:
    return _gauge(name, text, (), [((), value)])


def _total(name: str, text: str, value: float | None) -> Metric:
    return _counter(name, text, (), [((), value)])


def _filled(family: GaugeMetricFamily | CounterMetricFamily, samples: Samples) -> Metric:
    """With what is known; None is not."""
    for labels, value in samples:
        if value is not None:
            family.add_metric(labels, value)
    return family

"""What Home Assistant shows of a node, as tables: one row, one entity.

Templates are Jinja as Home Assistant runs it. What renders to "None" reads as unknown there, and what renders to
nothing leaves an entity as it was. Names of cameras and rules are `[a-z0-9-]`, so they may stand in a template.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from edge_fer.board_watch import Senses
from edge_fer.channels import (
    ALERT,
    CAMERA_EVENTS,
    CAMERA_STATE,
    CAMERA_STATUS,
    COMMAND,
    GOVERNOR,
    HEALTH,
    POWER,
    PRIVACY,
    THROUGHPUT,
    Channel,
    topic,
)
from edge_fer.events import CameraCondition, EventType
from edge_fer.health.monitor import PERIOD_S as HEALTH_PERIOD_S
from edge_fer.labels import EXPRESSIONS, UNCERTAIN

Platform = Literal["sensor", "binary_sensor", "event", "switch"]

PERIODS_TO_EXPIRE = 3
"""A sample may come late, or be lost, before its entity becomes unavailable."""

LEAST_EXPIRY_S = 10

_DIGITS = "suggested_display_precision"


@dataclass(frozen=True, slots=True)
class Entity:
    """One row: an entity that follows one topic of the node."""

    key: str  # unique in the node, [a-z0-9_-]; ids in Home Assistant are made of it, so it never changes
    platform: Platform
    name: str  # what people read, after the name of the device
    channel: Channel
    value: str = ""  # template of its state
    part: str = ""  # camera or rule that the topic is about
    camera: str = ""  # it is available only while this camera is online
    diagnostic: bool = False
    period_s: float | None = None  # of its topic, where silence means that something is wrong
    attributes: str = ""  # template of a JSON object
    more: Mapping[str, Any] = field(default_factory=dict)  # as Home Assistant names it


def camera_entities(camera: str, telemetry_s: float, *, events_in: str = "value_json") -> Iterator[Entity]:
    """Of one camera; `events_in` is where an event stands in its message."""
    key, name = f"camera_{camera}", _spoken(camera)
    yield Entity(
        f"{key}_expression", "sensor", f"{name} expression", CAMERA_STATE,
        "{{ value_json.expression if value_json.expression != 'unknown' else none }}",
        part=camera, camera=camera, attributes=_attributes("confidence", "since"),
        more={"device_class": "enum", "options": [*EXPRESSIONS, UNCERTAIN, "none"]},
    )  # fmt: skip
    yield Entity(
        f"{key}_faces", "sensor", f"{name} faces", CAMERA_STATE, "{{ value_json.faces }}",
        part=camera, camera=camera, more={"state_class": "measurement", "icon": "mdi:face-recognition"},
    )  # fmt: skip
    # Not hidden while the camera is away: then its events tell of tracks that end for that very reason.
    yield Entity(
        f"{key}_event", "event", f"{name} face event", CAMERA_EVENTS, _LIVE_EVENT.replace("value_json", events_in),
        part=camera, more={"event_types": list(get_args(EventType)), "icon": "mdi:face-recognition"},
    )  # fmt: skip
    yield Entity(
        f"{key}_status", "sensor", f"{name} status", CAMERA_STATUS, "{{ value_json.state }}",
        part=camera, diagnostic=True, attributes=_attributes("reason", "since"),
        more={"device_class": "enum", "options": list(get_args(CameraCondition)), "icon": "mdi:cctv"},
    )  # fmt: skip
    yield Entity(
        f"{key}_fps", "sensor", f"{name} frame rate", THROUGHPUT,
        f"{{{{ (value_json.cameras.get('{camera}') or {{}}).get('fps') }}}}",
        diagnostic=True, period_s=telemetry_s,
        more=_measured("fps", icon="mdi:filmstrip", **{_DIGITS: 1}),
    )  # fmt: skip


def alert_entity(name: str) -> Entity:
    """Of one rule; on means that somebody should look. Not of class "safety": off would be shown as "Safe"."""
    return Entity(
        f"alert_{name}", "binary_sensor", f"Alert {_spoken(name).lower()}", ALERT, "{{ value_json.state }}",
        part=name, attributes=_attributes("why", "text", "value", "threshold", "unit", "cameras", "since"),
        more={"device_class": "problem", "payload_on": "active", "payload_off": "cleared"},
    )  # fmt: skip


def node_entities(telemetry_s: float, senses: Senses) -> Iterator[Entity]:
    """Of the node itself; nothing that its board has no sensor for."""
    yield Entity(
        "health", "binary_sensor", "Health", HEALTH, "{{ 'OFF' if value_json.ok else 'ON' }}",
        diagnostic=True, period_s=HEALTH_PERIOD_S,
        attributes=_attributes("problems", "events_lost", "camera_restarts"), more={"device_class": "problem"},
    )  # fmt: skip
    # From the retained health, so that it is known as soon as Home Assistant starts.
    yield Entity(
        "self-test", "binary_sensor", "Self-test", HEALTH,
        "{{ 'ON' if 'self-test' in value_json.problems | map(attribute='code') | list else 'OFF' }}",
        diagnostic=True, period_s=HEALTH_PERIOD_S, attributes=_attributes("self_test_at"),
        more={"device_class": "problem"},
    )  # fmt: skip
    periods_s = {HEALTH: HEALTH_PERIOD_S, THROUGHPUT: telemetry_s, POWER: telemetry_s}
    for gauge in _GAUGES:
        if gauge.sense is None or getattr(senses, gauge.sense):
            yield Entity(
                gauge.key, "sensor", gauge.name, gauge.channel, f"{{{{ value_json.{gauge.value} }}}}",
                diagnostic=gauge.diagnostic, period_s=periods_s[gauge.channel],
                more=_measured(gauge.unit, **gauge.more),
            )  # fmt: skip
    if senses.mode:
        yield Entity(
            "power-mode", "sensor", "Power mode", POWER, "{{ value_json.mode }}",
            diagnostic=True, period_s=telemetry_s, attributes=_attributes("mode_id"),
            more={"icon": "mdi:speedometer"},
        )  # fmt: skip
    if senses.throttling:
        yield Entity(
            "throttled", "binary_sensor", "Throttled", POWER,
            "{{ ('ON' if value_json.throttled else 'OFF') if value_json.throttling_known else none }}",
            diagnostic=True, period_s=telemetry_s, attributes=_attributes("throttled", "throttled_since_boot"),
            more={"device_class": "problem"},
        )  # fmt: skip
    yield Entity(
        "governor", "sensor", "Governor", GOVERNOR, "{{ value_json.level }}",
        diagnostic=True, attributes=_attributes("levels", "cause", "reason", "max_fps", "idle_cameras", "since"),
        more=_measured(icon="mdi:speedometer-slow"),
    )  # fmt: skip


def privacy_entity(node: str, cameras: int, *, can_switch: bool) -> Entity:
    """On while every camera of the node is proven to be closed; which ones are, its attributes say.

    The two kinds have keys of their own, so that the one is taken back when the other takes its place.
    """
    value = f"{{{{ 'ON' if value_json.cameras | length >= {cameras} else 'OFF' }}}}"
    attributes = _attributes("cameras", "until", "by", "since")
    more: dict[str, Any] = {"icon": "mdi:eye-off"}
    if not can_switch:
        return Entity("privacy", "binary_sensor", "Privacy pause", PRIVACY, value, attributes=attributes, more=more)
    more |= {
        "command_topic": topic(COMMAND, node, "pause"),
        "payload_on": '{"paused":true}',
        "payload_off": '{"paused":false}',
        "state_on": "ON",
        "state_off": "OFF",
        "qos": COMMAND.qos,
        "retain": COMMAND.retain,  # a pause must not be asked for again at every connection
    }
    return Entity("privacy_switch", "switch", "Privacy pause", PRIVACY, value, attributes=attributes, more=more)


def expire_after_s(period_s: float) -> int:
    """How long an entity lives without news."""
    return max(LEAST_EXPIRY_S, math.ceil(PERIODS_TO_EXPIRE * period_s))


class _Gauge(NamedTuple):
    """One number that the node tells about itself."""

    key: str
    name: str
    channel: Channel
    value: str  # of value_json
    unit: str
    more: Mapping[str, str | int]
    sense: Literal["power", "temperature", "clock"] | None = None  # shown where the board has it
    diagnostic: bool = True


_KILOWATT_HOURS = "energy_j / 3600000 if value_json.energy_j is not none else none"

_GAUGES = (
    _Gauge("outbox", "Events waiting", HEALTH, "outbox_events", "", {"icon": "mdi:tray-full"}),
    _Gauge("uptime", "Uptime", HEALTH, "uptime_s", "s", {"device_class": "duration"}),
    _Gauge("cpu", "Processor", THROUGHPUT, "cpu_percent", "%", {"icon": "mdi:chip", _DIGITS: 0}),
    _Gauge("memory", "Memory", THROUGHPUT, "rss_bytes / 1048576", "MiB", {"device_class": "data_size", _DIGITS: 0}),
    _Gauge("images", "Faces read", THROUGHPUT, "images_per_s", "images/s", {"icon": "mdi:face-man", _DIGITS: 1}),
    # Diagnostics are not offered to the energy dashboard by themselves; these two are what a board costs.
    _Gauge("power", "Power", POWER, "total_w", "W", {"device_class": "power", _DIGITS: 1}, "power", diagnostic=False),
    _Gauge(
        "energy", "Energy", POWER, _KILOWATT_HOURS, "kWh",
        # Begins anew with each start of the daemon, which total_increasing takes for what it is.
        {"device_class": "energy", "state_class": "total_increasing", _DIGITS: 3}, "power", diagnostic=False,
    ),
    _Gauge(
        "efficiency", "Faces read per joule", THROUGHPUT, "images_per_s_per_w", "images/J",
        {"icon": "mdi:leaf", _DIGITS: 2}, "power",
    ),
    _Gauge(
        "temperature", "Temperature", POWER, "temperature_c", "°C", {"device_class": "temperature", _DIGITS: 0},
        "temperature",
    ),
    _Gauge("clock", "Processor clock", POWER, "cpu_mhz", "MHz", {"device_class": "frequency", _DIGITS: 0}, "clock"),
)  # fmt: skip

# A replayed event is history: it must not set anything off, so it renders to nothing.
_LIVE_EVENT = (
    "{% if not value_json.replayed %}{{ {'event_type': value_json.type, 'expression': value_json.expression, "
    "'previous': value_json.previous, 'confidence': value_json.confidence, 'track': value_json.track, "
    "'duration_ms': value_json.duration_ms, 'reason': value_json.reason, 'occurred_at': value_json.occurred_at, "
    "'id': value_json.id} | to_json }}{% endif %}"
)


def _measured(unit: str = "", **more: str | int) -> dict[str, Any]:
    return {"state_class": "measurement", **({"unit_of_measurement": unit} if unit else {}), **more}


def _attributes(*keys: str) -> str:
    """A template that picks some keys: Home Assistant stores every change of an attribute."""
    return "{{ {" + ", ".join(f"'{key}': value_json.{key}" for key in keys) + "} | to_json }}"


def _spoken(name: str) -> str:
    return name.replace("-", " ").strip().capitalize() or name

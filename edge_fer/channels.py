"""All MQTT traffic in one table: topic, quality of service, retained."""

from __future__ import annotations

from typing import Literal, NamedTuple

BASE = "edge-fer"

WINDOW = 20
"""Messages on their way at once, as paho and mosquitto have it by default."""

Kept = Literal["every", "newest", "live"]
"""What is kept of a channel for a broker that is away: every message, the newest of its topic, or nothing."""


class Channel(NamedTuple):
    """One kind of message; the topic is below `edge-fer/<node>/`."""

    topic: str
    qos: int
    retain: bool
    kept: Kept
    expiry_s: int | None = None
    """Under MQTT 5 the broker throws it away when nobody took it for this long."""


STATUS = Channel("status", qos=1, retain=True, kept="newest")  # also the last will
INFO = Channel("info", qos=1, retain=True, kept="newest")
CAMERA_STATUS = Channel("camera/{camera}/status", qos=1, retain=True, kept="newest")
CAMERA_STATE = Channel("camera/{camera}/state", qos=1, retain=True, kept="newest")
# Never retained: an old event must not look live to a dashboard that starts now.
CAMERA_EVENTS = Channel("camera/{camera}/events", qos=1, retain=False, kept="every")
ALERT = Channel("alert/{rule}", qos=1, retain=True, kept="newest")
# The same as history: an alert that was raised and cleared while the broker was away is told here.
ALERT_EVENTS = Channel("alert/{rule}/events", qos=1, retain=False, kept="every")
HEALTH = Channel("health", qos=1, retain=True, kept="newest")
PRIVACY = Channel("privacy", qos=1, retain=True, kept="newest")  # the proof of a pause
SELF_TEST = Channel("self-test", qos=1, retain=False, kept="every")
THROUGHPUT = Channel("telemetry/throughput", qos=0, retain=False, kept="live", expiry_s=60)  # losing one is fine
POWER = Channel("telemetry/power", qos=0, retain=False, kept="live", expiry_s=60)
GOVERNOR = Channel("governor", qos=1, retain=True, kept="newest")  # how often it looks, and why not more often
REPLY = Channel("rsp/{command}", qos=1, retain=False, kept="live", expiry_s=60)
COMMAND = Channel("cmd/{command}", qos=1, retain=False, kept="live")  # incoming
CLAIM = Channel("identity", qos=1, retain=False, kept="live", expiry_s=60)  # both ways

CHANNELS = (
    STATUS,
    INFO,
    CAMERA_STATUS,
    CAMERA_STATE,
    CAMERA_EVENTS,
    ALERT,
    ALERT_EVENTS,
    HEALTH,
    PRIVACY,
    SELF_TEST,
    THROUGHPUT,
    POWER,
    GOVERNOR,
    REPLY,
    COMMAND,
    CLAIM,
)


def topic(channel: Channel, node: str, part: str = "") -> str:
    """The full topic of a channel; `part` is the camera, the rule or the command that it is about."""
    return f"{BASE}/{node}/{channel.topic.format(camera=part, rule=part, command=part)}"

"""All MQTT traffic in one table: topic, quality of service, retained."""

from __future__ import annotations

from typing import NamedTuple

BASE = "edge-fer"


class Channel(NamedTuple):
    """One kind of message; the topic is below `edge-fer/<node>/`."""

    topic: str
    qos: int
    retain: bool


STATUS = Channel("status", qos=1, retain=True)  # also the last will
INFO = Channel("info", qos=1, retain=True)
CAMERA_STATUS = Channel("camera/{camera}/status", qos=1, retain=True)
CAMERA_STATE = Channel("camera/{camera}/state", qos=1, retain=True)
# Never retained: an old event must not look live to a dashboard that starts now.
CAMERA_EVENTS = Channel("camera/{camera}/events", qos=1, retain=False)
ALERT = Channel("alert/{rule}", qos=1, retain=True)
HEALTH = Channel("health", qos=1, retain=True)
PRIVACY = Channel("privacy", qos=1, retain=True)  # the proof of a pause
SELF_TEST = Channel("self-test", qos=1, retain=False)
THROUGHPUT = Channel("telemetry/throughput", qos=0, retain=False)  # losing one is fine

CHANNELS = (STATUS, INFO, CAMERA_STATUS, CAMERA_STATE, CAMERA_EVENTS, ALERT, HEALTH, PRIVACY, SELF_TEST, THROUGHPUT)


def topic(channel: Channel, node: str, part: str = "") -> str:
    """The full topic of a channel; `part` is the camera or the rule that it is about."""
    return f"{BASE}/{node}/{channel.topic.format(camera=part, rule=part)}"

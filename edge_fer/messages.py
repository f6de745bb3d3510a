"""A payload on its way: where each goes, and its bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from edge_fer.channels import (
    ALERT,
    ALERT_EVENTS,
    CAMERA_EVENTS,
    CAMERA_STATE,
    CAMERA_STATUS,
    CLAIM,
    GOVERNOR,
    HEALTH,
    INFO,
    POWER,
    PRIVACY,
    REPLY,
    SELF_TEST,
    THROUGHPUT,
    Channel,
    Kept,
    topic,
)
from edge_fer.events import (
    Alert,
    CameraState,
    CameraStatus,
    Claim,
    ExpressionEvent,
    GovernorState,
    Health,
    NodeInfo,
    Payload,
    Power,
    Privacy,
    Reply,
    SelfTest,
    Throughput,
)

CHANNEL_OF: dict[type, Channel] = {
    ExpressionEvent: CAMERA_EVENTS,
    CameraStatus: CAMERA_STATUS,
    CameraState: CAMERA_STATE,
    Alert: ALERT,
    Health: HEALTH,
    Privacy: PRIVACY,
    SelfTest: SELF_TEST,
    NodeInfo: INFO,
    Throughput: THROUGHPUT,
    Power: POWER,
    GovernorState: GOVERNOR,
    Reply: REPLY,
    Claim: CLAIM,
}
"""Where each payload goes; an alert also goes to its history."""


@dataclass(frozen=True, slots=True)
class Message:
    """A payload on its way to its topic."""

    topic: str
    qos: int
    retain: bool
    body: Mapping[str, Any]
    kept: Kept = "live"
    expiry_s: int | None = None
    correlation: bytes | None = None  # of MQTT 5, in an answer
    clears: bool = False  # takes back what is retained on its topic
    content_type: str | None = None  # of MQTT 5; null: plain JSON, as the schemas have it

    @property
    def is_event(self) -> bool:
        """Whether it must arrive even if the broker is away now; states and samples are only worth their newest."""
        return self.kept == "every"

    @property
    def tells_expression(self) -> bool:
        """Whether it is an event of a camera, and not of the node."""
        return self.topic.endswith("/events") and "/camera/" in self.topic

    def to_json(self) -> bytes:
        """Compact UTF-8 JSON, keys in the order of the type; empty where it takes back what is retained."""
        if self.clears:
            return b""
        return json.dumps(self.body, ensure_ascii=False, separators=(",", ":")).encode()

    def sent(self, at: str, *, replayed: bool) -> Message:
        """The event as it goes out: with its time of publishing, and marked if it had to wait."""
        return replace(self, body={**self.body, "published_at": at, "replayed": replayed})


class Publisher(Protocol):
    """Where messages go. Called from the pipeline's thread: must not block."""

    def publish(self, message: Message) -> None:
        """Take over a message."""


def message(payload: Payload, node: str, part: str = "") -> Message:
    """The payload addressed to its channel; `part` is the camera, the rule or the command that it is about."""
    return addressed(CHANNEL_OF[type(payload)], asdict(payload), node, part)


def alert_history(alert: Alert, node: str) -> Message:
    """The alert as an event, to be delivered even if it is over by then."""
    return addressed(ALERT_EVENTS, asdict(alert), node, alert.rule)


def cleared(channel: Channel, node: str, part: str = "") -> Message:
    """Takes back what is retained on a channel's topic."""
    return replace(addressed(channel, {}, node, part), clears=True)


def addressed(channel: Channel, body: Mapping[str, Any], node: str, part: str = "") -> Message:
    """A message on a channel."""
    return Message(topic(channel, node, part), channel.qos, channel.retain, body, channel.kept, channel.expiry_s)

"""Events in a CloudEvents envelope (version 1.0, structured JSON), for brokers and buses that route by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from edge_fer.messages import Message

EnvelopeKind = Literal["plain", "cloudevents"]

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"

_NAMES = {"camera": "expression", "alert": "alert", "self-test": "self-test"}
_OUTCOME = ("type", "state")
"""The keys that say which kind of event it is, if one does."""


def envelope(kind: EnvelopeKind) -> Callable[[Message], Message]:
    """What is done to each message as it goes out, after `Message.sent`."""
    return cloud_event if kind == "cloudevents" else _as_it_is


def cloud_event(message: Message) -> Message:
    """An event as the `data` of a CloudEvent; states, samples and replies stay as they are.

    `source` and `id` together are of one event, however often it is delivered. The attributes `seq`, `bootid` and
    `replayed` are extensions: the one that CloudEvents documents, `sequence`, would have to rise across boots.
    """
    if not message.is_event or message.clears:
        return message
    data = message.body
    source = message.topic.removesuffix("/events")
    attributes = {
        "specversion": "1.0",
        "id": str(data["id"]),
        "source": f"/{source}",
        "type": _type(source, data),
        "time": data["occurred_at"] if "occurred_at" in data else data["since"],
        "datacontenttype": "application/json",
        "dataschema": f"urn:edge-fer:schema:{_schema(source)}:{data['schema_version']}",
        "bootid": data["boot_id"],
        "replayed": data["replayed"],
    }
    if "seq" in data:
        attributes["seq"] = data["seq"]
    return replace(message, body={**attributes, "data": data}, content_type=CONTENT_TYPE)


def opened(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The payload of a message, whether or not it is in an envelope; for subscribers."""
    return body["data"] if "specversion" in body and isinstance(body.get("data"), dict) else body


def _as_it_is(message: Message) -> Message:
    return message


def _type(source: str, data: Mapping[str, Any]) -> str:
    outcome = next((f".{data[key]}" for key in _OUTCOME if key in data), "")
    return f"edge-fer.{_NAMES[_kind(source)]}{outcome}"


def _schema(source: str) -> str:
    kind = _kind(source)
    return kind if kind == "self-test" else f"{kind}-events"


def _kind(source: str) -> str:
    """Of edge-fer/NODE/KIND/..."""
    return source.split("/")[2]

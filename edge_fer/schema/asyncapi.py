"""AsyncAPI 3 document of all traffic, generated from the table of channels and the payload types."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from edge_fer import __version__
from edge_fer.channels import BASE, CLAIM, COMMAND, REPLY, STATUS, Channel
from edge_fer.schema.catalogue import Entry, catalogue, channel_name
from edge_fer.schema.json_schema import JsonSchema, schema_of
from edge_fer.schema.samples import samples

ASYNCAPI = "3.0.0"

_BINDING = {"bindingVersion": "0.2.0"}
_BOTH_WAYS = (CLAIM,)
_PARAMETERS = {
    "node": "id of the node: `[a-z0-9-]`, at most 63 characters",
    "camera": "name of the camera in the configuration",
    "rule": "name of the rule in the configuration",
    "command": "what is asked",
}
_KEPT = {
    "every": "Kept until the broker acknowledges it; what had to wait has `replayed`: true.",
    "newest": "A state: the newest is retained, and published again at each connection.",
    "live": "Lost where nobody takes it now.",
}


def asyncapi() -> dict[str, Any]:
    """The whole document, as of the daemon: it sends, except for commands; every reference is inside of it."""
    entries = catalogue()
    by_channel: dict[Channel, list[Entry]] = {COMMAND: []}
    for entry in entries.values():
        by_channel.setdefault(entry.channel, []).append(entry)
    parts: dict[str, JsonSchema] = {}
    messages = {name: _message(entry, parts) for name, entry in entries.items()}
    if not by_channel[COMMAND]:
        del by_channel[COMMAND]
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "edge-fer",
            "version": __version__,
            "description": "Facial expressions from camera streams. Payloads only grow: pass over unknown keys.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"broker": _server()},
        "channels": {channel_name(channel): _channel(channel, found) for channel, found in by_channel.items()},
        "operations": dict(
            operation for channel, found in by_channel.items() for operation in _operations(channel, found)
        ),
        "components": {"messages": messages, "schemas": parts},
    }


def _server() -> dict[str, Any]:
    will = {
        "topic": f"{BASE}/{{node}}/{STATUS.topic}",
        "qos": STATUS.qos,
        "message": "offline",
        "retain": STATUS.retain,
    }
    return {
        "host": "{host}:{port}",
        "protocol": "mqtt",
        "protocolVersion": "5.0",
        "description": "Your broker: `[broker] url` of the configuration. MQTT 3.1.1 where it has only that; TLS with mqtts://.",
        "variables": {"host": {"default": "localhost"}, "port": {"default": "1883", "examples": ["1883", "8883"]}},
        "bindings": {"mqtt": {"cleanSession": True, "lastWill": will, **_BINDING}},
    }


def _channel(channel: Channel, entries: list[Entry]) -> dict[str, Any]:
    address = f"{BASE}/{{node}}/{channel.topic}"
    parameters: dict[str, dict[str, Any]] = {
        name: {"description": _PARAMETERS[name]} for name in re.findall(r"\{(\w+)\}", address)
    }
    if channel is COMMAND:
        parameters["command"]["enum"] = [entry.command for entry in entries]
    return {
        "address": address,
        "description": _KEPT[channel.kept],
        "servers": [{"$ref": "#/servers/broker"}],
        "parameters": parameters,
        "messages": {entry.name: {"$ref": f"#/components/messages/{entry.name}"} for entry in entries},
    }


def _operations(channel: Channel, entries: list[Entry]) -> list[tuple[str, dict[str, Any]]]:
    name = channel_name(channel)
    actions = ("receive",) if channel is COMMAND else ("send", "receive") if channel in _BOTH_WAYS else ("send",)
    binding: dict[str, Any] = {"qos": channel.qos, "retain": channel.retain}
    if channel.expiry_s is not None:
        binding["messageExpiryInterval"] = channel.expiry_s
    body = {
        "channel": {"$ref": f"#/channels/{name}"},
        "messages": [{"$ref": f"#/channels/{name}/messages/{entry.name}"} for entry in entries],
        "bindings": {"mqtt": {**binding, **_BINDING}},
    }
    if channel is COMMAND:
        reply = channel_name(REPLY)
        body["reply"] = {
            "channel": {"$ref": f"#/channels/{reply}"},
            "messages": [{"$ref": f"#/channels/{reply}/messages/{reply}"}],
        }
    return [(f"{action}-{name}", {"action": action, **body}) for action in actions]


def _message(entry: Entry, parts: dict[str, JsonSchema]) -> dict[str, Any]:
    """A message object; the types that its payload consists of are added to `parts`."""
    schema = schema_of(entry)
    description = schema["description"]
    binding: dict[str, Any] = {}
    if entry.channel in {COMMAND, REPLY}:
        binding["correlationData"] = {"type": "string", "description": "Of the request; comes back with the reply."}
    if entry.channel is COMMAND:
        binding["responseTopic"] = f"{BASE}/{{node}}/{REPLY.topic}".replace("{command}", entry.command)
    made = {
        "name": entry.name,
        "summary": description.partition("\n")[0],
        "contentType": "text/plain" if entry.payload is None else "application/json",
        "payload": {"$ref": f"#/components/schemas/{_add(entry, schema, parts)}"},
        **({"bindings": {"mqtt": {**binding, **_BINDING}}} if binding else {}),
        "examples": [{"name": name, "payload": payload} for name, payload in _examples(entry)],
    }
    if entry.channel in {COMMAND, REPLY}:
        made["correlationId"] = {"location": "$message.payload#/id"}
    return made


def _add(entry: Entry, schema: JsonSchema, parts: dict[str, JsonSchema]) -> str:
    """Put the schema and its definitions beside each other, as references of AsyncAPI lead there; its name."""
    name = entry.payload.__name__ if entry.payload else "Status"
    body = {key: value for key, value in schema.items() if key not in {"$schema", "$id", "$defs", "title"}}
    for key, part in {name: body, **schema.get("$defs", {})}.items():
        moved = json.loads(json.dumps(part).replace('"#/$defs/', '"#/components/schemas/'))
        if parts.setdefault(key, moved) != moved:
            raise ValueError(f"two payload types of one name: {key}")
    return name


def _examples(entry: Entry) -> list[tuple[str, Any]]:
    """The samples of this channel: those whose name begins with no longer name of another one."""
    return [
        (name, json.loads(payload) if entry.payload else payload.decode())
        for name, payload in samples().items()
        if _owner(name, catalogue()) == entry.name
    ]


def _owner(sample: str, entries: Mapping[str, Entry]) -> str:
    return max((name for name in entries if f"{sample}-".startswith(f"{name}-")), key=len, default="")

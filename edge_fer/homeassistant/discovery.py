"""Configuration -> the message by which Home Assistant finds this node.

Device-based discovery (Home Assistant 2024.12 or later): one retained message describes the device and all its
entities; https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from edge_fer.board_watch import Senses
from edge_fer.channels import BASE, CAMERA_STATUS, INFO, STATUS, topic
from edge_fer.config import Config
from edge_fer.events import NodeInfo
from edge_fer.homeassistant.entities import (
    Entity,
    Platform,
    alert_entity,
    camera_entities,
    expire_after_s,
    node_entities,
    privacy_entity,
)
from edge_fer.messages import Message

NO_SENSES = Senses()
"""Of a board that tells nothing."""

_SWITCHES = frozenset({"pause", "resume"})
"""Commands that the privacy switch needs."""


def discovery(config: Config, info: NodeInfo, senses: Senses = NO_SENSES) -> Message:
    """What announces the node, its cameras and its rules, and what its board can tell.

    Pure: the same configuration and board give the same bytes.
    """
    device = device_name(config.node)
    body = {
        "device": {
            "identifiers": [f"{BASE}-{config.node}"],
            "name": device,
            "manufacturer": BASE,
            "model": info.board,
            "sw_version": info.version,
        },
        "origin": {"name": BASE, "sw_version": info.version},
        "components": {entity.key: component(entity, config.node) for entity in entities(config, senses)},
    }
    return announcement(config.homeassistant.prefix, config.node, body)


def announcement(prefix: str, node: str, body: Mapping[str, Any]) -> Message:
    """A discovery payload on its topic: a state like others, so the newest is sent again at each connection."""
    return Message(discovery_topic(prefix, node), INFO.qos, retain=True, body=body, kept="newest")


def discovery_topic(prefix: str, node: str) -> str:
    """Where Home Assistant looks for this node."""
    return f"{prefix}/device/{BASE}-{node}/config"


def device_name(node: str) -> str:
    """What people read as the device."""
    return f"{BASE} {node}"


def unique_id(node: str, key: str) -> str:
    """By which Home Assistant knows an entity for ever.

    Names hold hyphens, but no underscore: so camera "b-c" of node "a" is not camera "c" of node "a-b".
    """
    return f"{BASE}_{node}_{key}"


def entities(config: Config, senses: Senses = NO_SENSES) -> Iterator[Entity]:
    """All of a node, in the order in which they are announced."""
    enveloped = config.broker is not None and config.broker.envelope != "plain"
    events_in = "value_json.data" if enveloped else "value_json"
    for camera in config.camera:
        yield from camera_entities(camera, config.telemetry_s, events_in=events_in)
    for name in config.rule:
        yield alert_entity(name)
    yield from node_entities(config.telemetry_s, senses)
    can_switch = set(config.commands.allow) >= _SWITCHES
    yield privacy_entity(config.node, len(config.camera), can_switch=can_switch)


def component(entity: Entity, node: str) -> dict[str, Any]:
    """One entity as Home Assistant wants it told."""
    where = topic(entity.channel, node, entity.part)
    told: dict[str, Any] = {
        "platform": entity.platform,
        "unique_id": unique_id(node, entity.key),
        "name": entity.name,
        # From 2025.10 on; older versions make the same of the names.
        "default_entity_id": f"{entity.platform}.{_slug(f'{device_name(node)} {entity.name}')}",
        "availability": _availability(entity, node),
        "availability_mode": "all",
        "state_topic": where,
        "value_template": entity.value,
        "qos": entity.channel.qos,
    }
    if entity.attributes:
        told |= {"json_attributes_topic": where, "json_attributes_template": entity.attributes}
    if entity.period_s is not None:
        told["expire_after"] = expire_after_s(entity.period_s)
    if entity.diagnostic:
        told["entity_category"] = "diagnostic"
    return {**told, **entity.more}


def stand_in(platform: Platform, node: str, key: str) -> dict[str, Any]:
    """The least that makes Home Assistant know an entity of which only key and platform are left."""
    told: dict[str, Any] = {"platform": platform, "unique_id": unique_id(node, key)}
    if platform == "switch":
        return {**told, "command_topic": topic(STATUS, node)}
    return {**told, "state_topic": topic(STATUS, node), **({"event_types": ["end"]} if platform == "event" else {})}


def _availability(entity: Entity, node: str) -> list[dict[str, str]]:
    places = [{"topic": topic(STATUS, node)}]
    if entity.camera:
        online = "{{ 'online' if value_json.state == 'online' else 'offline' }}"
        places.append({"topic": topic(CAMERA_STATUS, node, entity.camera), "value_template": online})
    return places


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")

"""What was promised to subscribers: a short list of topics and keys, kept of every release, that may only grow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from edge_fer.channels import BASE
from edge_fer.schema.catalogue import catalogue
from edge_fer.schema.json_schema import JsonSchema, schema_of

Contract = Mapping[str, Mapping[str, Any]]
"""Name of a channel -> topic, qos, retain and `keys`: path of a key -> its type, or its values where they are few."""


def contract() -> dict[str, dict[str, Any]]:
    """What the types of this version promise."""
    promised: dict[str, dict[str, Any]] = {}
    for name, entry in catalogue().items():
        schema = schema_of(entry)
        channel = entry.channel
        promised[name] = {
            "topic": f"{BASE}/{{node}}/{channel.topic}",
            "qos": channel.qos,
            "retain": channel.retain,
            "keys": dict(keys(schema)) if entry.payload else {"": schema["enum"]},
        }
        if entry.command:
            promised[name]["required"] = schema.get("required", [])
    return promised


def keys(schema: JsonSchema) -> Iterator[tuple[str, str | list[Any]]]:
    """Every key in its order: `box.left_px` in an object, `samples[].track` in a list, `scores.*` in a map."""
    return _inside(schema, "", schema.get("$defs", {}))


def broken(old: Contract, new: Contract) -> list[str]:
    """Each promise of the old that the new one does not keep, as a sentence; empty where it only grew."""
    faults: list[str] = []
    for name, before in old.items():
        if (after := new.get(name)) is None:
            faults.append(f"{name}: the channel is gone")
            continue
        faults += [
            f"{name}: {fact} was {before[fact]!r}, is {after[fact]!r}"
            for fact in ("topic", "qos", "retain")
            if before[fact] != after[fact]
        ]
        faults += [f"{name}: {fault}" for fault in _broken_keys(before["keys"], after["keys"])]
        asked = set(after.get("required", ())) - set(before.get("required", ()))
        faults += [f"{name}: {key} was optional" for key in sorted(asked)]
    return faults


def _inside(schema: JsonSchema, path: str, types: Mapping[str, JsonSchema]) -> Iterator[tuple[str, str | list[Any]]]:
    for part in _alternatives(schema, types):
        for key, value in part.get("properties", {}).items():
            inner = f"{path}.{key}" if path else key
            yield inner, _type(value, types)
            yield from _inside(value, inner, types)
        for key, suffix in (("items", "[]"), ("additionalProperties", ".*")):
            if isinstance(value := part.get(key), dict):
                yield f"{path}{suffix}", _type(value, types)
                yield from _inside(value, f"{path}{suffix}", types)


def _type(schema: JsonSchema, types: Mapping[str, JsonSchema]) -> str | list[Any]:
    parts = _alternatives(schema, types)
    if any("enum" in part for part in parts):
        return [value for part in parts for value in part.get("enum", [None])]
    return "|".join(sorted({part["type"] for part in parts if "type" in part}))


def _alternatives(schema: JsonSchema, types: Mapping[str, JsonSchema]) -> list[JsonSchema]:
    """The schema, with references followed and `anyOf` opened."""
    if "$ref" in schema:
        return _alternatives(types[schema["$ref"].rpartition("/")[2]], types)
    if "anyOf" in schema:
        return [part for one in schema["anyOf"] for part in _alternatives(one, types)]
    return [schema]


def _broken_keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for key, before in old.items():
        if key not in new:
            yield f"{key} is gone"
        elif isinstance(before, list) and isinstance(new[key], list):
            if lost := [value for value in before if value not in new[key]]:
                yield f"{key} has lost the values {json.dumps(lost)}"
            if None in new[key] and None not in before:
                yield f"{key} was never null"
        elif before != new[key]:
            yield f"{key} was {json.dumps(before)}, is {json.dumps(new[key])}"
    for parent in dict.fromkeys(_parent(key) for key in old):
        here = [key for key in old if _parent(key) == parent and key in new]
        now = [key for key in new if _parent(key) == parent]
        if here != now[: len(here)]:
            yield f"{parent or 'the payload'}: keys are added at the end, in the order of their coming"


def _parent(key: str) -> str:
    return key.rpartition(".")[0]

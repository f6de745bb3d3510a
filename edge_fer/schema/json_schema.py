"""JSON Schema of the payloads, generated from their types."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, get_args

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from edge_fer.events import EndReason, ExpressionEvent
from edge_fer.schema.catalogue import Entry, catalogue
from edge_fer.schema.notes import field_notes

DIALECT = "https://json-schema.org/draft/2020-12/schema"

JsonSchema = dict[str, Any]

_TIME: JsonSchema = {
    "type": "string",
    "format": "date-time",
    # `format` alone is only a remark: most validators do not check it.
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
}

_IS_TIME = re.compile(r"(_at|^since|^until)$")
_IS_SHARE = re.compile(r"^(confidence|peak|mean|cut_off|burnt_out|scores)$")
_IS_NOT_NEGATIVE = re.compile(
    r"(_ms|_s|_bytes|_percent|_version|^(frame_)?(width|height|size)_px|operators"
    r"|^(seq|track|faces|fps|captured|dropped|withheld|threads|load_1m|p50|p95|p99"
    r"|outbox_events|events_lost|telemetry_lost|camera_restarts|frames_dropped))$"
)

_KNOWN_NOTES = {
    "boot_id": "of this run of the daemon; another one in `info` ends all older tracks",
    "camera": "its name in the configuration",
    "cameras": "their names in the configuration",
    "occurred_at": "when it was so, by the node's clock",
    "published_at": "when it was handed to the broker",
    "replayed": "true: it waited for the broker, so it is history and not the present",
    "rss_bytes": "memory of the daemon",
    "schema_version": "grows only when a key changes its meaning, which would be a new contract",
    "since": "when it became so, by the node's clock",
}
"""Of keys that mean the same in every payload, where the type does not say more."""


def schemas() -> dict[str, JsonSchema]:
    """Name of the channel (of a request: `cmd-<command>`) -> its schema, in the order of the channels."""
    return {name: schema_of(entry) for name, entry in catalogue().items()}


def schema_of(entry: Entry) -> JsonSchema:
    """One document: what every payload on a channel is, and for how long there may be more in it."""
    head = {"$schema": DIALECT, "$id": f"urn:edge-fer:schema:{entry.name}:1", "title": entry.name}
    if entry.payload is None:
        told = "Whether the daemon runs and is connected; plain text, not JSON."
        return {**head, "description": told, "type": "string", "enum": ["online", "offline"]}
    return {**head, **_body(entry.payload, incoming=bool(entry.command))}


def _body(payload: type, *, incoming: bool) -> JsonSchema:
    made = TypeAdapter(payload).json_schema(
        mode="validation" if incoming else "serialization", schema_generator=_Request if incoming else _Published
    )
    made.pop("title", None)
    inner = made.pop("$defs", None)
    return {**made, "$defs": inner} if inner else made


class _Generator(GenerateJsonSchema):
    """Adds what the source says; without pydantic's titles, which only repeat the keys."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401, ARG002 - pydantic's signature
        return False

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchema:
        return self._told(super().dataclass_schema(schema), schema["cls"])

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchema:
        return self._told(super().model_schema(schema), schema["cls"])

    def _told(self, made: JsonSchema, owner: type) -> JsonSchema:
        notes = {**_KNOWN_NOTES, **field_notes(owner)}
        for key, schema in made.get("properties", {}).items():
            if key in notes:
                schema.setdefault("description", notes[key])
        return {"description": inspect.getdoc(owner) or "", **made}


class _Request(_Generator):
    """Of what comes in: as strict as the daemon is."""


class _Published(_Generator):
    """Of what goes out: every key is there, and more may come."""

    def _told(self, made: JsonSchema, owner: type) -> JsonSchema:
        made = super()._told(made, owner)
        if not is_dataclass(owner):
            raise TypeError(f"{owner.__name__}: published payloads are dataclasses")
        properties = made["properties"]
        for key, schema in properties.items():
            default = schema.pop("default", None)
            if _IS_TIME.search(key):
                _in_place(schema, _TIME, empty=default == "")
            elif _IS_SHARE.search(key):
                _limit(schema, minimum=0, maximum=1)
            elif _IS_NOT_NEGATIVE.search(key):
                _limit(schema, minimum=0)
        if owner is ExpressionEvent:
            properties["reason"]["enum"] = ["", *get_args(EndReason)]
        return {**made, "required": list(properties)}


def _in_place(schema: JsonSchema, time: JsonSchema, *, empty: bool) -> None:
    """A text becomes a time; `empty`: or "", which a state has that no broker was handed as an event."""
    for part in _parts(schema):
        if part.get("type") == "string":
            part.update(time)
    if empty:
        schema["anyOf"] = [{name: schema.pop(name) for name in time}, {"const": ""}]


def _limit(schema: JsonSchema, **limits: int) -> None:
    for part in _parts(schema):
        if part.get("type") in {"integer", "number"}:
            part.update(limits)


def _parts(schema: JsonSchema) -> Iterator[JsonSchema]:
    """The schema, its alternatives, and what the values of a map are."""
    yield schema
    yield from schema.get("anyOf", ())
    if isinstance(more := schema.get("additionalProperties"), dict):
        yield more

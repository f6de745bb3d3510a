"""What the whole daemon publishes while it plays the sample clip, against the schemas."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
from sample_events import Collector, play

from edge_fer.schema.catalogue import Entry, catalogue
from edge_fer.schema.json_schema import schema_of

RULES = {
    "somebody": {"kind": "faces", "cameras": ["front"], "max_faces": 0, "for_s": 0.5},
}

# The others are of a connection, of a command, or of a pause, which needs a state folder.
EXPECTED = {
    "info",
    "camera-status",
    "camera-state",
    "camera-events",
    "alert",
    "alert-events",
    "health",
    "self-test",
    "telemetry-throughput",
    "telemetry-power",
    "governor",
}


@pytest.fixture(scope="module")
def collected() -> Collector:
    return play(rule=RULES, telemetry_s=1)


def entry_on(topic: str) -> Entry:
    (entry,) = (
        entry
        for entry in catalogue().values()
        if re.fullmatch(f"edge-fer/lab/{re.sub('{.*?}', '[^/]+', entry.channel.topic)}", topic)
    )
    return entry


def test_all_that_a_daemon_publishes_is_as_the_schemas_say(collected: Collector) -> None:
    met = set()
    for message in collected.messages:
        entry = entry_on(message.topic)
        met.add(entry.name)
        told = json.loads(message.to_json())
        jsonschema.Draft202012Validator(schema_of(entry)).validate(told)
        assert list(told) == list(schema_of(entry)["properties"]), "each key, in its order"
    assert met >= EXPECTED

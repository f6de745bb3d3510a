"""Events as CloudEvents 1.0, and everything else as it is."""

from __future__ import annotations

import json
import re

import pytest

from edge_fer.channels import HEALTH
from edge_fer.envelope import CONTENT_TYPE, cloud_event, envelope, opened
from edge_fer.messages import cleared
from edge_fer.schema.catalogue import catalogue
from edge_fer.schema.json_schema import schemas
from edge_fer.schema.samples import messages

EVENTS = [name for name, made in messages().items() if made.is_event and made.content_type is None]
OTHERS = [name for name, made in messages().items() if not made.is_event]


@pytest.mark.parametrize(
    ("name", "source", "kind"),
    [
        ("camera-events-start", "/edge-fer/hall-7/camera/front", "edge-fer.expression.start"),
        ("camera-events-end", "/edge-fer/hall-7/camera/front", "edge-fer.expression.end"),
        ("alert-events-active", "/edge-fer/hall-7/alert/crying", "edge-fer.alert.active"),
        ("alert-events-cleared", "/edge-fer/hall-7/alert/crying", "edge-fer.alert.cleared"),
        ("self-test", "/edge-fer/hall-7/self-test", "edge-fer.self-test"),
    ],
)
def test_an_event_is_the_data_of_a_cloud_event(name: str, source: str, kind: str) -> None:
    plain = messages()[name]
    made = cloud_event(plain)
    body = json.loads(made.to_json())
    assert (body["specversion"], body["source"], body["type"]) == ("1.0", source, kind)
    assert body["id"] == plain.body["id"]
    assert body["time"] == plain.body.get("occurred_at", plain.body.get("since"))
    assert json.dumps(body["data"]) == json.dumps(json.loads(plain.to_json())), "unchanged, its order too"
    assert (body["bootid"], body["replayed"]) == (plain.body["boot_id"], plain.body["replayed"])
    assert body.get("seq") == plain.body.get("seq")
    assert made.content_type == CONTENT_TYPE
    assert (made.topic, made.qos, made.retain, made.kept) == (plain.topic, plain.qos, plain.retain, plain.kept)


@pytest.mark.parametrize("name", EVENTS)
def test_the_attributes_are_what_the_standard_allows(name: str) -> None:
    body = dict(cloud_event(messages()[name]).body)
    assert isinstance(body.pop("data"), dict)
    for attribute, value in body.items():
        assert re.fullmatch("[a-z0-9]{1,20}", attribute), attribute
        assert value != ""
        assert isinstance(value, (str, bool, int)), attribute
    assert body["dataschema"] in {schema["$id"] for schema in schemas().values()}


def test_every_kind_of_event_is_tried() -> None:
    kept = {entry.name for entry in catalogue().values() if entry.channel.kept == "every"}
    assert {name for name in kept if any(event.startswith(name) for event in EVENTS)} == kept


@pytest.mark.parametrize("name", OTHERS)
def test_states_samples_and_replies_have_no_envelope(name: str) -> None:
    assert cloud_event(messages()[name]) == messages()[name]


def test_what_takes_a_topic_back_stays_empty() -> None:
    assert cloud_event(cleared(HEALTH, "lab")).to_json() == b""


def test_plain_is_no_envelope() -> None:
    made = messages()["camera-events-start"]
    assert envelope("plain")(made) is made
    assert envelope("cloudevents")(made) == cloud_event(made)


def test_the_payload_comes_out_of_either() -> None:
    plain = messages()["camera-events-start"].body
    assert opened(plain) is plain
    assert opened(cloud_event(messages()["camera-events-start"]).body) == plain


def test_two_deliveries_of_one_event_have_one_id() -> None:
    plain = messages()["camera-events-start"]
    first, second = (cloud_event(one).body for one in (plain, plain.sent("2026-11-22T20:00:00.000Z", replayed=True)))
    assert (first["source"], first["id"]) == (second["source"], second["id"])
    assert second["replayed"] is True

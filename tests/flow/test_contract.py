"""The contract, topic by topic, as a subscriber of MQTT 5 meets it at a real broker while the daemon runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import paho.mqtt.client as paho
import pytest
from daemonsite import BASE, LOOP, NODE, START_S, Site, retained, terminate
from jsonschema import Draft202012Validator
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions
from realbrokers import wait_until

from edge_fer.channels import CHANNELS, CLAIM, COMMAND, REPLY, STATUS, Channel, topic
from edge_fer.schema.catalogue import catalogue
from edge_fer.schema.json_schema import schema_of

SCHEMAS = {entry.channel: schema_of(entry) for entry in catalogue().values() if not entry.command}
PARTS = {"camera": "front", "rule": "somebody", "command": "detect-now"}

RULE = """
[commands]
allow = ["detect-now"]

[rule.somebody]
kind = "faces"
max_faces = 0
for_s = 0.5
"""


@dataclass(frozen=True)
class Heard:
    payload: bytes
    qos: int
    retain: bool
    expires: bool


class Listener:
    """Hears everything as it was published, with its QoS, retain flag and expiry."""

    def __init__(self, port: int) -> None:
        self.heard: dict[str, list[Heard]] = {}
        self.subscribed = False
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self.client.on_subscribe = self._on_subscribe
        self.client.on_message = self._on_message
        self.client.connect("127.0.0.1", port)
        self.client.subscribe(
            [(f"{place}/#", SubscribeOptions(1, retainAsPublished=True)) for place in (BASE, "lab-answers")]
        )
        self.client.loop_start()
        wait_until(lambda: self.subscribed)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _on_subscribe(self, *_: object) -> None:
        self.subscribed = True

    def _on_message(self, _client: paho.Client, _data: object, got: paho.MQTTMessage) -> None:
        expires = hasattr(got.properties, "MessageExpiryInterval")
        self.heard.setdefault(got.topic, []).append(Heard(got.payload, got.qos, bool(got.retain), expires))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path_factory.mktemp("contract"), stack)


@pytest.fixture(scope="module")
def heard(site: Site) -> dict[str, list[Heard]]:
    """All that one run of the daemon publishes, a command and its end included."""
    listener = Listener(site.broker.port)
    site.configure({"front": LOOP}, RULE)
    daemon = site.start()
    site.wait_for_start()
    of = {
        channel: listener.heard.setdefault(topic(channel, NODE, PARTS.get(part_of(channel), "")), [])
        for channel in CHANNELS
    }
    wait_until(lambda: all(of[channel] for channel in CHANNELS if channel not in (COMMAND, REPLY)), START_S)
    asking = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    asking.ResponseTopic, asking.CorrelationData = "lab-answers/1", b"17"
    listener.client.publish(topic(COMMAND, NODE, "detect-now"), b'{"id": "a"}', 1, properties=asking)
    wait_until(lambda: of[REPLY] and listener.heard.get("lab-answers/1"), START_S)
    assert terminate(daemon) == 0
    wait_until(lambda: of[STATUS][-1].payload == b"offline")
    listener.close()
    return listener.heard


def part_of(channel: Channel) -> str:
    """What stands in braces in its topic."""
    return channel.topic.partition("{")[2].partition("}")[0]


@pytest.fixture
def on(heard: dict[str, list[Heard]]) -> Callable[[Channel], list[Heard]]:
    return lambda channel: heard[topic(channel, NODE, PARTS.get(part_of(channel), ""))]


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.topic)
def test_every_topic_is_published_as_its_line_says(channel: Channel, on: Callable[[Channel], list[Heard]]) -> None:
    for message in on(channel):
        assert (message.qos, message.retain) == (channel.qos, channel.retain)
        if channel is not COMMAND:
            assert message.expires == (channel.expiry_s is not None)


@pytest.mark.parametrize(
    "channel", [channel for channel in CHANNELS if channel not in (STATUS, COMMAND)], ids=lambda channel: channel.topic
)
def test_every_payload_is_what_its_schema_says(channel: Channel, on: Callable[[Channel], list[Heard]]) -> None:
    check = Draft202012Validator(SCHEMAS[channel], format_checker=Draft202012Validator.FORMAT_CHECKER)
    for message in on(channel):
        check.validate(json.loads(message.payload))


def test_the_status_is_plain_text(on: Callable[[Channel], list[Heard]]) -> None:
    assert [message.payload for message in on(STATUS)] == [b"online", b"offline"]


def test_an_answer_goes_to_both_places(heard: dict[str, list[Heard]], on: Callable[[Channel], list[Heard]]) -> None:
    (answer,) = on(REPLY)
    told = json.loads(answer.payload)
    assert (told["command"], told["ok"], told["id"]) == ("detect-now", True, "a")
    assert [message.payload for message in heard["lab-answers/1"]] == [answer.payload]


def test_nothing_is_published_that_is_not_in_the_table(heard: dict[str, list[Heard]]) -> None:
    known = {topic(channel, NODE, PARTS.get(part_of(channel), "")) for channel in CHANNELS}
    assert {name for name in heard if heard[name]} == known | {"lab-answers/1"}


def test_events_and_alerts_of_the_run_have_no_gap(on: Callable[[Channel], list[Heard]]) -> None:
    for channel in CHANNELS:
        seqs = (
            [json.loads(message.payload)["seq"] for message in on(channel)] if channel.topic.endswith("/events") else []
        )
        assert seqs == list(range(1, len(seqs) + 1))


def test_what_is_retained_tells_a_newcomer_that_the_node_is_off(site: Site, heard: dict[str, list[Heard]]) -> None:
    assert heard
    assert retained(site, "camera/front/state")["expression"] == "unknown"
    assert retained(site, "camera/front/status")["state"] == "offline"
    assert retained(site, "alert/somebody")["state"] == "cleared"


def test_the_claim_names_this_run(on: Callable[[Channel], list[Heard]]) -> None:
    claims, info = on(CLAIM), json.loads(on(CHANNELS[1])[-1].payload)
    assert {json.loads(claim.payload)["boot_id"] for claim in claims} == {info["boot_id"]}

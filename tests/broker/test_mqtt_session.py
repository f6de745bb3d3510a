"""What happens on a connection besides delivery: claims, status, subscriptions, properties of MQTT 5."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from realbrokers import (
    EVENTS_TOPIC,
    NODE,
    QUICK,
    STATE_TOPIC,
    STATUS_TOPIC,
    AnyBroker,
    Make,
    Mosquitto,
    Subscriber,
    event,
    said,
    state,
    wait_until,
)

from edge_fer.channels import CAMERA_STATE, THROUGHPUT
from edge_fer.messages import Message, addressed, cleared
from edge_fer.mqtt.incoming import Incoming
from edge_fer.mqtt.link import LARGEST_RECEIVED
from edge_fer.mqtt.publisher import MqttPublisher

CLAIM_TOPIC = f"edge-fer/{NODE}/identity"
COMMANDS = f"edge-fer/{NODE}/cmd/+"
PAUSE = f"edge-fer/{NODE}/cmd/pause"

KILLED_CHILD = """
import sys, time
from edge_fer.login import BrokerAddress
from edge_fer.mqtt.publisher import MqttPublisher
address = BrokerAddress("127.0.0.1", int(sys.argv[1]))
publisher = MqttPublisher(address, node=sys.argv[2], boot_id="boot-dead", keepalive_s=5)
publisher.start()
while not publisher.connected:
    time.sleep(0.01)
print("connected", flush=True)
time.sleep(600)
"""


class Client:
    """An MQTT 5 client that keeps what it receives, with properties, and can publish."""

    def __init__(self, port: int, where: str = "edge-fer/#") -> None:
        self.got: list[Any] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_message = lambda _client, _data, message: self.got.append(message)
        subscribed: list[int] = []
        self._client.on_subscribe = lambda *_: subscribed.append(1)
        self._client.on_connect = lambda *_: self._client.subscribe(where, 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        wait_until(lambda: subscribed)

    def publish(self, where: str, payload: bytes = b"", *, retain: bool = False, **properties: Any) -> None:
        packed = Properties(PacketTypes.PUBLISH)
        for name, value in properties.items():
            setattr(packed, name, value)
        self._client.publish(where, payload, 1, retain, packed).wait_for_publish(10)

    def on(self, topic: str) -> list[Any]:
        return [message for message in list(self.got) if message.topic == topic]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def make_client() -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def make(port: int, where: str = "edge-fer/#") -> Client:
        made.append(Client(port, where))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.mark.parametrize(("first", "second"), [("boot-a", "boot-b"), ("boot-b", "boot-a")])
def test_a_second_instance_of_a_node_refuses_and_the_first_never_drops(
    broker: AnyBroker,
    make_publisher: Make[MqttPublisher],
    subscribe: Make[Subscriber],
    caplog: pytest.LogCaptureFixture,
    first: str,
    second: str,
) -> None:
    watcher = subscribe(broker.port)
    holder = make_publisher(broker.port, boot_id=first, host="attic", uptime_s=lambda: 1000 + time.monotonic())
    wait_until(lambda: holder.connected)
    patience = type(QUICK)(**{**vars(QUICK), "claim_s": 30.0})
    newcomer = make_publisher(broker.port, boot_id=second, host="cellar", uptime_s=time.monotonic, patience=patience)
    newcomer.publish(event(1))
    wait_until(lambda: newcomer.fatal)
    for part in (first, second, "attic", "cellar", NODE, "node = "):
        assert part in newcomer.fatal
    wait_until(lambda: said(caplog, "belongs to another edge-fer"))
    wait_until(lambda: said(caplog, "claims node"))
    newcomer.stop(30)
    holder.publish(event(2))
    wait_until(lambda: watcher.seqs() == [2])  # nothing of the newcomer
    assert watcher.payloads(STATUS_TOPIC) == [b"online"]  # nor a last will
    assert holder.connected
    assert not holder.fatal
    assert not said(caplog, "lost")
    assert len(said(caplog, "claims node")) == 1


def test_after_an_outage_that_both_waited_for_the_older_one_wins(
    make_mosquitto: Make[Mosquitto], make_publisher: Make[MqttPublisher], subscribe: Make[Subscriber]
) -> None:
    broker = make_mosquitto()
    now = time.monotonic
    patience = type(QUICK)(**{**vars(QUICK), "claim_s": 3.0})  # long enough for a busy machine to object
    older = make_publisher(broker.port, boot_id="boot-b", uptime_s=lambda: now() + 500, patience=patience)
    younger = make_publisher(broker.port, boot_id="boot-a", uptime_s=now, patience=patience)
    broker.start()
    wait_until(lambda: younger.fatal and older.connected)
    late = subscribe(broker.port)
    wait_until(lambda: late.payloads(STATUS_TOPIC) == [b"online"])
    broker.kill()
    wait_until(lambda: not older.connected)
    broker.start()  # and again
    wait_until(lambda: older.connected)
    assert not older.fatal
    assert not younger.connected
    assert younger.alive  # until it is stopped: it has not crashed


def test_a_late_last_will_is_answered(
    broker: AnyBroker, make_publisher: Make[MqttPublisher], subscribe: Make[Subscriber]
) -> None:
    """A process that hangs keeps its connection, until it is killed; by then, the next one runs."""
    watcher = subscribe(broker.port)
    with subprocess.Popen(
        [sys.executable, "-c", KILLED_CHILD, str(broker.port), NODE], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "connected\n"
        child.send_signal(signal.SIGSTOP)
        publisher = make_publisher(broker.port)
        wait_until(lambda: publisher.connected)
        wait_until(lambda: watcher.payloads(STATUS_TOPIC) == [b"online", b"online"])
        os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: watcher.payloads(STATUS_TOPIC) == [b"online", b"online", b"offline", b"online"])
    late = subscribe(broker.port)
    wait_until(lambda: late.payloads(STATUS_TOPIC))
    assert set(late.payloads(STATUS_TOPIC)) == {b"online"}


def test_a_retained_offline_of_the_run_before_is_no_news(
    mosquitto: Mosquitto, make_publisher: Make[MqttPublisher], subscribe: Make[Subscriber]
) -> None:
    first = make_publisher(mosquitto.port)
    wait_until(lambda: first.connected)
    first.stop(30)
    watcher = subscribe(mosquitto.port)
    second = make_publisher(mosquitto.port, boot_id="boot-b")
    second.publish(event(1))
    wait_until(lambda: second.pending == 0 and watcher.seqs() == [1])
    assert watcher.payloads(STATUS_TOPIC) == [b"offline", b"online"]


def test_status_says_online_again_but_not_without_a_pause(
    mosquitto: Mosquitto, make_publisher: Make[MqttPublisher], make_client: Make[Client]
) -> None:
    client = make_client(mosquitto.port, STATUS_TOPIC)
    began_s, heal_s = time.monotonic(), 0.5
    publisher = make_publisher(mosquitto.port, patience=type(QUICK)(**{**vars(QUICK), "heal_s": heal_s}))
    wait_until(lambda: [message.payload for message in client.got] == [b"online"])
    for _ in range(50):
        client.publish(STATUS_TOPIC, b"offline", retain=True)
    wait_until(lambda: client.got[-1].payload == b"online")
    online = sum(message.payload == b"online" for message in client.got)
    assert 2 <= online <= 1 + (time.monotonic() - began_s) / heal_s
    assert publisher.connected


def test_what_arrives_goes_to_the_handler_of_its_topic_after_every_connect(
    make_mosquitto: Make[Mosquitto], make_publisher: Make[MqttPublisher], make_client: Make[Client]
) -> None:
    commands: list[Incoming] = []
    others: list[Incoming] = []
    broker = make_mosquitto().start()
    publisher = make_publisher(
        broker.port, subscriptions={COMMANDS: commands.append, "homeassistant/status": others.append}
    )
    for _ in range(2):
        commands.clear()
        wait_until(lambda: broker.log().count("homeassistant/status (QoS 1)") >= 1)
        wait_until(lambda: publisher.connected)
        client = make_client(broker.port)
        client.publish(
            PAUSE, b"{}", ResponseTopic="answers/7", CorrelationData=b"\x00\x07", UserProperty=[("who", "nurse")]
        )
        wait_until(lambda: commands)
        assert commands == [Incoming(PAUSE, b"{}", False, "answers/7", b"\x00\x07", {"who": "nurse"})]  # noqa: FBT003
        client.close()
        broker.kill()
        (broker.folder / "mosquitto.log").write_text("")
        broker.start()
    assert others == []


def test_each_connection_is_told_before_anything_arrives(
    make_mosquitto: Make[Mosquitto], make_publisher: Make[MqttPublisher]
) -> None:
    heard: list[str] = []
    broker = make_mosquitto().start()
    publisher = make_publisher(broker.port, subscriptions={STATE_TOPIC: lambda incoming: heard.append(incoming.topic)})
    publisher.on_connected = lambda: heard.append("connected")
    wait_until(lambda: publisher.connected)
    heard.clear()
    publisher.publish(state(1))
    wait_until(lambda: heard == [STATE_TOPIC])
    broker.kill()
    broker.start()
    wait_until(lambda: len(heard) >= 3)
    assert heard[1] == "connected"


def test_a_leftover_is_taken_back_but_never_what_this_run_has_said(
    make_mosquitto: Make[Mosquitto], make_publisher: Make[MqttPublisher], subscribe: Make[Subscriber]
) -> None:
    broker = make_mosquitto().start()
    watcher = subscribe(broker.port)
    publisher = make_publisher(broker.port)
    publisher.publish(state(1))
    publisher.take_back(cleared(CAMERA_STATE, NODE, STATE_TOPIC.split("/")[-2]))
    publisher.take_back(cleared(CAMERA_STATE, NODE, "gone"))
    gone = STATE_TOPIC.replace(STATE_TOPIC.split("/")[-2], "gone")
    wait_until(lambda: watcher.payloads(gone) == [b""])
    assert b"" not in watcher.payloads(STATE_TOPIC)


def test_a_message_that_would_fill_the_memory_is_not_received(
    mosquitto: Mosquitto, make_publisher: Make[MqttPublisher], make_client: Make[Client]
) -> None:
    got: list[int] = []
    publisher = make_publisher(
        mosquitto.port, subscriptions={COMMANDS: lambda incoming: got.append(len(incoming.payload))}
    )
    wait_until(lambda: publisher.connected)
    client = make_client(mosquitto.port)
    client.publish(PAUSE, bytes(LARGEST_RECEIVED))
    client.publish(PAUSE, b"{}")
    wait_until(lambda: got)
    assert got == [2]


def test_a_retained_command_is_known_as_such_though_the_node_is_connected(
    mosquitto: Mosquitto, make_publisher: Make[MqttPublisher], make_client: Make[Client]
) -> None:
    got: list[Incoming] = []
    publisher = make_publisher(mosquitto.port, subscriptions={COMMANDS: got.append})
    wait_until(lambda: publisher.connected)
    client = make_client(mosquitto.port)
    client.publish(PAUSE, b"{}")
    client.publish(PAUSE, b"{}", retain=True)
    client.publish(PAUSE, b"", retain=True)
    wait_until(lambda: len(got) == 3)
    assert [incoming.retained for incoming in got] == [False, True, True]


def test_the_embedded_broker_delivers_to_handlers_too(embedded: Any, make_publisher: Make[MqttPublisher]) -> None:
    got: list[Incoming] = []
    publisher = make_publisher(embedded.port, subscriptions={COMMANDS: got.append})
    wait_until(lambda: publisher.connected)
    other = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
    other.connect("127.0.0.1", embedded.port)
    other.loop_start()

    def asked() -> bool:
        other.publish(PAUSE, b"now", 1)
        time.sleep(0.1)
        return bool(got)

    wait_until(asked)
    other.disconnect()
    other.loop_stop()
    assert got[0] == Incoming(PAUSE, b"now", retained=False)


def test_a_handler_that_fails_ends_nothing(
    mosquitto: Mosquitto,
    make_publisher: Make[MqttPublisher],
    make_client: Make[Client],
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls: list[Incoming] = []

    def fails(message: Incoming) -> None:
        calls.append(message)
        raise ValueError(message.payload.decode())

    publisher = make_publisher(mosquitto.port, subscriptions={COMMANDS: fails})
    wait_until(lambda: "/cmd/+ (QoS 1)" in mosquitto.log())
    client = make_client(mosquitto.port)
    client.publish(PAUSE, b"hunter2")
    wait_until(lambda: said(caplog, "was not handled"))
    client.publish(PAUSE, b"hunter2")
    wait_until(lambda: len(calls) == 2)
    assert publisher.connected
    assert publisher.alive
    assert PAUSE in said(caplog, "was not handled")[0]
    assert "hunter2" not in caplog.text


def test_expiry_and_correlation_are_told_in_mqtt_5(
    mosquitto: Mosquitto, make_publisher: Make[MqttPublisher], make_client: Make[Client]
) -> None:
    client = make_client(mosquitto.port)
    publisher = make_publisher(mosquitto.port)
    wait_until(lambda: publisher.connected)
    publisher.publish(addressed(THROUGHPUT, {"fps": 1}, NODE))
    publisher.publish(Message("edge-fer/answers", 1, retain=False, body={"ok": True}, correlation=b"\x01\x02"))
    wait_until(lambda: client.on("edge-fer/answers"))
    [sample] = client.on(f"edge-fer/{NODE}/telemetry/throughput")
    assert 0 < sample.properties.MessageExpiryInterval <= 60
    [answer] = client.on("edge-fer/answers")
    assert answer.properties.CorrelationData == b"\x01\x02"
    assert not hasattr(answer.properties, "MessageExpiryInterval")


def test_under_mqtt_311_they_are_left_out(
    embedded: Any, make_publisher: Make[MqttPublisher], subscribe: Make[Subscriber]
) -> None:
    watcher = subscribe(embedded.port)
    publisher = make_publisher(embedded.port)
    wait_until(lambda: publisher.connected)
    publisher.publish(
        Message("edge-fer/answers", 1, retain=False, body={"ok": True}, expiry_s=60, correlation=b"\x01\x02")
    )
    wait_until(lambda: watcher.payloads("edge-fer/answers") == [b'{"ok":true}'])


def test_a_retained_state_is_taken_back(
    broker: AnyBroker, make_publisher: Make[MqttPublisher], subscribe: Make[Subscriber]
) -> None:
    watcher = subscribe(broker.port)
    publisher = make_publisher(broker.port)
    wait_until(lambda: publisher.connected)
    publisher.publish(state("happiness"))
    wait_until(lambda: watcher.on(STATE_TOPIC))
    publisher.publish(cleared(CAMERA_STATE, NODE, "door"))
    publisher.publish(event(1))
    wait_until(lambda: publisher.pending == 0 and watcher.payloads(STATE_TOPIC)[-1:] == [b""])
    late = subscribe(broker.port)
    wait_until(lambda: late.payloads(STATUS_TOPIC))
    assert [payload for payload in late.payloads(STATE_TOPIC) if payload] == []


def test_claims_are_never_retained_and_say_who(
    broker: AnyBroker, make_publisher: Make[MqttPublisher], subscribe: Make[Subscriber]
) -> None:
    watcher = subscribe(broker.port)
    publisher = make_publisher(broker.port, host="attic")
    wait_until(lambda: publisher.connected)
    wait_until(lambda: watcher.payloads(STATUS_TOPIC))
    [claim] = watcher.on(CLAIM_TOPIC)
    body = json.loads(claim.payload)
    assert (body["boot_id"], body["host"], body["rejects"]) == ("boot-a", "attic", "")
    assert [message.topic for message in watcher.messages].index(CLAIM_TOPIC) == 0  # before `online`
    late = subscribe(broker.port)
    wait_until(lambda: late.payloads(STATUS_TOPIC))
    assert late.on(CLAIM_TOPIC) == []


def test_all_states_are_published_again_when_asked(
    mosquitto: Mosquitto, make_publisher: Make[MqttPublisher], subscribe: Make[Subscriber]
) -> None:
    watcher = subscribe(mosquitto.port)
    publisher = make_publisher(mosquitto.port)
    publisher.publish(state("fear"))
    wait_until(lambda: len(watcher.on(STATE_TOPIC)) == 1)
    publisher.refresh()
    wait_until(lambda: len(watcher.on(STATE_TOPIC)) == 2)
    assert watcher.on(EVENTS_TOPIC) == []


def test_what_is_decided_while_others_may_object_is_not_late(
    mosquitto: Mosquitto, make_publisher: Make[MqttPublisher], subscribe: Make[Subscriber]
) -> None:
    watcher = subscribe(mosquitto.port)
    publisher = make_publisher(mosquitto.port, patience=type(QUICK)(**{**vars(QUICK), "claim_s": 1.0}))
    wait_until(lambda: watcher.on(CLAIM_TOPIC))
    publisher.publish(event(1))
    wait_until(lambda: watcher.on(EVENTS_TOPIC))
    assert not watcher.on(EVENTS_TOPIC)[0].body["replayed"]

"""What a broker delivers, on a real mosquitto (MQTT 5) and on the embedded broker (MQTT 3.1.1)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from realbrokers import (
    EVENTS_TOPIC,
    NODE,
    STATE_TOPIC,
    STATUS_TOPIC,
    AnyBroker,
    Make,
    Subscriber,
    event,
    state,
    wait_until,
)

from edge_fer.mqtt.publisher import MqttPublisher

KILLED_CHILD = """
import sys, time
from edge_fer.login import BrokerAddress
from edge_fer.mqtt.publisher import MqttPublisher
publisher = MqttPublisher(BrokerAddress("127.0.0.1", int(sys.argv[1])), node=sys.argv[2], boot_id="boot-b")
publisher.start()
while not publisher.connected:
    time.sleep(0.01)
print("connected", flush=True)
time.sleep(60)
"""


def test_status_is_online_and_retained(
    broker: AnyBroker, make_publisher: Make[MqttPublisher], subscribe: Make[Subscriber]
) -> None:
    publisher = make_publisher(broker.port)
    wait_until(lambda: publisher.connected)
    publisher.publish(event(1))
    wait_until(lambda: publisher.pending == 0)  # so the status before it is there too
    late = subscribe(broker.port)
    wait_until(lambda: late.payloads(STATUS_TOPIC))
    assert set(late.payloads(STATUS_TOPIC)) == {b"online"}
    assert late.on(STATUS_TOPIC)[0].retained


def test_stop_delivers_everything_and_then_says_offline(
    broker: AnyBroker, make_publisher: Make[MqttPublisher], subscribe: Make[Subscriber]
) -> None:
    watcher = subscribe(broker.port)
    publisher = make_publisher(broker.port)
    wait_until(lambda: publisher.connected)
    for seq in range(50):
        publisher.publish(event(seq))
    publisher.stop(30)
    wait_until(lambda: watcher.payloads(STATUS_TOPIC)[-1:] == [b"offline"])
    assert watcher.seqs() == list(range(50))
    # Once: a last will after a missing goodbye would be a second one.
    assert watcher.payloads(STATUS_TOPIC) == [b"online", b"offline"]
    assert watcher.messages[-1].topic == STATUS_TOPIC
    assert not publisher.alive
    late = subscribe(broker.port)
    wait_until(lambda: late.payloads(STATUS_TOPIC))
    assert set(late.payloads(STATUS_TOPIC)) == {b"offline"}  # amqtt sends what it retains twice
    assert late.on(STATUS_TOPIC)[0].retained


def test_last_will_speaks_for_a_killed_process(broker: AnyBroker, subscribe: Make[Subscriber]) -> None:
    watcher = subscribe(broker.port)
    with subprocess.Popen(
        [sys.executable, "-c", KILLED_CHILD, str(broker.port), NODE], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "connected\n"
        wait_until(lambda: watcher.payloads(STATUS_TOPIC) == [b"online"])
        os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: watcher.payloads(STATUS_TOPIC) == [b"online", b"offline"])
    late = subscribe(broker.port)
    wait_until(lambda: late.payloads(STATUS_TOPIC))
    assert set(late.payloads(STATUS_TOPIC)) == {b"offline"}  # amqtt sends what it retains twice
    assert late.on(STATUS_TOPIC)[0].retained


def test_events_arrive_in_order_and_are_not_retained(
    broker: AnyBroker, make_publisher: Make[MqttPublisher], subscribe: Make[Subscriber]
) -> None:
    watcher = subscribe(broker.port)
    publisher = make_publisher(broker.port)
    wait_until(lambda: publisher.connected)
    for seq in range(200):
        publisher.publish(event(seq))
    wait_until(lambda: len(watcher.on(EVENTS_TOPIC)) == 200)
    arrived = watcher.on(EVENTS_TOPIC)
    assert [message.body["seq"] for message in arrived] == list(range(200))
    assert not any(message.body["replayed"] for message in arrived)
    assert all(message.body["published_at"].endswith("Z") for message in arrived)
    assert {message.qos for message in arrived} == {1}
    wait_until(lambda: publisher.pending == 0)
    late = subscribe(broker.port)
    wait_until(lambda: late.payloads(STATUS_TOPIC))
    assert late.on(EVENTS_TOPIC) == []


def test_of_a_state_the_newest_is_retained(
    broker: AnyBroker, make_publisher: Make[MqttPublisher], subscribe: Make[Subscriber]
) -> None:
    publisher = make_publisher(broker.port)
    for expression in ("unknown", "neutral", "happiness"):
        publisher.publish(state(expression))
    publisher.publish(event(1))
    wait_until(lambda: publisher.connected and publisher.pending == 0)
    late = subscribe(broker.port)
    wait_until(lambda: late.on(STATE_TOPIC))
    assert {message.body["expression"] for message in late.on(STATE_TOPIC)} == {"happiness"}
    assert late.on(STATE_TOPIC)[0].retained


def test_stop_twice_and_publish_after_it(broker: AnyBroker, make_publisher: Make[MqttPublisher]) -> None:
    publisher = make_publisher(broker.port)
    wait_until(lambda: publisher.connected)
    publisher.stop(30)
    publisher.stop(30)
    publisher.publish(event(1))  # too late, but no error
    assert publisher.pending == 1

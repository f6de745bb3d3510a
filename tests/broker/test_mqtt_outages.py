"""Brokers that are away, restart, refuse or do not answer."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from realbrokers import (
    EVENTS_TOPIC,
    QUICK,
    SECRET,
    STATE_TOPIC,
    STATUS_TOPIC,
    Make,
    Mosquitto,
    Received,
    Subscriber,
    event,
    free_port,
    plain_port,
    said,
    state,
    wait_until,
)

from edge_fer.broker import EmbeddedBroker
from edge_fer.login import BrokerAddress, TlsFiles
from edge_fer.messages import Message
from edge_fer.mqtt.control import Patience
from edge_fer.mqtt.publisher import MqttPublisher
from edge_fer.outbox.outbox import Outbox
from edge_fer.outbox.settings import OutboxSettings

UNHURRIED = replace(QUICK, retry_min_s=30.0, retry_max_s=30.0)
"""A first connection that took longer than retry_min_s is logged with that time, as after an outage."""


def test_mosquitto_is_spoken_to_in_mqtt_5(
    mosquitto: Mosquitto, make_publisher: Make[MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    publisher = make_publisher(mosquitto.port, patience=UNHURRIED)
    wait_until(lambda: publisher.connected)
    assert said(caplog, "connected to") == [f"connected to mqtt://127.0.0.1:{mosquitto.port} (MQTT 5)"]
    assert "p5, c1" in mosquitto.log()  # its own view: protocol 5, clean start


def test_embedded_broker_is_spoken_to_in_mqtt_311(
    embedded: EmbeddedBroker, make_publisher: Make[MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    publisher = make_publisher(embedded.port, patience=UNHURRIED)
    wait_until(lambda: publisher.connected)
    assert said(caplog, "") == [f"connected to {embedded.url} (MQTT 3.1.1)"]


def test_broker_without_an_answer_to_mqtt_5_gets_311(
    make_publisher: Make[MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    """What amqtt itself does with a last will in an MQTT 5 CONNECT."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        seen: list[int] = []

        def serve() -> None:
            kept = []
            for _ in range(2):
                client, _address = server.accept()
                kept.append(client)
                seen.append(client.recv(1000)[8])
            kept[-1].sendall(bytes([0x20, 2, 0, 0]))
            closed.wait()
            for client in kept:
                client.close()

        closed = threading.Event()
        thread = threading.Thread(target=serve)
        thread.start()
        publisher = make_publisher(server.getsockname()[1], patience=Patience(0.05, 0.1, answer_s=2.0))
        wait_until(lambda: publisher.connected)
        assert seen == [5, 4]
        assert len(said(caplog, "(MQTT 3.1.1)")) == 1
        publisher.stop(0.5)
        closed.set()
        thread.join()


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x01\x00\x02\x02F"]
)
def test_something_that_is_no_broker_is_told_once(
    make_publisher: Make[MqttPublisher], caplog: pytest.LogCaptureFixture, answer: bytes
) -> None:
    attempts = []
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while not ended.is_set():
                client, _address = server.accept()
                with client:
                    client.recv(1000)
                    client.sendall(answer)
                attempts.append(1)

        thread = threading.Thread(target=serve)
        thread.start()
        publisher = make_publisher(server.getsockname()[1])
        wait_until(lambda: len(attempts) > 6)
        assert publisher.alive
        assert not publisher.connected
        publisher.stop(1)
        ended.set()
        socket.create_connection(server.getsockname()).close()
        thread.join()
    assert len(said(caplog, "does not answer as an MQTT broker")) == 1, said(caplog, "")


def test_events_from_before_the_broker_arrive_marked_and_in_order(
    make_mosquitto: Make[Mosquitto],
    make_publisher: Make[MqttPublisher],
    subscribe: Make[Subscriber],
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = make_mosquitto()
    may_connect = threading.Event()
    publisher = make_publisher(broker.port, on_change=lambda _text: may_connect.wait(120))
    for seq in range(100):
        publisher.publish(event(seq))
    publisher.publish(
        Message("edge-fer/node-1/telemetry/throughput", qos=0, retain=False, body={"sample": 1}, kept="live")
    )
    wait_until(lambda: said(caplog, "not reachable"))
    broker.start()
    watcher = subscribe(broker.port)
    may_connect.set()
    wait_until(lambda: publisher.connected)
    wait_until(lambda: len(watcher.on(EVENTS_TOPIC)) == 100)
    publisher.publish(event(100))
    wait_until(lambda: len(watcher.on(EVENTS_TOPIC)) == 101)
    arrived = [message.body for message in watcher.on(EVENTS_TOPIC)]
    assert [body["seq"] for body in arrived] == list(range(101))
    assert [body["replayed"] for body in arrived] == [True] * 100 + [False]
    assert watcher.on("edge-fer/node-1/telemetry/throughput") == []
    assert said(caplog, "not reachable") == [
        f"broker mqtt://127.0.0.1:{broker.port} not reachable (Connection refused); retrying"
    ]


def test_broker_killed_in_the_middle_loses_nothing(
    make_mosquitto: Make[Mosquitto],
    make_publisher: Make[MqttPublisher],
    subscribe: Make[Subscriber],
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = make_mosquitto().start()
    # QoS 0: mosquitto writes to the subscriber at once, before it acknowledges to the publisher, and keeps no window
    # of its own that would die with it. So what is missing here was lost by the publisher.
    watcher = subscribe(broker.port, qos=0)
    subscribed_again = threading.Event()

    def on_change(text: str) -> None:
        if "lost" in text:  # the publisher waits here, or its first events would come before the subscription
            subscribed_again.wait(120)

    publisher = make_publisher(broker.port, on_change=on_change)
    wait_until(lambda: publisher.connected)
    publisher.publish(state("happiness"))

    def kill_at_60(message: Received) -> None:
        if message.topic == EVENTS_TOPIC and message.body["seq"] == 60:
            watcher.on_message = lambda _message: None  # it may come again
            broker.kill()

    watcher.on_message = kill_at_60
    for seq in range(150):
        publisher.publish(event(seq))
    wait_until(lambda: said(caplog, "lost"))
    for seq in range(150, 300):
        publisher.publish(event(seq))
    assert publisher.pending >= 150
    broker.start()
    wait_until(lambda: watcher.subscriptions == 2)
    before = len(watcher.messages)
    subscribed_again.set()
    wait_until(lambda: publisher.pending == 0)
    publisher.publish(event(300))
    wait_until(lambda: watcher.seqs()[-1] == 300)
    assert watcher.seqs() == list(range(301))
    again = watcher.messages[before:]
    assert [message.payload for message in again if message.topic == STATUS_TOPIC] == [b"online"]
    assert [message.body for message in again if message.topic == STATE_TOPIC] == [{"expression": "happiness"}]
    late = [message.body for message in again if message.topic == EVENTS_TOPIC]
    assert [body["replayed"] for body in late] == [True] * (len(late) - 1) + [False]
    assert publisher.dropped == 0
    assert len(said(caplog, "lost (connection closed)")) == 1
    assert all("(MQTT 5)" in text for text in said(caplog, "connected to"))


def test_states_come_back_after_the_embedded_broker_forgot_them(
    make_publisher: Make[MqttPublisher], subscribe: Make[Subscriber]
) -> None:
    port = free_port()
    publisher = make_publisher(port)
    publisher.publish(state("sadness"))
    for _ in range(2):
        with EmbeddedBroker(port) as broker:
            wait_until(lambda: publisher.connected)
            watcher = subscribe(broker.port)
            wait_until(lambda: watcher.payloads(STATE_TOPIC))  # noqa: B023 - called at once
            wait_until(lambda: watcher.payloads(STATUS_TOPIC))  # noqa: B023
            assert watcher.on(STATE_TOPIC)[0].body == {"expression": "sadness"}
            assert set(watcher.payloads(STATUS_TOPIC)) == {b"online"}
            watcher.close()
        wait_until(lambda: not publisher.connected)


def test_full_queue_drops_the_oldest_and_counts(
    make_mosquitto: Make[Mosquitto],
    make_publisher: Make[MqttPublisher],
    subscribe: Make[Subscriber],
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = make_mosquitto()
    may_connect = threading.Event()
    publisher = make_publisher(
        broker.port, outbox=Outbox(OutboxSettings(max_events=10)), on_change=lambda _text: may_connect.wait(120)
    )
    for seq in range(25):
        publisher.publish(event(seq))
    assert (publisher.pending, publisher.dropped) == (10, 15)
    wait_until(lambda: said(caplog, "not reachable"))
    broker.start()
    watcher = subscribe(broker.port)
    may_connect.set()
    wait_until(lambda: len(watcher.on(EVENTS_TOPIC)) == 10)
    assert watcher.seqs() == list(range(15, 25))


def test_password_is_used_and_never_logged(
    with_passwords: Mosquitto, make_publisher: Make[MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    broker = with_passwords.start()
    publisher = make_publisher(broker.port, user="cam", password=SECRET)
    wait_until(lambda: publisher.connected)
    publisher.publish(event(1))
    wait_until(lambda: publisher.pending == 0)
    publisher.stop(30)
    assert said(caplog, "connected to mqtt://cam@127.0.0.1:")
    assert not [record for record in caplog.records if SECRET in record.getMessage() or SECRET in repr(record.args)]


def test_wrong_password_is_told_once_and_tried_on(
    with_passwords: Mosquitto,
    make_publisher: Make[MqttPublisher],
    subscribe: Make[Subscriber],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = with_passwords.start()
    wrong = "wrong-" + SECRET
    publisher = make_publisher(broker.port, user="cam", password=wrong)
    publisher.publish(event(1))
    wait_until(lambda: broker.log().count("not authorised") >= 3)
    assert publisher.alive
    assert not publisher.connected
    refused = said(caplog, "refused")
    assert len(refused) == 1, refused
    assert "check broker user and password" in refused[0]
    assert broker.log().count(" as edge-fer-node-1 (p2") == 0  # a refused password is no reason for 3.1.1
    subprocess.run(["mosquitto_passwd", "-b", str(tmp_path / "passwords"), "cam", wrong], check=True)
    broker.kill()
    broker.start()
    watcher = subscribe(broker.port, user="cam", password=wrong)
    wait_until(lambda: publisher.connected and publisher.pending == 0)
    assert said(caplog, "connected to")
    assert watcher.seqs() in ([], [1])  # it may have come before the subscription
    assert SECRET not in caplog.text


def test_stop_with_a_wrong_password_returns(
    with_passwords: Mosquitto, make_publisher: Make[MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    broker = with_passwords.start()
    publisher = make_publisher(broker.port, user="cam", password="wrong-" + SECRET, patience=Patience(30, 60))
    publisher.publish(event(1))
    wait_until(lambda: said(caplog, "refused"))
    publisher.stop(20)  # it would wait for 30 s
    assert not publisher.alive
    assert said(caplog, "1 events were not delivered")


def test_stop_returns_from_a_broker_that_hangs(
    mosquitto: Mosquitto,
    make_publisher: Make[MqttPublisher],
    subscribe: Make[Subscriber],
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert mosquitto.process is not None
    watcher = subscribe(mosquitto.port)
    publisher = make_publisher(mosquitto.port)
    wait_until(lambda: watcher.payloads(STATUS_TOPIC) == [b"online"])
    mosquitto.process.send_signal(19)  # SIGSTOP
    for seq in range(100):
        publisher.publish(event(seq))
    publisher.stop(1)
    wait_until(lambda: not publisher.alive)
    assert said(caplog, "events were not delivered")
    mosquitto.process.send_signal(18)  # SIGCONT
    wait_until(lambda: watcher.payloads(STATUS_TOPIC)[-1] == b"offline")  # the last will


def test_stop_while_the_broker_never_answers(make_publisher: Make[MqttPublisher]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts in the kernel, and that is all
        publisher = make_publisher(server.getsockname()[1], patience=Patience(answer_s=60))
        publisher.publish(event(1))
        publisher.stop(0.5)
        wait_until(lambda: not publisher.alive)


def test_stop_right_after_start_delivers(
    mosquitto: Mosquitto, make_publisher: Make[MqttPublisher], subscribe: Make[Subscriber]
) -> None:
    watcher = subscribe(mosquitto.port)
    publisher = make_publisher(mosquitto.port)
    for seq in range(30):
        publisher.publish(event(seq))
    publisher.stop(30)
    wait_until(lambda: watcher.payloads(STATUS_TOPIC)[-1:] == [b"offline"])
    assert watcher.seqs() == list(range(30))


def test_the_broker_s_reason_for_a_disconnection_is_told(
    make_publisher: Make[MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    """mosquitto tells it from 2.0.12 on, so this is a broker of three packets."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        publisher = make_publisher(server.getsockname()[1], patience=Patience(30, 60))
        client, _address = server.accept()
        with client:
            client.recv(1000)
            client.sendall(bytes([0x20, 3, 0, 0, 0]))  # CONNACK
            client.sendall(bytes([0xE0, 2, 0x8E, 0]))  # DISCONNECT, session taken over
            wait_until(
                lambda: said(
                    caplog,
                    "lost (Session taken over: is a program of another kind connected as this client?); retrying",
                )
            )
        publisher.stop(30)


def test_status_names_the_run(mosquitto: Mosquitto, make_publisher: Make[MqttPublisher]) -> None:
    """A subscriber of MQTT 5 can tell whose status it is."""
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

    publisher = make_publisher(mosquitto.port)
    wait_until(lambda: publisher.connected)
    got = []
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.on_connect = lambda *_: client.subscribe(STATUS_TOPIC, 1)
    client.on_message = lambda _client, _data, message: got.append((message.payload, message.properties.UserProperty))
    client.connect("127.0.0.1", mosquitto.port)
    client.loop_start()
    wait_until(lambda: got)
    client.disconnect()
    client.loop_stop()
    assert got == [(b"online", [("boot_id", "boot-a")])]


def test_an_idle_publisher_uses_no_processor(mosquitto: Mosquitto, make_publisher: Make[MqttPublisher]) -> None:
    """A busy loop would take all of this time; the limit is for a loaded machine."""
    publisher = make_publisher(mosquitto.port, keepalive_s=30)
    wait_until(lambda: publisher.connected)
    time.sleep(0.3)
    used_s = time.process_time()
    time.sleep(1.2)
    assert time.process_time() - used_s < 0.6


def test_quick_patience_stays_in_its_limits() -> None:
    for failures in range(1, 40):
        for patience in (QUICK, Patience()):
            assert patience.retry_min_s <= patience.pause_s(failures) <= patience.retry_max_s


def test_events_arrive_over_tls(
    with_tls: Mosquitto, make_publisher: Make[MqttPublisher], subscribe: Make[Subscriber], tmp_path: Path
) -> None:
    watcher = subscribe(plain_port(with_tls))
    publisher = make_publisher(with_tls.port, tls=True, tls_files=TlsFiles(tmp_path / "ca.pem"))
    for seq in range(200):
        publisher.publish(event(seq))
    publisher.stop(30)
    wait_until(lambda: watcher.payloads(STATUS_TOPIC) == [b"online", b"offline"])
    assert watcher.seqs() == list(range(200))


def test_an_unknown_certificate_is_told_once(
    with_tls: Mosquitto, make_publisher: Make[MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    publisher = make_publisher(with_tls.port, tls=True)
    wait_until(lambda: with_tls.log().count("New connection") >= 4)
    [told] = said(caplog, "not reachable")
    assert "certificate is not trusted" in told
    assert "check broker.ca_file" in told
    assert publisher.alive


def test_mqtts_to_a_port_without_tls_and_back(
    with_tls: Mosquitto, make_publisher: Make[MqttPublisher], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encrypted = make_publisher(plain_port(with_tls), tls=True, tls_files=TlsFiles(tmp_path / "ca.pem"))
    wait_until(lambda: said(caplog, f"mqtts://127.0.0.1:{plain_port(with_tls)} not reachable"))
    plain = make_publisher(with_tls.port)
    wait_until(lambda: said(caplog, f"mqtt://127.0.0.1:{with_tls.port} does not answer as an MQTT broker"))
    assert encrypted.alive
    assert plain.alive


def test_stop_of_one_that_never_started() -> None:
    publisher = MqttPublisher(BrokerAddress("127.0.0.1", 1), node="n", boot_id="b")
    publisher.publish(event(1))
    publisher.stop(1)
    assert publisher.pending == 1


def test_lost_events_are_told_once_and_counted_at_the_return(
    mosquitto: Mosquitto, make_publisher: Make[MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.kill()
    publisher = make_publisher(mosquitto.port, outbox=Outbox(OutboxSettings(max_events=3)))
    for seq in range(1, 11):
        publisher.publish(event(seq))
    assert len(said(caplog, "events are lost")) == 1
    mosquitto.start()
    wait_until(lambda: publisher.connected)
    assert "7 events were lost" in said(caplog, "connected to")[0]

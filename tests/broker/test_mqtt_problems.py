"""Logins, certificates, WebSockets, and what a broker refuses: a clear word each, and nothing lost once it is cured."""

from __future__ import annotations

import logging
import signal
import time
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from realbrokers import (
    EVENTS_TOPIC,
    NODE,
    QUICK,
    SECRET,
    STATE_TOPIC,
    STATUS_TOPIC,
    Authority,
    Make,
    Mosquitto,
    Subscriber,
    event,
    free_port,
    plain_port,
    said,
    state,
    wait_until,
)
from scripted import ScriptedBroker

from edge_fer.login import BrokerAddress, Login, TlsFiles, tls_context
from edge_fer.messages import Message
from edge_fer.mqtt.control import Control
from edge_fer.mqtt.link import Link
from edge_fer.mqtt.publisher import MqttPublisher

NOT_AUTHORIZED, QUOTA_EXCEEDED, TOO_LARGE, INVALID_TOPIC = 0x87, 0x97, 0x95, 0x90


def event_on(camera: str, seq: int, text: str = "") -> Message:
    body = {"id": f"boot-{seq}", "seq": seq, "published_at": "", "replayed": False, "text": text}
    return Message(f"edge-fer/{NODE}/camera/{camera}/events", qos=1, retain=False, body=body, kept="every")


def seqs(watcher: Subscriber, camera: str) -> list[int]:
    return [message.body["seq"] for message in watcher.on(f"edge-fer/{NODE}/camera/{camera}/events")]


def test_a_wrong_password_is_cured_without_a_restart(
    with_passwords: Mosquitto,
    make_publisher: Make[MqttPublisher],
    subscribe: Make[Subscriber],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = with_passwords.start()
    watcher = subscribe(broker.port, user="cam", password=SECRET)
    file = tmp_path / "password"
    file.write_text("wrong")
    file.chmod(0o600)
    address = BrokerAddress("127.0.0.1", broker.port, "cam")
    publisher = make_publisher(broker.port, user="cam", login=Login(address, password_file=file, environ={}))
    publisher.publish(event(1))
    wait_until(lambda: publisher.problems)
    assert publisher.problems.keys() == {"broker-login"}
    assert "'cam'" in publisher.problems["broker-login"]
    file.unlink()
    wait_until(lambda: "cannot be read" in publisher.problems["broker-login"])
    file.write_text(f"{SECRET}\n")
    file.chmod(0o600)
    wait_until(lambda: watcher.seqs() == [1])
    wait_until(lambda: publisher.problems == {})  # after health had the time to tell
    assert SECRET not in caplog.text
    assert len(said(caplog, "check broker user and password")) == 1


def test_a_login_that_works_again_is_told_of_before_it_is_forgotten(
    with_passwords: Mosquitto, make_publisher: Make[MqttPublisher], tmp_path: Path
) -> None:
    """Else no subscriber would hear of it: health waited for this connection too."""
    broker = with_passwords.start()
    file = tmp_path / "password"
    file.write_text("wrong")
    file.chmod(0o600)
    login = Login(BrokerAddress("127.0.0.1", broker.port, "cam"), password_file=file, environ={})
    patience = type(QUICK)(**{**vars(QUICK), "told_s": 600.0})
    publisher = make_publisher(broker.port, user="cam", login=login, patience=patience)
    wait_until(lambda: publisher.problems)
    file.write_text(SECRET)
    wait_until(lambda: publisher.connected)
    assert publisher.problems.keys() == {"broker-login"}
    broker.kill()
    wait_until(lambda: publisher.problems == {})  # this outage has another cause


def test_no_connection_is_a_problem_only_after_a_while(
    make_mosquitto: Make[Mosquitto], make_publisher: Make[MqttPublisher]
) -> None:
    broker = make_mosquitto()
    patient = make_publisher(broker.port)
    publisher = make_publisher(
        broker.port, node="node-2", patience=type(QUICK)(**{**vars(QUICK), "unreachable_s": 2.0})
    )
    assert publisher.problems == {}
    wait_until(lambda: publisher.problems)
    assert "not reachable (Connection refused); without a connection for" in publisher.problems["broker-unreachable"]
    assert patient.problems == {}  # it has a minute
    broker.start()
    wait_until(lambda: publisher.connected)
    assert publisher.problems == {}


def tls_problem(publisher: MqttPublisher) -> str:
    wait_until(lambda: "broker-tls" in publisher.problems)
    return publisher.problems["broker-tls"]


def test_a_client_certificate_is_shown(
    authority: Authority, make_tls: Make[Mosquitto], make_publisher: Make[MqttPublisher], subscribe: Make[Subscriber]
) -> None:
    broker = make_tls(more="require_certificate true\nuse_identity_as_username true")
    authority.sign("kitchen")
    folder = authority.folder
    files = TlsFiles(folder / "ca.pem", folder / "kitchen.pem", folder / "kitchen.key")
    watcher = subscribe(plain_port(broker))
    publisher = make_publisher(broker.port, tls=True, tls_files=files)
    publisher.publish(event(1))
    wait_until(lambda: watcher.seqs() == [1])
    assert "u'kitchen'" in broker.log()
    assert publisher.problems == {}


@pytest.mark.parametrize(
    ("days", "signed_by", "told"),
    [(None, "", "wants a certificate of this node"), ("-1", "ca", "expired"), ("2", "other", "who signed")],
)
def test_a_client_certificate_that_is_missing_or_of_no_use_is_told(
    authority: Authority,
    make_tls: Make[Mosquitto],
    make_publisher: Make[MqttPublisher],
    days: str | None,
    signed_by: str,
    told: str,
) -> None:
    broker = make_tls(more="require_certificate true")
    folder = authority.folder
    files = TlsFiles(folder / "ca.pem")
    if days is not None:
        authority.make("other")
        authority.sign("kitchen", by=signed_by, days=days)
        files = TlsFiles(folder / "ca.pem", folder / "kitchen.pem", folder / "kitchen.key")
    publisher = make_publisher(broker.port, tls=True, tls_files=files)
    problem = tls_problem(publisher)
    assert told in problem
    assert "broker.cert_file" in problem


def test_a_board_that_is_slower_than_the_refusal_is_told_of_it_too(
    authority: Authority, make_tls: Make[Mosquitto]
) -> None:
    """Its CONNECT meets a connection that is reset already."""
    broker = make_tls(more="require_certificate true")
    address = BrokerAddress("127.0.0.1", broker.port, tls=True)
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5, reconnect_on_failure=False)
    client.tls_set_context(tls_context(address, TlsFiles(authority.folder / "ca.pem")))
    client.on_socket_open = lambda *_: wait_until(
        lambda: "did not return a certificate" in broker.log()
    )  # before CONNECT
    link, control = Link(client), Control()
    link.open(address, 30)
    while not link.end:
        link.step(control.socket, 1)
    control.close()
    assert link.tls_alert == "TLSV13_ALERT_CERTIFICATE_REQUIRED"


def test_an_expired_certificate_of_the_broker_is_cured_without_a_restart(
    authority: Authority,
    make_tls: Make[Mosquitto],
    make_publisher: Make[MqttPublisher],
    caplog: pytest.LogCaptureFixture,
) -> None:
    authority.sign("old", days="-1")
    broker = make_tls("old")
    publisher = make_publisher(broker.port, tls=True, tls_files=TlsFiles(authority.folder / "ca.pem"))
    publisher.publish(event(1))
    problem = tls_problem(publisher)
    assert "its certificate has expired: renew it at the broker" in problem
    assert "clock says" in problem
    wait_until(lambda: said(caplog, "has expired"))
    broker.kill()
    broker.options = broker.options.replace("old.", "broker.")
    broker.start()
    wait_until(lambda: publisher.connected and publisher.pending == 0)
    wait_until(lambda: publisher.problems == {})


def test_a_certificate_for_another_name_is_told(
    authority: Authority, make_tls: Make[Mosquitto], make_publisher: Make[MqttPublisher]
) -> None:
    authority.sign("named", "DNS:broker.example")
    broker = make_tls("named")
    files = TlsFiles(authority.folder / "ca.pem")
    for at in ("127.0.0.1", "localhost"):
        problem = tls_problem(make_publisher(broker.port, tls=True, at=at, tls_files=files))
        assert f"is for another name than '{at}'" in problem
        assert "broker.url" in problem


def test_an_unknown_authority_is_told(
    authority: Authority, with_tls: Mosquitto, make_publisher: Make[MqttPublisher]
) -> None:
    authority.make("other")
    files = TlsFiles(authority.folder / "other.pem")
    assert "is not trusted" in tls_problem(make_publisher(with_tls.port, tls=True, tls_files=files))


@pytest.fixture
def with_websockets(make_mosquitto: Make[Mosquitto]) -> Mosquitto:
    port = free_port()
    broker = make_mosquitto(f"listener {port}\nprotocol websockets\nallow_anonymous true").start()
    wait_until(lambda: " running" in broker.log())
    if "websockets listen socket" not in broker.log():
        pytest.skip("this mosquitto was built without WebSockets: NOT tested")
    return broker


@pytest.mark.parametrize("path", ["/mqtt", "/"])
def test_events_go_over_websockets(
    with_websockets: Mosquitto, make_publisher: Make[MqttPublisher], subscribe: Make[Subscriber], path: str
) -> None:
    watcher = subscribe(with_websockets.port)
    publisher = make_publisher(plain_port(with_websockets), path=path)
    for seq in range(300):
        publisher.publish(event(seq))
    wait_until(lambda: watcher.seqs() == list(range(300)))
    publisher.stop(30)
    wait_until(lambda: watcher.payloads(STATUS_TOPIC) == [b"online", b"offline"])


def test_events_go_over_websockets_with_tls(
    authority: Authority,
    make_mosquitto: Make[Mosquitto],
    make_publisher: Make[MqttPublisher],
    subscribe: Make[Subscriber],
) -> None:
    folder = authority.folder
    keys = f"cafile {folder}/ca.pem\ncertfile {folder}/broker.pem\nkeyfile {folder}/broker.key"
    port = free_port()
    broker = make_mosquitto(f"listener {port}\nprotocol websockets\n{keys}\nallow_anonymous true").start()
    wait_until(lambda: " running" in broker.log())
    watcher = subscribe(broker.port)
    publisher = make_publisher(port, path="/mqtt", tls=True, tls_files=TlsFiles(folder / "ca.pem"))
    for seq in range(300):
        publisher.publish(event(seq))
    wait_until(lambda: watcher.seqs() == list(range(300)))
    stranger = make_publisher(port, path="/mqtt", tls=True, node="node-2")
    assert "is not trusted" in tls_problem(stranger)


def test_websockets_to_a_port_without_them_is_told(
    mosquitto: Mosquitto, make_publisher: Make[MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    publisher = make_publisher(mosquitto.port, path="/mqtt")
    wait_until(lambda: said(caplog, f"ws://127.0.0.1:{mosquitto.port}/mqtt not reachable"))
    assert publisher.alive


def test_a_topic_that_is_denied_loses_nothing_once_it_is_allowed(
    make_mosquitto: Make[Mosquitto],
    make_publisher: Make[MqttPublisher],
    subscribe: Make[Subscriber],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    acl = tmp_path / "acl"
    allowed = f"topic read edge-fer/#\ntopic readwrite edge-fer/{NODE}/"
    acl.write_text("".join(f"{allowed}{part}\n" for part in ("status", "identity", "camera/hall/#")))
    broker = make_mosquitto(f"allow_anonymous true\nacl_file {acl}").start()
    watcher = subscribe(broker.port)
    publisher = make_publisher(broker.port)
    for seq in range(60):
        publisher.publish(event_on("door", seq))
        publisher.publish(event_on("hall", seq))
    publisher.publish(state("happiness"))
    wait_until(lambda: seqs(watcher, "hall") == list(range(60)))  # others go on
    wait_until(lambda: publisher.problems)
    problem = publisher.problems["broker-refused"]
    wait_until(lambda: STATE_TOPIC in publisher.problems["broker-refused"])
    assert EVENTS_TOPIC in problem
    assert "Not authorized" in problem
    assert "anonymous clients" in problem
    wait_until(lambda: broker.log().count("Denied PUBLISH") >= 26)  # 20 events at once, the state, and then tries
    assert publisher.pending == 60
    assert seqs(watcher, "door") == []
    acl.write_text(f"{allowed}#\n")
    assert broker.process is not None
    broker.process.send_signal(signal.SIGHUP)
    wait_until(lambda: publisher.pending == 0)
    wait_until(lambda: seqs(watcher, "door") == list(range(60)))
    wait_until(lambda: watcher.on(STATE_TOPIC))
    wait_until(lambda: publisher.problems == {})
    assert (publisher.refused, publisher.dropped) == (0, 0)
    told = [record for record in caplog.records if "refuses messages" in record.getMessage()]
    assert sorted(record.getMessage().split(" on ")[1].split()[0] for record in told) == [EVENTS_TOPIC, STATE_TOPIC]
    assert {record.levelno for record in told} == {logging.ERROR}
    assert len(said(caplog, "takes messages on")) == 2


def test_stop_does_not_wait_for_a_topic_that_is_denied(
    make_mosquitto: Make[Mosquitto],
    make_publisher: Make[MqttPublisher],
    subscribe: Make[Subscriber],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    acl = tmp_path / "acl"
    acl.write_text(f"topic read edge-fer/#\ntopic write edge-fer/{NODE}/status\n")
    broker = make_mosquitto(f"allow_anonymous true\nacl_file {acl}").start()
    watcher = subscribe(broker.port)
    patience = type(QUICK)(**{**vars(QUICK), "hold_min_s": 300.0, "hold_max_s": 300.0})
    publisher = make_publisher(broker.port, patience=patience)
    publisher.publish(event(1))
    wait_until(lambda: said(caplog, "refuses messages on " + EVENTS_TOPIC))
    publisher.stop(60)
    assert not publisher.alive
    assert said(caplog, "1 events were not delivered")
    wait_until(lambda: watcher.payloads(STATUS_TOPIC) == [b"online", b"offline"])


def test_a_used_up_quota_is_waited_for(make_publisher: Make[MqttPublisher], caplog: pytest.LogCaptureFixture) -> None:
    used_up = True
    answers: list[float] = []

    def puback(topic: str, _payload: bytes) -> int:
        if topic != EVENTS_TOPIC:
            return 0
        answers.append(time.monotonic())
        return QUOTA_EXCEEDED if used_up else 0

    with ScriptedBroker(puback).running() as broker:
        publisher = make_publisher(broker.port)
        for seq in range(30):
            publisher.publish(event(seq))
        wait_until(lambda: len(answers) >= 22)  # a window of 20, and then one at a time
        assert publisher.problems.keys() == {"broker-quota"}
        assert publisher.pending == 30
        assert len(said(caplog, "refuses messages")) == 1
        used_up = False
        wait_until(lambda: publisher.pending == 0)
        wait_until(lambda: publisher.problems == {})
        publisher.stop(30)
    events = [payload for topic, payload in broker.taken if topic == EVENTS_TOPIC]
    assert [int(payload.split(b'"seq":')[1].split(b",")[0]) for payload in events] == list(range(30))


@pytest.mark.parametrize(
    ("code", "problem"),
    # mosquitto sends the first although MQTT 5 does not have it for PUBACK; paho cannot read it, and closes.
    [(TOO_LARGE, "broker-too-large"), (INVALID_TOPIC, "broker-refused")],
)
def test_what_a_broker_can_never_take_is_counted(make_publisher: Make[MqttPublisher], code: int, problem: str) -> None:
    with ScriptedBroker(
        lambda topic, payload: code * (topic == EVENTS_TOPIC and b'"seq":1,' in payload)
    ).running() as b:
        publisher = make_publisher(b.port)
        publisher.publish(event_on("hall", 1))
        publisher.publish(event(1))
        wait_until(lambda: publisher.pending == 0)
        assert publisher.problems.keys() == {problem}
        assert EVENTS_TOPIC in publisher.problems[problem]
        assert publisher.refused == 1
        publisher.publish(event(2))
        wait_until(lambda: publisher.problems == {})
        publisher.stop(30)


def test_what_is_larger_than_the_broker_says_is_not_sent(
    make_mosquitto: Make[Mosquitto], make_publisher: Make[MqttPublisher], subscribe: Make[Subscriber]
) -> None:
    broker = make_mosquitto("allow_anonymous true\nmax_packet_size 2000").start()
    watcher = subscribe(broker.port)
    publisher = make_publisher(broker.port)
    publisher.publish(event_on("door", 1, "x" * 3000))
    publisher.publish(event_on("hall", 2, "x" * 100))
    publisher.publish(Message(f"edge-fer/{NODE}/info", 1, retain=True, body={"text": "x" * 3000}, kept="newest"))
    wait_until(lambda: publisher.pending == 0)
    wait_until(lambda: seqs(watcher, "hall") == [2])
    problem = publisher.problems["broker-too-large"]
    assert EVENTS_TOPIC in problem
    assert f"edge-fer/{NODE}/info" in problem
    assert "at most 2000" in problem
    assert publisher.refused == 1
    assert publisher.connected
    assert broker.log().count(" as edge-fer-node-1-boot-a (p2") == 0
    assert seqs(watcher, "door") == []


def test_what_is_above_the_size_limit_of_mosquitto_does_not_hold_up_the_rest(
    make_mosquitto: Make[Mosquitto], make_publisher: Make[MqttPublisher], subscribe: Make[Subscriber]
) -> None:
    broker = make_mosquitto("allow_anonymous true\nmessage_size_limit 500").start()
    watcher = subscribe(broker.port)
    publisher = make_publisher(broker.port)
    for seq in range(40):
        publisher.publish(event_on("hall", seq, "x" * 1000 * (seq in (5, 30))))
    wait_until(lambda: publisher.pending == 0)
    wait_until(lambda: sorted(set(seqs(watcher, "hall"))) == [seq for seq in range(40) if seq not in (5, 30)])
    assert publisher.refused == 2
    assert list(dict.fromkeys(seqs(watcher, "hall"))) == [seq for seq in range(40) if seq not in (5, 30)]


def test_at_most_five_topics_are_named(make_publisher: Make[MqttPublisher], caplog: pytest.LogCaptureFixture) -> None:
    with ScriptedBroker(lambda topic, _payload: NOT_AUTHORIZED * ("/camera/" in topic)).running() as broker:
        publisher = make_publisher(broker.port)
        for number in range(8):
            publisher.publish(event_on(f"c{number}", 1))
        wait_until(lambda: "and 3 more" in publisher.problems.get("broker-refused", ""))
        text = publisher.problems["broker-refused"]
        assert text.count("/events") == 5
        assert text.index("check what it allows to anonymous clients") < text.index("edge-fer/")
        assert len(said(caplog, "refuses messages")) == 5
        publisher.stop(30)


def test_answers_that_are_refused_are_given_up_and_do_not_pile_up(make_publisher: Make[MqttPublisher]) -> None:
    """Whoever may give commands chooses where the answers go."""
    refused: list[str] = []

    def puback(topic: str, _payload: bytes) -> int:
        if not topic.startswith("answers/"):
            return 0
        refused.append(topic)
        return NOT_AUTHORIZED

    with ScriptedBroker(puback).running() as broker:
        publisher = make_publisher(broker.port)
        wait_until(lambda: publisher.connected)
        for number in range(300):
            publisher.publish(Message(f"answers/{number}", qos=1, retain=False, body={"ok": True}))
            wait_until(lambda number=number: len(refused) == number + 1)
        publisher.publish(event(1))
        wait_until(lambda: publisher.pending == 0)
        assert " and 95 more" in publisher.problems["broker-refused"]
        publisher.stop(5)
        assert broker.goodbyes == 1


def test_a_refused_subscription_is_told(make_publisher: Make[MqttPublisher]) -> None:
    commands = f"edge-fer/{NODE}/cmd/+"
    denied = [commands]
    broker = ScriptedBroker(suback=lambda topic: NOT_AUTHORIZED if topic in denied else 1)
    with broker.running():
        publisher = make_publisher(broker.port, subscriptions={commands: lambda _message: None})
        wait_until(lambda: publisher.problems)
        assert f"{commands} (to be read)" in publisher.problems["broker-refused"]
        assert publisher.connected
        publisher.stop(30)


def test_an_identifier_that_is_too_long_for_an_old_broker_becomes_a_short_one(
    make_publisher: Make[MqttPublisher],
) -> None:
    def connack(body: bytes) -> bytes:
        if body[6] != 4:
            return bytes([0x20, 2, 0, 1])  # unacceptable protocol version
        length = int.from_bytes(body[10:12], "big")
        return bytes([0x20, 2, 0, 0 if length <= 23 else 2])

    broker = ScriptedBroker(connack=connack)
    with broker.running():
        publisher = make_publisher(broker.port, boot_id="boot-long")
        wait_until(lambda: publisher.connected)
        assert [int.from_bytes(body[10:12], "big") for body in broker.connects if body[6] == 4] == [25, 23]
        publisher.stop(1)


def test_why_a_broker_closes_the_connection_is_a_problem(make_publisher: Make[MqttPublisher]) -> None:
    closing = [True]

    def connack(_body: bytes) -> bytes:
        return bytes([0x20, 3, 0, 0, 0]) + bytes([0xE0, 2, QUOTA_EXCEEDED, 0]) * closing[0]

    with ScriptedBroker(connack=connack).running() as broker:
        publisher = make_publisher(broker.port)
        wait_until(lambda: publisher.problems)
        assert "closed the connection (Quota exceeded)" in publisher.problems["broker-quota"]
        closing[0] = False
        wait_until(lambda: publisher.connected and publisher.problems == {})
        publisher.stop(30)


def test_a_subscription_that_dynamic_security_denies_is_told(
    make_mosquitto: Make[Mosquitto], make_publisher: Make[MqttPublisher], tmp_path: Path
) -> None:
    """mosquitto's ACL files never refuse a subscription, they only withhold what comes; its plugin does."""
    plugins = list(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"))
    if not plugins:
        pytest.skip("mosquitto_dynamic_security.so is not installed on this machine: NOT tested")
    commands = f"edge-fer/{NODE}/cmd/#"
    deny = f'{{"acltype":"subscribePattern","topic":"{commands}","priority":0,"allow":false}}'
    everything = '{"publishClientSend":true,"publishClientReceive":true,"subscribe":true,"unsubscribe":true}'
    (tmp_path / "security.json").write_text(
        f'{{"defaultACLAccess":{everything},"clients":[],"roles":[{{"rolename":"r","acls":[{deny}]}}],'
        '"groups":[{"groupname":"g","roles":[{"rolename":"r"}],"clients":[]}],"anonymousGroup":"g"}'
    )
    options = f"allow_anonymous true\nplugin {plugins[0]}\nplugin_opt_config_file {tmp_path}/security.json"
    broker = make_mosquitto(options).start()
    publisher = make_publisher(broker.port, subscriptions={f"edge-fer/{NODE}/cmd/+": lambda _message: None})
    wait_until(lambda: publisher.problems)
    assert "cmd/+ (to be read)" in publisher.problems["broker-refused"]
    assert "Not authorized" in publisher.problems["broker-refused"]
    assert publisher.connected

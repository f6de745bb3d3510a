"""deploy/mosquitto/ on a real mosquitto: who may do what, what survives, what a reload does."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from realbrokers import QUICK, free_port, wait_until
from securedbroker import SecuredMosquitto, open_folder, require_programs, setup

from edge_fer.channels import CHANNELS, COMMAND, topic
from edge_fer.login import BrokerAddress, Login, TlsFiles
from edge_fer.mqtt.publisher import MqttPublisher

WRONG = "wrong-password"


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that the user mosquitto may enter, unlike those of pytest."""
    with open_folder() as path:
        yield path


@pytest.fixture(scope="module")
def broker() -> Iterator[SecuredMosquitto]:
    require_programs()
    with open_folder() as path:
        one = SecuredMosquitto(path, ["node-a", "node-b"]).start()
        yield one
        one.kill()


@pytest.fixture
def secured(folder: Path) -> Iterator[SecuredMosquitto]:
    """One for those who kill it."""
    require_programs()
    one = SecuredMosquitto(folder, ["node-a"]).start()
    yield one
    one.kill()


def publish(broker: SecuredMosquitto, user: str, where: str, what: str = "x", *more: str) -> str:
    """What mosquitto_pub complains of; empty where the broker took it."""
    command = ["mosquitto_pub", *broker.login(user), "-q", "1", "-t", where, "-m", what, *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def may_write(broker: SecuredMosquitto, user: str, where: str) -> bool:
    complaint = publish(broker, user, where)
    assert complaint == "" or "Not authorized" in complaint, complaint
    return not complaint


class Listener:
    """mosquitto_sub of a user; what it was given can be read at any time."""

    def __init__(self, broker: SecuredMosquitto, user: str, *topics: str) -> None:
        filters = [word for one in topics for word in ("-t", one)]
        command = ["mosquitto_sub", *broker.login(user), "-q", "1", "-d", "-F", "\x01%t %p", *filters]
        self._path = broker.folder / f"heard-by-{user}-{time.monotonic_ns()}"
        with self._path.open("wb") as out:
            self._process = subprocess.Popen(["stdbuf", "-oL", *command], stdout=out, stderr=out)
        wait_until(lambda: "SUBACK" in self._path.read_text())

    @property
    def heard(self) -> list[str]:
        return [line[1:] for line in self._path.read_text().splitlines() if line.startswith("\x01")]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def heard_by(broker: SecuredMosquitto, user: str, sent: list[str]) -> set[str]:
    """On which of these topics the user hears something; those who may send all of them, and a last one for the end."""
    listener = Listener(broker, user, "#", f"edge-fer/{user}/cmd/+", "edge-fer/#", "homeassistant/#")
    sender_of = {"edge-fer/node-a": "node-a", "edge-fer/node-b": "node-b", "homeassistant": "homeassistant"}
    for where in sent:
        sender = "dashboard" if "/cmd/" in where else next(who for part, who in sender_of.items() if part in where)
        assert publish(broker, sender, where) == "", where
    last = {"node-a": "edge-fer/node-a/cmd/last", "node-b": "edge-fer/node-b/cmd/last"}.get(user, "edge-fer/z/cmd/last")
    assert publish(broker, "dashboard", last) == ""
    wait_until(lambda: any(line.startswith(last) for line in listener.heard))
    listener.close()
    return {line.split(" ")[0] for line in listener.heard} - {last}


OWN = [
    "edge-fer/node-a/cmd/pause",
    "edge-fer/node-a/status",
    "edge-fer/node-a/identity",
    "edge-fer/node-a/camera/door/status",
    "edge-fer/node-a/camera/door/state",
    "edge-fer/node-a/alert/crying",
    "homeassistant/device/edge-fer-node-a/config",
]
ELSE = [
    "edge-fer/node-a/camera/door/events",
    "edge-fer/node-a/health",
    "edge-fer/node-a/alert/crying/events",
    "edge-fer/node-b/status",
    "edge-fer/node-b/cmd/pause",
    "edge-fer/node-b/identity",
    "edge-fer/node-b/camera/door/events",
    "edge-fer/node-b/alert/crying",
    "homeassistant/device/edge-fer-node-b/config",
]


def test_a_board_writes_every_channel_of_its_own(broker: SecuredMosquitto) -> None:
    for channel in CHANNELS:
        if channel is not COMMAND:
            assert may_write(broker, "node-a", topic(channel, "node-a", "door")), channel.topic
    assert may_write(broker, "node-a", "homeassistant/device/edge-fer-node-a/config")


@pytest.mark.parametrize(
    "where",
    [
        "edge-fer/node-b/status",
        "edge-fer/node-b/camera/door/events",
        "edge-fer/node-b/cmd/pause",
        "edge-fer/node-b/identity",
        "edge-fer/node-a2/status",
        "edge-fer/status",
        "homeassistant/device/edge-fer-node-b/config",
        "homeassistant/device/edge-fer-node-a/other",
        "homeassistant/status",
        "other/topic",
    ],
)
def test_a_board_writes_nowhere_else(broker: SecuredMosquitto, where: str) -> None:
    assert not may_write(broker, "node-a", where)


def test_a_board_reads_what_concerns_it_and_no_more(broker: SecuredMosquitto) -> None:
    assert heard_by(broker, "node-a", [*OWN, *ELSE, "homeassistant/status"]) == {*OWN, "homeassistant/status"}


def test_a_dashboard_reads_all_boards_and_commands_them(broker: SecuredMosquitto) -> None:
    boards = [where for where in [*OWN, *ELSE] if where.startswith("edge-fer/")]
    assert heard_by(broker, "dashboard", [*boards, "homeassistant/device/edge-fer-z/config"]) == set(boards)
    assert may_write(broker, "dashboard", "edge-fer/node-b/cmd/pause")
    for where in ("edge-fer/node-b/status", "edge-fer/node-b/camera/door/events", "homeassistant/status"):
        assert not may_write(broker, "dashboard", where)


def test_home_assistant_has_its_own_topics_too(broker: SecuredMosquitto) -> None:
    sent = [*OWN, *ELSE, "homeassistant/status"]
    assert heard_by(broker, "homeassistant", sent) == set(sent)
    assert may_write(broker, "homeassistant", "edge-fer/node-a/cmd/pause")
    assert not may_write(broker, "homeassistant", "edge-fer/node-a/status")


def test_a_watcher_only_looks(broker: SecuredMosquitto) -> None:
    boards = [where for where in [*OWN, *ELSE] if where.startswith("edge-fer/")]
    assert heard_by(broker, "watcher", boards) == set(boards)
    for where in ("edge-fer/node-a/cmd/pause", "edge-fer/node-a/status", "homeassistant/status"):
        assert not may_write(broker, "watcher", where)
    listener = Listener(broker, "watcher", "$SYS/broker/version")
    wait_until(lambda: any("mosquitto version" in line for line in listener.heard))
    listener.close()


@pytest.mark.parametrize(("user", "password"), [(None, None), ("node-a", WRONG), ("nobody", WRONG), ("", WRONG)])
def test_nobody_without_the_right_password(broker: SecuredMosquitto, user: str | None, password: str | None) -> None:
    command = ["mosquitto_pub", *broker.login(user, password), "-q", "1", "-t", "edge-fer/node-a/status", "-m", "x"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "not authorized" in (done.stdout + done.stderr).lower()


def test_the_port_speaks_nothing_but_tls(broker: SecuredMosquitto) -> None:
    options = [word for word in broker.login("node-a") if word not in ("--cafile", str(broker.ca_file))]
    command = ["mosquitto_pub", *options, "-q", "1", "-t", "edge-fer/node-a/status", "-m", "x"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_old_tls_is_refused(broker: SecuredMosquitto) -> None:
    old = ssl.create_default_context(cafile=str(broker.ca_file))
    old.minimum_version, old.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_1
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.tls_set_context(old)
    with pytest.raises(ssl.SSLError):
        client.connect("localhost", broker.port)


def test_a_board_of_edge_fer_gets_in_with_what_the_script_made(broker: SecuredMosquitto) -> None:
    """The certificate is checked with the strictness that Python 3.13 has by itself."""
    strict = ssl.create_default_context(cafile=str(broker.ca_file))
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.tls_set_context(strict)
    client.connect("localhost", broker.port)
    client.disconnect()
    address = BrokerAddress("localhost", broker.port, "node-a", tls=True)
    publisher = MqttPublisher(
        address,
        node="node-a",
        boot_id="boot-a",
        login=Login(address, password_file=broker.password_file("node-a"), environ={}),
        tls_files=TlsFiles(ca=broker.ca_file),
        patience=QUICK,
    )
    publisher.start()
    wait_until(lambda: publisher.connected)
    publisher.stop(30)
    assert publisher.refused == 0


@pytest.mark.parametrize(("size", "taken"), [(262_144 - 200, True), (262_145, False)])
def test_a_packet_beyond_measure_is_not_taken(broker: SecuredMosquitto, size: int, *, taken: bool) -> None:
    """Topic and header take less than 200 bytes. In MQTT 3.1.1, whose clients are not told the limit before."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311, reconnect_on_failure=False)
    client.username_pw_set("node-a", broker.password("node-a"))
    client.tls_set_context(ssl.create_default_context(cafile=str(broker.ca_file)))
    ends: list[str] = []
    client.on_publish = lambda *_: ends.append("taken")
    client.on_disconnect = lambda *_: ends.append("thrown out")
    client.on_connect = lambda *_: client.publish("edge-fer/node-a/test", b"x" * size, qos=1)
    client.connect("localhost", broker.port)
    client.loop_start()
    wait_until(lambda: ends)
    leave(client)
    assert ends[0] == ("taken" if taken else "thrown out")


def test_the_broker_has_nothing_to_complain_of(broker: SecuredMosquitto) -> None:
    """But that homeassistant/status is the same for all, which is meant so."""
    found = [line for line in broker.log().splitlines() if "Error" in line or "Warning" in line]
    expected = ("homeassistant/status", "rror: Protocol", "SSL", "OpenSSL", "protocol error", "socket error")
    assert [line for line in found if not any(part in line for part in expected)] == []


def durable(broker: SecuredMosquitto) -> tuple[paho.Client, list[bytes]]:
    """A subscriber with a session, and what it gets."""
    client = paho.Client(CallbackAPIVersion.VERSION2, "store", protocol=MQTTProtocolVersion.MQTTv5)
    client.username_pw_set("watcher", broker.password("watcher"))
    client.tls_set_context(ssl.create_default_context(cafile=str(broker.ca_file)))
    got: list[bytes] = []
    subscribed: list[object] = []
    client.on_connect = lambda *_: client.subscribe("edge-fer/+/camera/+/events", 1)
    client.on_subscribe = lambda *_: subscribed.append(1)
    client.on_message = lambda _client, _data, message: got.append(message.payload)
    session = Properties(PacketTypes.CONNECT)
    session.SessionExpiryInterval = 3600
    client.connect("localhost", broker.port, clean_start=False, properties=session)
    client.loop_start()
    wait_until(lambda: subscribed)
    return client, got


def leave(client: paho.Client) -> None:
    client.disconnect()
    client.loop_stop()


def test_a_kill_keeps_what_is_retained_and_what_a_session_waits_for(secured: SecuredMosquitto) -> None:
    leave(durable(secured)[0])
    for number in range(20):
        assert publish(secured, "node-a", "edge-fer/node-a/camera/door/events", str(number)) == ""
    assert publish(secured, "node-a", "edge-fer/node-a/health", "well", "-r") == ""
    # The last acknowledgement goes out just before the save that keeps its message.
    database = secured.folder / "data" / "mosquitto.db"
    wait_until(lambda: database.exists() and b"well" in database.read_bytes())
    secured.kill()
    secured.start()
    client, got = durable(secured)
    wait_until(lambda: len(got) >= 20)
    leave(client)
    assert [int(payload) for payload in got] == list(range(20))
    late = Listener(secured, "watcher", "edge-fer/node-a/health")
    wait_until(lambda: late.heard == ["edge-fer/node-a/health well"])
    late.close()


def test_without_saving_on_changes_a_kill_loses_all_of_it(folder: Path) -> None:
    """Why the line is there: what Debian's own configuration does."""
    require_programs()
    broker = SecuredMosquitto(folder, ["node-a"], {"autosave_on_changes true": "", "autosave_interval 1": ""}).start()
    leave(durable(broker)[0])
    for number in range(20):
        assert publish(broker, "node-a", "edge-fer/node-a/camera/door/events", str(number)) == ""
    broker.kill()
    broker.start()
    client, got = durable(broker)
    assert publish(broker, "node-a", "edge-fer/node-a/camera/door/events", "last") == ""
    wait_until(lambda: got)
    leave(client)
    broker.kill()
    assert got == [b"last"]


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def served_certificate(broker: SecuredMosquitto) -> bytes:
    """What the broker shows, checked against the authority and the name."""
    context = ssl.create_default_context(cafile=str(broker.ca_file))
    with (
        socket.create_connection(("127.0.0.1", broker.port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as encrypted,
    ):
        return encrypted.getpeercert(binary_form=True) or b""


def test_a_board_added_later_gets_in_after_a_reload(secured: SecuredMosquitto) -> None:
    """As the user that mosquitto has become, it must still be able to read the file."""
    setup("--node", "node-c", folder=secured.keys)
    secured.process.send_signal(signal.SIGHUP)
    wait_until(lambda: publish(secured, "node-c", "edge-fer/node-c/status") == "")
    assert not may_write(secured, "node-c", "edge-fer/node-a/status")


def test_a_board_that_was_stolen_is_thrown_out_by_a_reload(secured: SecuredMosquitto) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
    client.username_pw_set("node-a", secured.password("node-a"))
    client.tls_set_context(ssl.create_default_context(cafile=str(secured.ca_file)))
    told: list[str] = []
    client.on_connect = lambda *_: told.append("in")
    client.on_disconnect = lambda *_: told.append("out")
    client.connect("localhost", secured.port)
    client.loop_start()
    wait_until(lambda: told == ["in"])
    subprocess.run(["mosquitto_passwd", "-D", str(secured.keys / "passwords"), "node-a"], check=True)
    secured.process.send_signal(signal.SIGHUP)
    wait_until(lambda: told == ["in", "out"])
    leave(client)
    setup("--node", "node-a", folder=secured.keys)
    secured.process.send_signal(signal.SIGHUP)
    wait_until(lambda: publish(secured, "node-a", "edge-fer/node-a/status") == "")


def test_a_renewed_certificate_is_served_after_a_reload(secured: SecuredMosquitto) -> None:
    before = served_certificate(secured)
    setup("--renew", folder=secured.keys)
    assert served_certificate(secured) == before
    secured.process.send_signal(signal.SIGHUP)
    wait_until(lambda: served_certificate(secured) != before)


def test_the_listeners_in_comments_work(folder: Path) -> None:
    require_programs()
    plain, web = free_port(), free_port()
    replaced = {
        "#listener 1883 127.0.0.1": f"listener {plain} 127.0.0.1",
        "#listener 9001": f"listener {web} 127.0.0.1",
        **{f"#{name}": name for name in ("protocol websockets", "cafile", "certfile", "keyfile")},
    }
    broker = SecuredMosquitto(folder, ["node-a"], replaced).start()
    wait_until(lambda: listens(plain) and listens(web), 30)  # one after the other
    try:
        for user, password, taken in (("watcher", broker.password("watcher"), True), ("watcher", WRONG, False)):
            for port, transport in ((plain, "tcp"), (web, "websockets")):
                client = paho.Client(CallbackAPIVersion.VERSION2, transport=transport, reconnect_on_failure=False)
                client.username_pw_set(user, password)
                if port == web:
                    client.tls_set_context(ssl.create_default_context(cafile=str(broker.ca_file)))
                answers: list[bool] = []
                client.on_connect = lambda *got, answers=answers: answers.append(not got[3].is_failure)
                client.connect("localhost", port)
                client.loop_start()
                wait_until(lambda answers=answers: answers)
                leave(client)
                assert answers[0] is taken, (port, password)
    finally:
        broker.kill()

"""`edge-fer watch` on real brokers."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.publish as paho_publish
import pytest
from fleet_story import alert, condition, event, info, sees
from realbrokers import STATUS_TOPIC, AnyBroker, Authority, Make, Mosquitto, free_port, wait_until

from edge_fer.capture.backoff import Backoff
from edge_fer.cli import main
from edge_fer.login import BrokerAddress, TlsFiles, tls_context
from edge_fer.messages import Message, message
from edge_fer.mqtt.incoming import Incoming
from edge_fer.mqtt.publisher import MqttPublisher
from edge_fer.mqtt.subscriber import Connection, Subscriber

NODE = "node-1"
WATCH = (sys.executable, "-m", "edge_fer", "watch")


class Watcher:
    """A subscriber that remembers all that it is told."""

    def __init__(self, port: int, host: str = "127.0.0.1", **more: Any) -> None:
        self.messages: list[Incoming] = []
        self.changes: list[Connection] = []
        tls = more.get("tls") is not None
        address = BrokerAddress(host, port, more.pop("user", None), tls)
        self.subscriber = Subscriber(
            address, on_message=self.messages.append, on_change=self.changes.append,
            backoff=Backoff(first_s=0.1, last_s=0.3), **more,
        )  # fmt: skip
        self.subscriber.start()

    def topics(self) -> set[str]:
        return {message.topic for message in list(self.messages)}

    def runs(self) -> list[tuple[str, str | None]]:
        """Each status that was told, and the run that it is of."""
        statuses = [message for message in list(self.messages) if message.topic == STATUS_TOPIC]
        return [(status.payload.decode(), status.properties.get("boot_id")) for status in statuses]

    def told(self) -> str:
        return "\n".join(change.text for change in list(self.changes))


@pytest.fixture
def make_watcher() -> Iterator[Callable[..., Watcher]]:
    made: list[Watcher] = []

    def make(*args: Any, **more: Any) -> Watcher:
        made.append(Watcher(*args, **more))
        return made[-1]

    yield make
    for watcher in made:
        watcher.subscriber.stop()
        wait_until(lambda watcher=watcher: not watcher.subscriber.alive)


@pytest.fixture
def watching() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """The command as a process, its output in pipes."""
    started: list[subprocess.Popen[str]] = []

    def start(port: int, *options: str, user: str = "", **environment: str) -> subprocess.Popen[str]:
        command = [*WATCH, "--broker", f"mqtt://{user}127.0.0.1:{port}", *options]
        pipe = subprocess.PIPE
        known = {**os.environ, **environment}
        started.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=known))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def a_visit() -> list[Message]:
    return [
        message(info("boot-a", cameras=("front",)), NODE),
        message(condition("online"), NODE, "front"),
        message(sees(1, "happiness", 0.93), NODE, "front"),
        message(alert(), NODE, "crying"),
    ]


def publish(port: int, topic: str, payload: bytes | str, *, retain: bool = False, **more: Any) -> None:
    paho_publish.single(topic, payload, qos=1, retain=retain, hostname="127.0.0.1", port=port, **more)


def lines_until(process: subprocess.Popen[str], last: str) -> list[str]:
    assert process.stdout is not None
    read: list[str] = []
    while not any(last in line for line in read):
        line = process.stdout.readline()
        assert line, f"ended before {last!r}: {read} {process.stderr.read() if process.stderr else ''}"
        read.append(line)
    return read


def test_it_gets_what_is_retained_and_what_comes(
    broker: AnyBroker, make_publisher: Make[MqttPublisher], make_watcher: Make[Watcher]
) -> None:
    publisher = make_publisher(broker.port)
    for sent in a_visit():
        publisher.publish(sent)
    publisher.publish(message(event(1), NODE, "front"))
    wait_until(lambda: publisher.acknowledged == 1)
    watcher = make_watcher(broker.port)
    wait_until(lambda: f"edge-fer/{NODE}/alert/crying" in watcher.topics())
    publisher.publish(message(event(2), NODE, "front"))
    wait_until(lambda: f"edge-fer/{NODE}/camera/front/events" in watcher.topics())
    # amqtt acknowledges before it passes on: who comes in between gets a message as retained, and once more as new.
    as_retained = {one.topic for one in watcher.messages if one.retained}
    retained = {one.topic.rpartition(NODE)[2]: one.topic in as_retained for one in watcher.messages}
    assert retained == {
        "/status": True, "/info": True, "/camera/front/status": True, "/camera/front/state": True,
        "/alert/crying": True, "/camera/front/events": False,
    }  # fmt: skip
    protocol = "MQTT 5" if isinstance(broker, Mosquitto) else "MQTT 3.1.1"
    assert watcher.told() == f"connected ({protocol})"


def test_under_mqtt_5_the_run_of_a_status_comes_with_it(
    mosquitto: Mosquitto, make_publisher: Make[MqttPublisher], make_watcher: Make[Watcher]
) -> None:
    """Whoever says it: the node, its goodbye, or the broker for a node that died."""
    watcher = make_watcher(mosquitto.port)
    wait_until(lambda: watcher.changes)
    publisher = make_publisher(mosquitto.port)
    wait_until(lambda: watcher.runs() == [("online", "boot-a")])
    publish(mosquitto.port, STATUS_TOPIC, "offline")  # somebody else, whom the node contradicts
    wait_until(lambda: watcher.runs()[1:] == [("offline", None), ("online", "boot-a")])
    publisher.stop(30)
    wait_until(lambda: watcher.runs()[3:] == [("offline", "boot-a")])
    dying = make_publisher(mosquitto.port, boot_id="boot-b")
    wait_until(lambda: watcher.runs()[4:] == [("online", "boot-b")])
    assert mosquitto.process is not None
    mosquitto.process.send_signal(signal.SIGSTOP)
    for seq in range(100):  # more than can be on their way: without answers it never comes to a goodbye
        dying.publish(message(event(seq), NODE, "front"))
    dying.stop(0.5)
    wait_until(lambda: not dying.alive)
    mosquitto.process.send_signal(signal.SIGCONT)
    wait_until(lambda: watcher.runs()[5:] == [("offline", "boot-b")])


def test_only_the_nodes_that_are_named(mosquitto: Mosquitto, make_watcher: Make[Watcher]) -> None:
    watcher = make_watcher(mosquitto.port, nodes=("one", "two"))
    wait_until(lambda: watcher.changes)
    for node in ("three", "one", "two"):
        publish(mosquitto.port, f"edge-fer/{node}/status", "online")
    wait_until(lambda: "edge-fer/two/status" in watcher.topics())
    assert watcher.topics() == {"edge-fer/one/status", "edge-fer/two/status"}


def test_a_broker_that_goes_away_is_found_again(mosquitto: Mosquitto, make_watcher: Make[Watcher]) -> None:
    watcher = make_watcher(mosquitto.port)
    wait_until(lambda: watcher.changes)
    mosquitto.kill()
    wait_until(lambda: "not reachable (Connection refused); retrying" in watcher.told())
    mosquitto.start()
    wait_until(lambda: watcher.changes[-1].connected)
    publish(mosquitto.port, f"edge-fer/{NODE}/status", "online")
    wait_until(lambda: watcher.messages)
    assert [change.text for change in watcher.changes] == [
        "connected (MQTT 5)",
        "lost (connection closed); retrying",
        "not reachable (Connection refused); retrying",
        "connected (MQTT 5)",
    ]


def test_a_server_that_is_no_broker_is_told(make_watcher: Make[Watcher], tmp_path: Path) -> None:
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"], cwd=tmp_path,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        watcher = make_watcher(port, answer_s=0.5)
        wait_until(lambda: "does not answer as an MQTT broker" in watcher.told())
    finally:
        server.kill()
        server.wait()
    assert not any(change.connected or change.refused for change in watcher.changes)


def test_json_lines(mosquitto: Mosquitto, watching: Make[subprocess.Popen[str]]) -> None:
    publish(mosquitto.port, f"edge-fer/{NODE}/status", "online", retain=True)
    process = watching(mosquitto.port, "--json")
    lines_until(process, '"status"')
    publish(mosquitto.port, f"edge-fer/{NODE}/health", '{"ok":true}')
    publish(mosquitto.port, f"edge-fer/{NODE}/camera/x/state", b"\x1b[2J\xff")
    publish(mosquitto.port, f"edge-fer/{NODE}/camera/x/state", b"")
    read = [json.loads(lines_until(process, "payload")[-1]) for _ in range(3)]
    assert [(one["topic"], one["retained"], one["payload"]) for one in read] == [
        ("health", False, {"ok": True}),
        ("camera/x/state", False, "\x1b[2J\N{REPLACEMENT CHARACTER}"),
        ("camera/x/state", False, None),
    ]
    assert {one["node"] for one in read} == {NODE}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", read[0]["received_at"])
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.splitlines()) == (
        0, "", [f"edge-fer: broker mqtt://127.0.0.1:{mosquitto.port} connected (MQTT 5)"]
    )  # fmt: skip


def test_a_reader_who_leaves_ends_it_quietly(mosquitto: Mosquitto, watching: Make[subprocess.Popen[str]]) -> None:
    publish(mosquitto.port, f"edge-fer/{NODE}/status", "online", retain=True)
    process = watching(mosquitto.port, "--json")
    lines_until(process, "status")
    assert process.stdout is not None
    process.stdout.close()
    publish(mosquitto.port, f"edge-fer/{NODE}/status", "offline")
    assert process.wait(60) == 0
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()


def test_a_reader_who_leaves_ends_it_although_nothing_comes_any_more(
    mosquitto: Mosquitto, watching: Make[subprocess.Popen[str]]
) -> None:
    publish(mosquitto.port, f"edge-fer/{NODE}/status", "online", retain=True)
    process = watching(mosquitto.port, "--json")
    lines_until(process, "status")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(20) == 0


def test_a_reader_who_does_not_read_cannot_hold_up_sigterm(
    mosquitto: Mosquitto, watching: Make[subprocess.Popen[str]]
) -> None:
    process = watching(mosquitto.port, "--json")
    assert process.stderr is not None
    process.stderr.readline()  # connected
    for _ in range(5):  # more than a pipe holds
        publish(mosquitto.port, f"edge-fer/{NODE}/x", "x" * 40_000)
    wait_until(lambda: state_of(process.pid) == "S")
    process.terminate()
    assert process.wait(60) == 0


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_lines_where_there_is_no_terminal(mosquitto: Mosquitto, watching: Make[subprocess.Popen[str]]) -> None:
    process = watching(mosquitto.port, "--node", NODE)
    publish(mosquitto.port, f"edge-fer/{NODE}/status", "online", retain=True)
    for sent in a_visit():
        publish(mosquitto.port, sent.topic, sent.to_json(), retain=True)
    told = [line[10:].rstrip() for line in lines_until(process, "ALERT")]
    assert f"{NODE}  online" in told
    assert f"{NODE}/front  faces 1, happiness 93%" in told
    process.terminate()
    assert process.wait(60) == 0


def test_a_wrong_password_ends_it_with_what_is_wrong(
    make_mosquitto: Make[Mosquitto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "carer", "right"], check=True)
    broker = make_mosquitto(f"allow_anonymous false\npassword_file {passwords}").start()
    url = f"mqtt://carer@127.0.0.1:{broker.port}"
    monkeypatch.setenv("EDGE_FER_MQTT_PASSWORD", "wrong")
    assert main(["watch", "--broker", url, "--json"]) == 69
    err = capfd.readouterr().err
    assert f"{url} refuses the connection (Not authorized): check user and password" in err
    assert "wrong" not in err
    monkeypatch.delenv("EDGE_FER_MQTT_PASSWORD")
    (tmp_path / "password").write_text("right\n")
    (tmp_path / "password").chmod(0o600)
    options = ["--json", "--seconds", "2", "--password-file", str(tmp_path / "password")]
    assert main(["watch", "--broker", url, *options]) == 0
    assert "connected (MQTT 5)" in capfd.readouterr().err


def test_no_broker_for_all_the_time_is_69(capfd: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    assert main(["watch", "--broker", f"mqtt://127.0.0.1:{port}", "--seconds", "0.5"]) == 69
    assert f"mqtt://127.0.0.1:{port} not reachable (Connection refused); retrying" in capfd.readouterr().err


def test_tls_is_checked_and_each_fault_told(
    make_tls: Make[Mosquitto], authority: Authority, make_watcher: Make[Watcher]
) -> None:
    authority.sign("server", "DNS:localhost")
    broker = make_tls("server")

    def tls(ca_file: Path | None) -> Any:
        return tls_context(BrokerAddress("x", 1, tls=True), TlsFiles(ca_file))

    trusting = make_watcher(broker.port, "localhost", tls=tls(authority.folder / "ca.pem"))
    wait_until(lambda: trusting.told() == "connected (MQTT 5)")
    unknown = make_watcher(broker.port, "localhost", tls=tls(None))
    wait_until(lambda: "its certificate is not trusted" in unknown.told())
    elsewhere = make_watcher(broker.port, "127.0.0.1", tls=tls(authority.folder / "ca.pem"))
    wait_until(lambda: "its certificate is for another name than" in elsewhere.told())


def test_a_broker_without_tls_is_told(mosquitto: Mosquitto, make_watcher: Make[Watcher]) -> None:
    tls = tls_context(BrokerAddress("x", 1, tls=True), TlsFiles())
    watcher = make_watcher(mosquitto.port, "localhost", tls=tls)
    wait_until(lambda: f"does it speak TLS at port {mosquitto.port}?" in watcher.told())


def test_a_broker_that_wants_a_client_certificate(
    make_tls: Make[Mosquitto], authority: Authority, capfd: pytest.CaptureFixture[str]
) -> None:
    authority.sign("server", "DNS:localhost")
    authority.sign("client", "DNS:carer")
    broker = make_tls("server", "require_certificate true\nuse_identity_as_username true")
    files = authority.folder
    command = ["watch", "--broker", f"mqtts://localhost:{broker.port}", "--json", "--ca-file", f"{files}/ca.pem"]
    assert main([*command, "--seconds", "2"]) == 69
    assert "it wants a certificate of this node: give --cert-file and --key-file" in capfd.readouterr().err
    own = ["--cert-file", f"{files}/client.pem", "--key-file", f"{files}/client.key"]
    assert main([*command, *own, "--seconds", "2"]) == 0
    assert "connected (MQTT 5)" in capfd.readouterr().err
    wrong = ["--cert-file", f"{files}/client.pem", "--key-file", f"{files}/ca.key"]
    assert main([*command, *wrong, "--seconds", "2"]) == 78
    assert "--cert-file" in capfd.readouterr().err


def read_screen(terminal: int, *until: str, timeout_s: float = 60) -> str:
    """What the process writes to its terminal until all these texts are in it."""
    shown, end_s = b"", time.monotonic() + timeout_s
    while missing := [text for text in until if text.encode() not in shown]:
        assert time.monotonic() < end_s, f"never shown: {missing} in {shown.decode()[-3000:]}"
        if select.select([terminal], [], [], 0.5)[0]:
            shown += os.read(terminal, 65536)
    return shown.decode()


def test_the_screen_in_a_terminal(mosquitto: Mosquitto) -> None:
    pytest.importorskip("rich", reason="pip install 'edge-fer[watch]'")
    publish(mosquitto.port, f"edge-fer/{NODE}/status", "online", retain=True)
    for sent in a_visit():
        publish(mosquitto.port, sent.topic, sent.to_json(), retain=True)
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS="100", LINES="30")
        os.execv(sys.executable, [*WATCH, "--broker", f"mqtt://127.0.0.1:{mosquitto.port}"])
    try:
        shown = read_screen(terminal, "happiness", f"ALERT {NODE}/crying")
        assert "\x1b[?1049h" in shown  # what stood in the terminal comes back afterwards
        publish(
            mosquitto.port,
            f"edge-fer/{NODE}/camera/front/state",
            '{"faces": 1, "expression": "\\u001b]0;gotcha\\u0007"}',
        )
        assert "\x1b]0;" not in read_screen(terminal, "\\x1b]0;gotcha")
        mosquitto.kill()
        read_screen(terminal, "ALL THIS IS OLD")
        os.write(terminal, b"\x03")  # Ctrl-C
        read_screen(terminal, "\x1b[?1049l")
        _, status = os.waitpid(pid, 0)
        pid = 0
        assert os.waitstatus_to_exitcode(status) == 0
    finally:
        os.close(terminal)
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

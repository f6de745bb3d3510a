"""What a dashboard sees of a real daemon, on a broker with the configuration that is shipped."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from daemonsite import LOOP, START_S, terminate
from realbrokers import wait_until
from securedbroker import SecuredMosquitto, open_folder, require_programs, setup

from edge_fer.channels import (
    ALERT,
    ALERT_EVENTS,
    CAMERA_EVENTS,
    CAMERA_STATE,
    CAMERA_STATUS,
    CHANNELS,
    CLAIM,
    COMMAND,
    REPLY,
    STATUS,
    Channel,
    topic,
)

NODE = "lab"
HEALTH_TOPIC = f"edge-fer/{NODE}/health"
RULE = '[rule.seen]\nkind = "faces"\nmax_faces = 0\nfor_s = 1\n'
ALERT_OF = {ALERT: "seen", ALERT_EVENTS: "seen"}
ASKED_FOR = {REPLY, COMMAND, CLAIM}
"""Only there where somebody asks: commands have tests of their own."""

pytestmark = pytest.mark.system


@dataclass(frozen=True)
class Seen:
    """A line of mosquitto_sub."""

    topic: str
    qos: int
    retained: bool
    payload: str


class Viewer:
    """mosquitto_sub of a user on edge-fer/#; what it has printed can be read at any time."""

    def __init__(self, broker: SecuredMosquitto, user: str) -> None:
        self._path = Path(tempfile.mkstemp(dir=broker.folder, prefix=f"{user}-")[1])
        command = ["mosquitto_sub", *broker.login(user), "-q", "1", "-F", "%j", "-t", "edge-fer/#"]
        with self._path.open("wb") as out:
            self._process = subprocess.Popen(["stdbuf", "-oL", *command], stdout=out, stderr=out)

    def seen(self) -> list[Seen]:
        lines = [line for line in self._path.read_text().splitlines() if line.startswith("{")]
        got = [json.loads(line) for line in lines]
        return [Seen(one["topic"], one["qos"], bool(one["retain"]), one["payload"]) for one in got]

    def on(self, where: str) -> list[Seen]:
        return [one for one in self.seen() if one.topic == where]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Board:
    """A daemon that logs in as the node `lab`."""

    def __init__(self, broker: SecuredMosquitto, host: str = "localhost") -> None:
        self.broker, self._log = broker, broker.folder / "daemon.log"
        self._password = broker.folder / "password"
        self.write_password(broker.password(NODE))
        self._config = broker.folder / "lab.toml"
        lines = [f'node = "{NODE}"', f'state_dir = "{broker.folder}/state"', "telemetry_s = 0.5", RULE]
        lines += ["[broker]", f'url = "mqtts://{NODE}@{host}:{broker.port}"', f'ca_file = "{broker.ca_file}"']
        lines += [f'password_file = "{self._password}"', "[camera.front]", f'uri = "{LOOP}"']
        self._config.write_text("\n".join([*lines, ""]))
        self.process: psutil.Popen | None = None

    def write_password(self, password: str) -> None:
        self._password.write_text(f"{password}\n")
        self._password.chmod(0o600)

    def start(self) -> psutil.Popen:
        command = [sys.executable, "-m", "edge_fer", "run", "--config", str(self._config)]
        with self._log.open("ab") as log:
            self.process = psutil.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self.process

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def close(self) -> None:
        if self.process is not None and self.process.is_running():
            self.process.kill()
            self.process.wait()


@pytest.fixture
def broker() -> Iterator[SecuredMosquitto]:
    require_programs()
    with open_folder() as folder:
        one = SecuredMosquitto(folder, [NODE], {"log_type notice": "log_type notice\nlog_type information"}).start()
        yield one
        one.kill()


@pytest.fixture
def viewer(broker: SecuredMosquitto) -> Iterator[Viewer]:
    one = Viewer(broker, "watcher")
    yield one
    one.close()


@pytest.fixture
def board(broker: SecuredMosquitto) -> Iterator[Board]:
    one = Board(broker)
    yield one
    one.close()


def where(channel: Channel) -> str:
    return topic(channel, NODE, ALERT_OF.get(channel, "front"))


def events(viewer: Viewer) -> list[dict[str, object]]:
    """Each once, in the order of the first time."""
    return list({(body := json.loads(one.payload))["id"]: body for one in viewer.on(where(CAMERA_EVENTS))}.values())


def test_every_topic_is_as_the_table_has_it(broker: SecuredMosquitto, viewer: Viewer, board: Board) -> None:
    """Live: its QoS. To who comes later: there if it is retained, not there if it is not."""
    board.start()
    told = [channel for channel in CHANNELS if channel not in ASKED_FOR]
    wait_until(lambda: all(viewer.on(where(channel)) for channel in told), START_S)
    for channel in told:
        assert {one.qos for one in viewer.on(where(channel))} == {channel.qos}, channel.topic
    late = Viewer(broker, "dashboard")
    kept = {where(channel) for channel in told if channel.retain}
    wait_until(lambda: kept <= {one.topic for one in late.seen() if one.retained}, START_S)
    assert {one.topic for one in late.seen() if one.retained} == kept
    assert late.on(where(STATUS))[0].payload == "online"
    late.close()
    known = {where(channel) for channel in CHANNELS}
    assert {one.topic for one in viewer.seen()} <= known
    assert terminate(board.process) == 0
    wait_until(lambda: viewer.on(where(STATUS))[-1].payload == "offline")
    assert json.loads(viewer.on(where(CAMERA_STATUS))[-1].payload)["state"] == "offline"
    assert json.loads(viewer.on(where(CAMERA_STATE))[-1].payload)["expression"] == "unknown"
    numbers = [body["seq"] for body in events(viewer)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert "Not authorized" not in board.log
    assert "Traceback" not in board.log


def test_a_killed_daemon_is_offline_at_once(viewer: Viewer, board: Board) -> None:
    daemon = board.start()
    wait_until(lambda: [one.payload for one in viewer.on(where(STATUS))][-1:] == ["online"], START_S)
    daemon.kill()
    daemon.wait()
    wait_until(lambda: viewer.on(where(STATUS))[-1].payload == "offline", 30)


def test_a_wrong_password_is_told_and_nothing_is_lost_once_it_is_right(
    broker: SecuredMosquitto, viewer: Viewer, board: Board
) -> None:
    """Cured at the broker, which had another password for this board."""
    passwords = broker.keys / "passwords"
    right = passwords.read_text()
    change_password(broker)
    board.start()
    wait_until(lambda: "check broker user and password" in board.log, START_S)
    assert broker.password(NODE) not in board.log
    passwords.write_text(right)
    reload_broker(broker)
    assert expect_all(viewer)[0]["replayed"] is True
    expect_told_and_cured(viewer, "broker-login", "check broker user and password")


def test_a_topic_that_is_denied_is_named_and_nothing_is_lost_once_it_is_allowed(
    broker: SecuredMosquitto, viewer: Viewer, board: Board
) -> None:
    acl = broker.keys / "acl"
    right = acl.read_text()
    acl.write_text(f"{right}\nuser {NODE}\ntopic deny edge-fer/{NODE}/camera/front/events\n")
    reload_broker(broker)
    board.start()
    wait_until(lambda: re.search(r"refuses messages on \S*camera/front/events \(Not authorized\)", board.log), START_S)
    said = f"edge-fer/{NODE}/camera/front/events"
    expect_told(viewer, "broker-refused", said)
    assert viewer.on(where(CAMERA_STATE))  # what is allowed goes on
    acl.write_text(right)
    reload_broker(broker)
    expect_all(viewer)
    expect_told_and_cured(viewer, "broker-refused", said)


@pytest.mark.parametrize(
    ("case", "said"),
    [("expired", "its certificate has expired"), ("name", "its certificate is for another name than 'localhost'")],
)
def test_a_certificate_of_no_use_is_told_and_nothing_is_lost_once_it_is_renewed(
    broker: SecuredMosquitto, viewer: Viewer, board: Board, case: str, said: str
) -> None:
    wait_until(lambda: "watcher" in broker.log(), START_S)  # it is in, and stays in
    if case == "expired":
        sign_for_the_past(broker)
    else:
        setup("--renew", "--host", "other.lan", folder=broker.keys)
    reload_broker(broker)
    wait_until(lambda: not served(broker), 30)
    board.start()
    wait_until(lambda: said.lower() in board.log.lower(), START_S)
    setup("--renew", "--host", "localhost", "--host", "127.0.0.1", folder=broker.keys)
    reload_broker(broker)
    assert expect_all(viewer)[0]["replayed"] is True
    expect_told_and_cured(viewer, "broker-tls", said)


def expect_all(viewer: Viewer) -> list[dict[str, object]]:
    """Events, of which no number is missing from the first on."""
    wait_until(lambda: len(events(viewer)) > 2, START_S)
    told = events(viewer)
    assert [body["seq"] for body in told] == list(range(1, len(told) + 1))
    return told


def expect_told(viewer: Viewer, code: str, said: str) -> None:
    """Health has told of the problem in these words."""
    wait_until(lambda: any(said in problems(one).get(code, "") for one in viewer.on(HEALTH_TOPIC)), START_S)


def expect_told_and_cured(viewer: Viewer, code: str, said: str) -> None:
    """Health has told of the problem, and then that it is over."""
    expect_told(viewer, code, said)
    wait_until(lambda: code not in problems(viewer.on(HEALTH_TOPIC)[-1]), START_S)


def problems(health: Seen) -> dict[str, str]:
    """Code and text."""
    return {one["code"]: one["text"] for one in json.loads(health.payload)["problems"]}


def change_password(broker: SecuredMosquitto) -> None:
    """The broker knows another one than the board has."""
    one = broker.folder / "other"
    one.write_text(f"{NODE}:something-else\n")
    subprocess.run(["mosquitto_passwd", "-U", str(one)], check=True)
    passwords = broker.keys / "passwords"
    kept = [line for line in passwords.read_text().splitlines() if not line.startswith(f"{NODE}:")]
    passwords.write_text("\n".join([*kept, one.read_text()]))
    reload_broker(broker)


def reload_broker(broker: SecuredMosquitto) -> None:
    wait_until(lambda: " running" in broker.log(), 30)  # a signal before that would not be understood
    reloads = broker.log().count("Reloading config")
    broker.process.send_signal(1)
    wait_until(lambda: broker.log().count("Reloading config") > reloads, 30)


def served(broker: SecuredMosquitto) -> bool:
    """Whether a careful client takes what the broker shows."""
    command = ["mosquitto_pub", *broker.login("watcher"), "-q", "0", "-t", "x", "-m", "x"]
    return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0


def sign_for_the_past(broker: SecuredMosquitto) -> None:
    """The broker's own key, and a certificate of the same authority that has run out."""
    keys, work = broker.keys, broker.folder / "sign"
    work.mkdir()
    (work / "index").touch()
    (work / "serial").write_text("01\n")
    (work / "ca.cnf").write_text(
        f"[ca]\ndefault_ca = a\n[a]\ndatabase = {work}/index\nserial = {work}/serial\nnew_certs_dir = {work}\n"
        "default_md = sha256\npolicy = p\n[p]\ncommonName = supplied\n[e]\nsubjectAltName = DNS:localhost\n"
        "authorityKeyIdentifier = keyid\n"
    )
    ask = ["openssl", "req", "-new", "-key", f"{keys}/server.key", "-subj", "/CN=x", "-out", f"{work}/x.csr"]
    subprocess.run(ask, check=True, capture_output=True)
    past = ["-startdate", "20190101000000Z", "-enddate", "20200101000000Z"]
    sign = ["openssl", "ca", "-batch", "-config", f"{work}/ca.cnf", "-extensions", "e", "-in", f"{work}/x.csr"]
    sign += ["-cert", f"{keys}/ca.crt", "-keyfile", f"{keys}/ca.key", "-out", f"{work}/x.crt", "-notext", *past]
    subprocess.run(sign, check=True, capture_output=True)
    (keys / "server.crt").write_text((work / "x.crt").read_text())

"""The daemon as its users start it: a process, a real mosquitto, signals."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from realbrokers import MOSQUITTO, Mosquitto, Subscriber, free_port, wait_until

RUN = [sys.executable, "-m", "edge_fer", "run", "--node", "lab"]
LOOP = ["--camera", "front=sample:?loop=1&realtime=1"]
EVENTS = "edge-fer/lab/camera/front/events"


Start = Callable[..., subprocess.Popen[str]]
Subscribe = Callable[[], Subscriber]


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto mosquitto-clients")
    broker = Mosquitto(tmp_path).start()
    yield broker
    broker.kill()


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts daemons; none outlives its test."""
    started: list[subprocess.Popen[str]] = []

    def begin(*options: str) -> subprocess.Popen[str]:
        command = [*RUN, *options]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def subscribe(mosquitto: Mosquitto) -> Iterator[Callable[[], Subscriber]]:
    made: list[Subscriber] = []

    def subscriber() -> Subscriber:
        made.append(Subscriber(mosquitto.port))
        return made[-1]

    yield subscriber
    for one in made:
        one.close()


def finish(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str, str]:
    """Exit code, output and log of a daemon that was told to stop."""
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_subscriber_sees_a_visit_from_online_to_offline(
    mosquitto: Mosquitto, start: Start, subscribe: Subscribe, number: int
) -> None:
    subscriber = subscribe()
    daemon = start(*LOOP, "--broker", f"mqtt://127.0.0.1:{mosquitto.port}")
    wait_until(lambda: subscriber.on(EVENTS))
    code, _, err = finish(daemon, number)
    assert (code, "Traceback" in err) == (0, False)
    wait_until(lambda: subscriber.payloads("edge-fer/lab/status")[-1:] == [b"offline"])
    bodies = [message.body for message in subscriber.on(EVENTS)]
    assert [body["seq"] for body in bodies] == list(range(1, len(bodies) + 1))
    assert (bodies[0]["type"], bodies[-1]["type"], bodies[-1]["reason"]) == ("start", "end", "stopped")
    assert not any(body["replayed"] for body in bodies)
    assert b"online" in subscriber.payloads("edge-fer/lab/status")
    camera = [message.body["state"] for message in subscriber.on("edge-fer/lab/camera/front/status")]
    assert camera[-2:] == ["online", "offline"]
    info = subscriber.on("edge-fer/lab/info")[-1].body
    assert info["labels"][0] == "neutral"
    assert all(model["xnnpack_operators"] == model["operators"] for model in info["models"])
    assert [model["operating_point"] for model in info["models"]] == [
        None,
        None,
        "dashboard",
    ]  # two detectors: whole frames, regions


def test_who_subscribes_later_sees_states_but_no_old_events(
    mosquitto: Mosquitto, start: Start, subscribe: Subscribe
) -> None:
    first = subscribe()
    daemon = start(*LOOP, "--broker", f"mqtt://127.0.0.1:{mosquitto.port}")
    wait_until(lambda: first.on("edge-fer/lab/camera/front/state"))
    finish(daemon)
    later = subscribe()
    wait_until(lambda: later.on("edge-fer/lab/camera/front/state"))
    assert later.payloads("edge-fer/lab/status") == [b"offline"]
    assert later.on("edge-fer/lab/camera/front/state")[0].body["expression"] == "unknown"
    assert later.on(EVENTS) == []


@pytest.mark.skipif(shutil.which("mosquitto_sub") is None, reason="mosquitto_sub is not installed: mosquitto-clients")
def test_mosquitto_sub_shows_it(mosquitto: Mosquitto, start: Start) -> None:
    command = ["mosquitto_sub", "-p", str(mosquitto.port), "-t", "edge-fer/#", "-v", "-W", "120"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watcher:
        daemon = start(*LOOP, "--broker", f"mqtt://127.0.0.1:{mosquitto.port}")
        assert watcher.stdout is not None
        seen = next(line for line in watcher.stdout if line.startswith(EVENTS))
        watcher.terminate()
    finish(daemon)
    assert json.loads(seen.partition(" ")[2])["type"] == "start"


def test_a_broker_that_is_not_there_yet_is_waited_for_and_told_once(
    mosquitto: Mosquitto, start: Start, subscribe: Subscribe
) -> None:
    mosquitto.kill()
    daemon = start(*LOOP, "--broker", f"mqtt://127.0.0.1:{mosquitto.port}", "--print")
    assert daemon.stdout is not None
    printed = json.loads(daemon.stdout.readline())
    daemon.send_signal(signal.SIGSTOP)  # it must not be back before the subscriber is
    mosquitto.start()
    subscriber = subscribe()
    daemon.send_signal(signal.SIGCONT)
    wait_until(lambda: subscriber.on(EVENTS))
    code, _, err = finish(daemon)
    first = subscriber.on(EVENTS)[0].body
    assert (first["id"], first["replayed"]) == (printed["id"], True)
    assert code == 0
    assert err.count("not reachable") == 1


def test_the_end_of_a_clip_waits_for_the_broker_to_take_its_events(mosquitto: Mosquitto, subscribe: Subscribe) -> None:
    subscriber = subscribe()
    broker = ["--broker", f"mqtt://127.0.0.1:{mosquitto.port}", "--print"]
    done = subprocess.run([*RUN, "--camera", "front=sample:", *broker], capture_output=True, text=True, check=True)
    printed = [json.loads(line)["id"] for line in done.stdout.splitlines()]
    wait_until(lambda: [message.body["id"] for message in subscriber.on(EVENTS)] == printed)


def test_the_end_of_a_clip_without_its_broker_is_told() -> None:
    broker = ["--broker", f"mqtt://127.0.0.1:{free_port()}"]
    done = subprocess.run([*RUN, "--camera", "front=sample:", *broker], capture_output=True, text=True, check=False)
    assert done.returncode == 69
    assert "the broker did not take" in done.stderr


def test_without_a_broker_events_are_printed_as_json_lines() -> None:
    done = subprocess.run([*RUN, "--camera", "front=sample:", "--print"], capture_output=True, text=True, check=True)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["type"] for event in events][:1] == ["start"]
    assert events[-1]["type"] == "end"


def test_a_reader_who_leaves_ends_it_quietly(start: Start) -> None:
    daemon = start(*LOOP, "--print")
    assert daemon.stdout is not None
    daemon.stdout.readline()
    daemon.stdout.close()
    assert daemon.wait(timeout=60) == 0
    assert daemon.stderr is not None
    assert "Traceback" not in daemon.stderr.read()


def test_one_lost_camera_does_not_disturb_another(start: Start) -> None:
    daemon = start(*LOOP, "--camera", "back=rtsp://127.0.0.1:9/none", "--print")
    assert daemon.stdout is not None
    assert daemon.stderr is not None
    told = next(line for line in daemon.stderr if "camera back" in line)
    assert "refused" in told
    assert json.loads(daemon.stdout.readline())["camera"] == "front"
    code, _, err = finish(daemon)
    assert code == 0
    assert "camera back" not in err


def test_the_demonstration_ends_by_itself_and_leaves_nothing_running() -> None:
    demo = [sys.executable, "-m", "edge_fer", "demo", "--seconds", "10"]
    done = subprocess.run(
        demo, capture_output=True, text=True, stdin=subprocess.DEVNULL, start_new_session=True, check=True
    )
    assert "mosquitto_sub" in done.stdout
    assert "start" in done.stdout
    assert "Done:" in done.stdout.splitlines()[-2] + done.stdout.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_the_demonstration_leaves_home_assistant_alone(mosquitto: Mosquitto, subscribe: Subscribe) -> None:
    """Neither a device that is gone with it, nor anything less of the daemon that has this name."""
    if not (shutil.which("mosquitto_pub") and shutil.which("mosquitto_sub")):
        pytest.skip("mosquitto_pub is not installed: apt-get install mosquitto-clients")
    kept = ("homeassistant/device/edge-fer-lab/config", "edge-fer/lab/camera/front/status")
    port = str(mosquitto.port)
    for topic in kept:
        subprocess.run(["mosquitto_pub", "-p", port, "-q", "1", "-r", "-t", topic, "-m", "{}"], check=True)
    watcher = subscribe()
    demo = [sys.executable, "-m", "edge_fer", "demo", "--node", "lab", "--seconds", "4", "--broker"]
    subprocess.run([*demo, f"mqtt://127.0.0.1:{port}"], stdin=subprocess.DEVNULL, capture_output=True, check=True)
    wait_until(lambda: watcher.payloads("edge-fer/lab/status") == [b"online", b"offline"])
    late = ["mosquitto_sub", "-p", port, "-C", "2", "-W", "30", "-v", "-t", kept[0], "-t", kept[1]]
    done = subprocess.run(late, capture_output=True, text=True, check=True)
    assert sorted(done.stdout.splitlines()) == sorted(f"{topic} {{}}" for topic in kept)


def test_the_demonstration_takes_another_port_where_a_broker_is_already() -> None:
    with ExitStack() as stack:
        # Where something listens there already, that is what the test needs.
        with suppress(OSError):
            stack.enter_context(socket.create_server(("127.0.0.1", 1883)))
        demo = [sys.executable, "-m", "edge_fer", "demo", "--seconds", "2"]
        done = subprocess.run(demo, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=True)
    assert "mqtt://127.0.0.1:1883" not in done.stdout
    assert "mqtt://127.0.0.1:" in done.stdout


class Terminal:
    """A terminal of its own, with a process in it."""

    def __init__(self, *command: str) -> None:
        self.child, self._terminal = pty.fork()
        if self.child == 0:
            os.environ.update(COLUMNS="100", LINES="30", TERM="xterm-256color")
            os.execvp(command[0], command)
        self.seen = ""

    def read_until(self, *words: str, timeout_s: float = 60) -> None:
        """Fails when the words do not all appear in time; without words, reads to the end."""
        until_s = time.monotonic() + timeout_s
        while not words or not all(word in self.seen for word in words):
            ready, _, _ = select.select([self._terminal], [], [], max(0.0, until_s - time.monotonic()))
            assert ready, f"waited in vain for {words}, saw {self.seen[-2000:]!r}"
            try:
                self.seen += os.read(self._terminal, 4096).decode(errors="replace")
            except OSError:  # the terminal is gone with its last process
                assert not words, f"ended before {words}, saw {self.seen[-2000:]!r}"
                return

    def press(self, key: bytes) -> None:
        os.write(self._terminal, key)

    def exit_code(self) -> int:
        _, status = os.waitpid(self.child, 0)
        return os.waitstatus_to_exitcode(status)


DEMO = f"{sys.executable} -m edge_fer demo"


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["sh", "-c", f"exec {DEMO}"], id="alone"),
        # As make does: the demonstration is not the leader of its process group, and Ctrl-C must not reach its parent.
        pytest.param(["sh", "-c", f"{DEMO}; exit $?"], id="with a parent"),
    ],
)
def test_a_terminal_gets_the_live_view_and_ctrl_c_ends_it_in_good_order(command: list[str]) -> None:
    terminal = Terminal(*command)
    terminal.read_until("fps", "confidence", "start")
    terminal.press(b"\x03")
    terminal.read_until()
    assert terminal.exit_code() == 0
    assert "Done:" in terminal.seen
    assert "Traceback" not in terminal.seen

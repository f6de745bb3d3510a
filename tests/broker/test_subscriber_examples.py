"""The subscribers of the manual, as they stand there, against a real mosquitto."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from realbrokers import NODE, Make, Mosquitto, wait_until

from edge_fer.channels import CAMERA_EVENTS
from edge_fer.messages import Message, addressed
from edge_fer.mqtt.publisher import MqttPublisher
from edge_fer.schema.samples import messages

MANUAL = Path(__file__).parents[2] / "docs" / "subscribers.md"


def example(language: str) -> str:
    text = MANUAL.read_text(encoding="utf-8")
    found = re.search(rf"<!-- subscriber: {language} -->\n```\w+\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert found, language
    return found[1]


class Running:
    """An example, and the lines that it has written."""

    def __init__(self, argv: list[str]) -> None:
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, bufsize=1, start_new_session=True)
        self.lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str, int], Running]]:
    started: list[Running] = []

    def start(language: str, port: int) -> Running:
        script = tmp_path / f"subscriber.{language}"
        script.write_text(example(language), encoding="utf-8")
        program, more = (sys.executable, []) if language == "python" else ("sh", [NODE])
        started.append(Running([program, str(script), "127.0.0.1", str(port), *more]))
        return started[-1]

    yield start
    for one in started:
        # Its children too: the shell has two.
        subprocess.run(["kill", "-KILL", "--", f"-{one.process.pid}"], check=False, capture_output=True)
        one.process.wait()


def event(name: str, number: int) -> Message:
    sample = messages()[name].body
    return addressed(CAMERA_EVENTS, {**sample, "id": f"b-{number}", "seq": number}, NODE, "front")


def shown(running: Running) -> list[str]:
    """Of each line, which event it is about."""
    return [word for line in running.lines for word in re.findall(r"\b(start|update|end)\b", line)[:1]]


def subscribed(broker: Mosquitto) -> int:
    return broker.log().count("Sending SUBACK")


@pytest.mark.parametrize("language", ["python", "shell"])
def test_a_subscriber_of_the_manual_shows_what_is_about_now(
    language: str,
    make_mosquitto: Callable[..., Mosquitto],
    make_publisher: Make[MqttPublisher],
    start: Callable[[str, int], Running],
) -> None:
    if language == "shell" and shutil.which("mosquitto_sub") is None:
        pytest.skip("mosquitto_sub is not installed (apt install mosquitto-clients): the example was NOT run")
    broker = make_mosquitto().start()
    reader = start(language, broker.port)
    wait_until(lambda: subscribed(broker) >= 1)
    publisher = make_publisher(broker.port)
    wait_until(lambda: publisher.connected)
    publisher.publish(event("camera-events-start", 1))
    wait_until(lambda: shown(reader) == ["start"])

    twice = event("camera-events-start", 1)
    again = event("camera-events-start", 2)
    history = replace(again, kept="live", body={**again.body, "replayed": True})  # as it is, whoever is connected
    for message in (twice, history, event("camera-events-update", 3)):
        publisher.publish(message)
    wait_until(lambda: len(shown(reader)) > 1)
    assert shown(reader) == ["start", "update"]

    publisher.stop(30)
    late = make_publisher(broker.port, node="other", boot_id="boot-c")
    wait_until(lambda: late.connected)
    late.publish(event("camera-events-start", 4))  # on the topic of a node that is offline
    wait_until(lambda: late.pending == 0)
    back = make_publisher(broker.port)
    wait_until(lambda: back.connected)
    back.publish(event("camera-events-end", 5))
    wait_until(lambda: len(shown(reader)) > 2)
    assert shown(reader) == ["start", "update", "end"]

"""A broker that is killed again and again in the middle of events, and a subscriber that wants all of them."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from broker_away import KEEPS, make_event
from delivered import CarefulSubscriber, first_times, same_when_repeated
from realbrokers import MOSQUITTO, QUICK, Mosquitto, wait_until

from edge_fer.login import BrokerAddress
from edge_fer.mqtt.publisher import MqttPublisher
from edge_fer.outbox.outbox import Outbox
from edge_fer.outbox.store import Store

EVENTS, KILLS, CAMERAS = 5000, 20, 4
RATE_PER_S = 100

pytestmark = pytest.mark.system


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed: apt install mosquitto")
    one = Mosquitto(tmp_path, f"{KEEPS}persistence_location {tmp_path}/\nmax_queued_messages 10000").start()
    yield one
    one.kill()


@pytest.fixture
def subscriber(broker: Mosquitto) -> Iterator[CarefulSubscriber]:
    one = CarefulSubscriber(broker.port)
    wait_until(one.connected.is_set, 30)
    yield one
    one.close()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """A durable one, as a daemon has it."""
    state = tmp_path / "state"
    state.mkdir()
    one = Outbox(store=Store(state))
    one.start()
    yield one
    one.stop(10)
    assert not one.problem


@pytest.fixture
def publisher(broker: Mosquitto, outbox: Outbox) -> Iterator[MqttPublisher]:
    address = BrokerAddress("127.0.0.1", broker.port)
    one = MqttPublisher(address, node="node-1", boot_id="boot", patience=QUICK, outbox=outbox)
    one.start()
    yield one
    one.stop(1)


def test_broker_killed_twenty_times_during_five_thousand_events(
    broker: Mosquitto, subscriber: CarefulSubscriber, publisher: MqttPublisher
) -> None:
    """Killed at any moment of the stream, but with both sides there: else what one side gave is in the broker alone."""
    chance = random.Random(5)  # noqa: S311 - the same moments each time
    kill_at = sorted(chance.sample(range(50, EVENTS - 50), KILLS))
    began_s = time.monotonic()
    for number in range(1, EVENTS + 1):
        publisher.publish(make_event(number, CAMERAS))
        time.sleep(max(0.0, began_s + number / RATE_PER_S - time.monotonic()))
        if number in kill_at:
            wait_until(lambda: publisher.connected and subscriber.connected.is_set(), 60)
            broker.kill()
            broker.start()
    wait_until(lambda: publisher.pending == 0, 120)
    wait_until(lambda: len(subscriber.ids()) == EVENTS, 60)

    heard = subscriber.events()
    by_topic = first_times(heard)
    assert len(by_topic) == CAMERAS
    for bodies in by_topic.values():
        order = [body["seq"] for body in bodies]
        assert order == sorted(order)
    assert same_when_repeated(heard)
    assert publisher.dropped == 0
    assert any(body["replayed"] for bodies in by_topic.values() for body in bodies)
    print(f"{EVENTS} events, {KILLS} kills: all arrived, {len(heard) - EVENTS} of them twice")  # noqa: T201


def test_a_broker_that_was_away_for_a_while(tmp_path: Path) -> None:
    """The script for the ten minutes, for six seconds."""
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed: apt install mosquitto")
    command = [sys.executable, str(Path(__file__).parent / "broker_away.py"), "--minutes", "0.1", "--rate", "50"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all arrived in order" in done.stdout

"""Brokers, subscribers and publishers that end with their test."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from realbrokers import MOSQUITTO, NODE, QUICK, Mosquitto, Subscriber, wait_until

from edge_fer.broker import EmbeddedBroker
from edge_fer.login import BrokerAddress
from edge_fer.mqtt import MqttPublisher


@pytest.fixture
def make_mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed on this machine (apt install mosquitto): NOT tested against it")
    made: list[Mosquitto] = []

    def make(options: str = "allow_anonymous true") -> Mosquitto:
        made.append(Mosquitto(tmp_path, options))
        return made[-1]

    yield make
    for broker in made:
        broker.kill()


@pytest.fixture
def mosquitto(make_mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    return make_mosquitto().start()


@pytest.fixture
def embedded() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(0) as broker:
        yield broker


@pytest.fixture(params=["mosquitto", "embedded"])
def broker(request: pytest.FixtureRequest) -> Mosquitto | EmbeddedBroker:
    """Each kind of broker in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def subscribe() -> Iterator[Callable[..., Subscriber]]:
    made: list[Subscriber] = []

    def make(port: int, **more: Any) -> Subscriber:
        made.append(Subscriber(port, **more))
        return made[-1]

    yield make
    for subscriber in made:
        subscriber.close()


@pytest.fixture
def make_publisher(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[..., MqttPublisher]]:
    """Started publishers that retry quickly; stopped at the end."""
    caplog.set_level(logging.DEBUG)
    made: list[MqttPublisher] = []

    def make(port: int, user: str | None = None, *, tls: bool = False, **more: Any) -> MqttPublisher:
        more = {"node": NODE, "boot_id": "boot-a", "patience": QUICK, **more}
        made.append(MqttPublisher(BrokerAddress("127.0.0.1", port, user, tls), **more))
        made[-1].start()
        return made[-1]

    yield make
    for publisher in made:
        publisher.stop(1)
        wait_until(lambda publisher=publisher: not publisher.alive)

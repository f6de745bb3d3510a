"""Brokers, subscribers and publishers that end with their test."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from realbrokers import (
    MOSQUITTO,
    NODE,
    QUICK,
    SECRET,
    Authority,
    Mosquitto,
    Subscriber,
    free_port,
    set_password,
    wait_until,
)

from edge_fer.broker import EmbeddedBroker
from edge_fer.login import PASSWORD_VARIABLE, BrokerAddress, Login
from edge_fer.mqtt.publisher import MqttPublisher


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

    def make(
        port: int,
        user: str | None = None,
        *,
        tls: bool = False,
        at: str = "127.0.0.1",
        path: str = "",
        password: str = "",
        **more: Any,
    ) -> MqttPublisher:
        address = BrokerAddress(at, port, user, tls, path)
        login = Login(address, environ={PASSWORD_VARIABLE: password})
        more = {"node": NODE, "boot_id": "boot-a", "patience": QUICK, "login": login, **more}
        made.append(MqttPublisher(address, **more))
        made[-1].start()
        return made[-1]

    yield make
    for publisher in made:
        publisher.stop(1)
        wait_until(lambda publisher=publisher: not publisher.alive)


@pytest.fixture
def with_passwords(make_mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> Mosquitto:
    """A mosquitto that knows the user `cam`; not started."""
    if which("mosquitto_passwd") is None:
        pytest.skip("mosquitto_passwd is not installed on this machine: passwords NOT tested")
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    set_password(passwords, SECRET)
    return make_mosquitto(f"allow_anonymous false\npassword_file {passwords}")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A certificate authority of its own, in ca.pem, which has signed broker.pem for 127.0.0.1."""
    if which("openssl") is None:
        pytest.skip("openssl is not installed on this machine: TLS NOT tested")
    made = Authority(tmp_path)
    made.sign("broker")
    return made


@pytest.fixture
def make_tls(make_mosquitto: Callable[..., Mosquitto], authority: Authority) -> Callable[..., Mosquitto]:
    """Makes a running mosquitto with a certificate, and a second listener without TLS for subscribers."""

    def make(certificate: str = "broker", more: str = "") -> Mosquitto:
        folder = authority.folder
        keys = f"cafile {folder}/ca.pem\ncertfile {folder}/{certificate}.pem\nkeyfile {folder}/{certificate}.key"
        plain = f"listener {free_port()} 127.0.0.1"
        broker = make_mosquitto(f"{keys}\n{more}\n{plain}\nallow_anonymous true").start()
        wait_until(lambda: " running" in broker.log())  # it opens its ports one after the other
        return broker

    return make


@pytest.fixture
def with_tls(make_tls: Callable[..., Mosquitto]) -> Mosquitto:
    return make_tls()

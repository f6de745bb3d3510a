"""Hosts with a real systemd, bundles for them, and a broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from realbrokers import MOSQUITTO, Mosquitto
from releases import Bundles
from systemdhost import SystemdHost

from deploy.signing import create_key


@pytest.fixture(scope="session")
def make_bundles(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bundles]:
    made: dict[str, Bundles] = {}

    def make(board: str) -> Bundles:
        if board not in made:
            made[board] = Bundles(tmp_path_factory.mktemp(f"bundles-{board}"), board)
            create_key(made[board].key)
        return made[board]

    return make


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed (apt-get install mosquitto): deployment to a host NOT tested")
    broker = Mosquitto(tmp_path_factory.mktemp("broker")).start()
    yield broker
    broker.kill()


@pytest.fixture(scope="module")
def make_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., SystemdHost]]:
    made: list[SystemdHost] = []

    def make(machine: str = "amd64") -> SystemdHost:
        host = SystemdHost(tmp_path_factory.mktemp("host"), machine=machine)
        made.append(host)
        return host.start()

    yield make
    for host in made:
        host.close()

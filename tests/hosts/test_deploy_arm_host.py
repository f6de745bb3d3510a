"""`make deploy` to a host whose programs are all for ARM, run by an emulator: what is deployed is what a board gets."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest
from deployer import Deployer
from realbrokers import Mosquitto, Subscriber
from releases import Bundles, configuration
from rootfs import wait_until
from systemdhost import SystemdHost

from deploy.manifest import release_of

pytestmark = [pytest.mark.system, pytest.mark.hosts]

EVENTS = "edge-fer/lab/camera/front/events"
SLOW_S = 1200
"""An emulator on a busy machine: it only ends a hang."""


@pytest.fixture(scope="module")
def user(
    tmp_path_factory: pytest.TempPathFactory,
    make_host: Callable[..., SystemdHost],
    make_bundles: Callable[[str], Bundles],
    broker: Mosquitto,
) -> Deployer:
    host = make_host("arm64")
    host.leave_out("PrivateIPC=no")  # no process under qemu can be handed a namespace
    deployer = Deployer(tmp_path_factory.mktemp("user"), host, make_bundles("generic-arm64"), broker)
    deployer.config.write_text(configuration(broker.port, more="max_fps = 2"))  # as much as an emulator can look at
    return deployer


@pytest.fixture
def heard(user: Deployer) -> Iterator[Subscriber]:
    subscriber = user.subscribe()
    yield subscriber
    subscriber.close()


def test_events_arrive_and_rollback_brings_the_release_before(user: Deployer, heard: Subscriber) -> None:
    make = ["make", "--no-print-directory", "deploy", "BOARD=generic-arm64", f"HOST={user.host.name}"]
    make += [f"SSH_CONFIG={user.host.ssh_config}", f"CONFIG={user.config}", f"KEY={user.bundles.key}"]
    done = user.run([*make, f"PYTHON={sys.executable}", "ARGS=--gate-s 600"])
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    first = user.host.said("readlink /opt/edge-fer/current").rpartition("/")[2]
    wait_until(lambda: heard.on(EVENTS), SLOW_S, "an event")
    assert heard.on(EVENTS)[0].body["type"] == "start"
    assert heard.on("edge-fer/lab/info")[-1].body["board"]
    newer = user.bundles.well("0.2.0")
    done = user.deploy(newer, "--gate-s", "600")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert user.host.said("readlink /opt/edge-fer/current").endswith(release_of(newer))
    done = user.run(
        [
            *make[:2],
            "rollback",
            f"HOST={user.host.name}",
            f"SSH_CONFIG={user.host.ssh_config}",
            f"PYTHON={sys.executable}",
        ]
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert user.host.said("readlink /opt/edge-fer/current").endswith(first)
    before = len(heard.on(EVENTS))
    wait_until(lambda: len(heard.on(EVENTS)) > before, SLOW_S, "an event of the release before")

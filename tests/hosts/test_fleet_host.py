"""`make deploy INVENTORY=...`: Ansible, several boards, and one that is not well."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from deployer import Deployer
from realbrokers import Mosquitto
from releases import Bundles, configuration
from systemdhost import SystemdHost

pytestmark = [pytest.mark.system, pytest.mark.hosts]

BOARD = """
    {name}:
      ansible_host: 127.0.0.1
      ansible_port: {port}
      ansible_user: root
      ansible_ssh_private_key_file: {key}
      ansible_ssh_common_args: -o UserKnownHostsFile={known} -o StrictHostKeyChecking=accept-new
      edge_fer_board: {board}
      edge_fer_config: {name}.toml
"""


@pytest.mark.usefixtures("broker")
def test_the_first_board_that_is_not_well_stops_the_rest(
    tmp_path: Path,
    make_host: Callable[..., SystemdHost],
    make_bundles: Callable[[str], Bundles],
    broker: Mosquitto,
) -> None:
    """Three boards one after the other: the second is of another architecture than its line says."""
    hosts = {"first": make_host(), "second": make_host(), "third": make_host()}
    user = Deployer(tmp_path, hosts["first"], make_bundles("generic-amd64"), broker)
    text = "all:\n  vars: {edge_fer_batches: 1}\n  hosts:"
    for name, host in hosts.items():
        (tmp_path / f"{name}.toml").write_text(configuration(broker.port, node=name))
        board = "generic-arm64" if name == "second" else "generic-amd64"
        text += BOARD.format(
            name=name, port=host.port, key=host.work / "id", known=host.work / "known_hosts", board=board
        )
    (tmp_path / "fleet.yml").write_text(text)
    make = ["make", "--no-print-directory", "deploy", f"INVENTORY={tmp_path / 'fleet.yml'}", f"PYTHON={sys.executable}"]
    heard = user.subscribe()
    done = user.run([*make, f"KEY={user.bundles.key}"])
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "the processor is x86_64" in said, said
    assert b"online" in heard.payloads("edge-fer/first/status")
    heard.close()
    assert hosts["first"].properties()["ActiveState"] == "active"
    for name in ("second", "third"):
        assert hosts[name].ssh("test -e /opt/edge-fer").returncode != 0, f"{name} was touched"

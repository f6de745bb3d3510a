"""What an inventory of Ansible says of boards, read by Ansible itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deploy.checkout import PROJECT
from deploy.fleet import _program, _ssh_config, _words, read_inventory
from edge_fer.errors import ConfigError, UnavailableError

pytest.importorskip(
    "ansible", reason="ansible-core is not installed (pip install ansible-core): inventories NOT tested"
)

GOOD = """
all:
  vars:
    ansible_user: pi
  hosts:
    kitchen:
      ansible_host: 192.0.2.11
      ansible_port: 2222
      edge_fer_board: raspberry-pi-5
      edge_fer_config: kitchen.toml
    hall:
      ansible_host: 192.0.2.12
      ansible_user: root
      edge_fer_board: jetson-nano
      edge_fer_system: jetpack-4
      ansible_ssh_private_key_file: /keys/hall
      ansible_ssh_common_args: -o ProxyJump=gate -o Compression=yes
"""


def inventory(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "fleet.yml"
    path.write_text(text)
    return path


def test_each_board_gets_the_words_of_make_deploy(tmp_path: Path) -> None:
    hosts = read_inventory(inventory(tmp_path, GOOD))
    assert _words("kitchen", hosts["kitchen"], tmp_path) == [
        *("--host", "pi@192.0.2.11:2222", "--board", "raspberry-pi-5"),
        *("--config", str(tmp_path / "kitchen.toml")),
    ]
    assert _words("hall", hosts["hall"], tmp_path) == [
        *("--host", "root@192.0.2.12", "--board", "jetson-nano", "--system", "jetpack-4"),
    ]


def test_what_ansible_says_of_ssh_is_what_ssh_does(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(_ssh_config(read_inventory(inventory(tmp_path, GOOD))["hall"]))
    said = subprocess.run(
        ["ssh", "-G", "-F", str(config), "somewhere"], capture_output=True, text=True, check=True
    ).stdout
    assert "identityfile /keys/hall\n" in said
    assert "proxyjump gate\n" in said
    assert "compression yes\n" in said


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = "all:\n  hosts:\n    a: {edge_fer_board: toaster}\n    b: {}\n"
    text += "    c: {edge_fer_board: generic-arm64, edge_fer_cfg: x}\n"
    with pytest.raises(ConfigError) as caught:
        read_inventory(inventory(tmp_path, text))
    lines = sorted(str(caught.value).splitlines())
    assert [line.split(": ")[1] for line in lines] == ["a", "b", "c"]
    assert "unknown board 'toaster'" in lines[0]
    assert "edge_fer_board is missing" in lines[1]
    assert "edge_fer_cfg: unknown variable" in lines[2]


def test_what_is_no_inventory_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"absent.yml: no such file"):
        read_inventory(tmp_path / "absent.yml")
    with pytest.raises(ConfigError, match=r"fleet.yml: "):
        read_inventory(inventory(tmp_path, "all: [}\n"))
    with pytest.raises(ConfigError, match=r"fleet.yml: no hosts in it"):
        read_inventory(inventory(tmp_path, "all: {}\n"))


def test_the_example_is_a_right_one() -> None:
    assert set(read_inventory(PROJECT / "deploy/ansible/fleet.example.yml")) == {"kitchen", "hall"}


def test_the_playbook_is_one() -> None:
    command = [
        _program("ansible-playbook"),
        "--syntax-check",
        "-i",
        "localhost,",
        str(PROJECT / "deploy/ansible/playbook.yml"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

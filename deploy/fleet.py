"""Many boards: what an inventory of Ansible says of each, and the playbook that deploys to them in batches."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy.board import load_board
from deploy.target import Target
from edge_fer.errors import ConfigError, EdgeFerError, UnavailableError

PLAYBOOK = Path(__file__).parent / "ansible" / "playbook.yml"
CHECKOUT = Path(__file__).parent.parent

FILES = {
    "edge_fer_config": "--config",
    "edge_fer_mqtt_password_file": "--mqtt-password-file",
    "edge_fer_python_tree": "--python-tree",
}
"""Variables of a board that name a file, and the options that they become."""

WORDS = {"edge_fer_system": "--system"}
KNOWN = {"edge_fer_board", "edge_fer_batches", "edge_fer_hosts", *FILES, *WORDS}


def deploy_fleet(inventory: Path, options: Sequence[str], more: Sequence[str]) -> int:
    """Deploy to every board of an inventory; the exit code of ansible-playbook.

    `options` go to each board's `deploy`, `more` to ansible-playbook (`--limit kitchen`). ConfigError lists everything
    that is wrong with the inventory before any board is touched; UnavailableError where Ansible is missing.
    """
    hosts = read_inventory(inventory)
    with tempfile.TemporaryDirectory(prefix="edge-fer-fleet-") as folder:
        commands = {}
        for name, variables in hosts.items():
            ssh_config = Path(folder) / f"{name}.ssh"
            ssh_config.write_text(_ssh_config(variables))
            words = _words(name, variables, inventory.parent)
            commands[name] = [
                sys.executable,
                "-m",
                "deploy",
                "deploy",
                *words,
                "--ssh-config",
                str(ssh_config),
                *options,
            ]
        given = Path(folder) / "commands.json"
        given.write_text(json.dumps({"edge_fer_commands": commands, "edge_fer_checkout": str(CHECKOUT)}))
        command = [_program("ansible-playbook"), "-i", str(inventory), "-e", f"@{given}", *more, str(PLAYBOOK)]
        return subprocess.run(command, env=_environment(), check=False).returncode


def read_inventory(inventory: Path) -> dict[str, Mapping[str, Any]]:
    """Variables of each host. ConfigError lists everything that is wrong, with file and host."""
    if not inventory.is_file():
        raise UnavailableError(f"{inventory}: no such file; an inventory looks like deploy/ansible/fleet.example.yml")
    ran = subprocess.run(
        [_program("ansible-inventory"), "-i", str(inventory), "--list"],
        env=_environment() | {"ANSIBLE_INVENTORY_UNPARSED_FAILED": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        said = " ".join(ran.stderr.split()) or "no reason was given"
        raise ConfigError(f"{inventory}: not an inventory of Ansible: {said[:500]}")
    hosts = _hosts(json.loads(ran.stdout))
    if not hosts:
        raise ConfigError(f"{inventory}: no hosts in it")
    if wrong := [f"{inventory}: {name}: {problem}" for name, host in hosts.items() for problem in _problems(host)]:
        raise ConfigError("\n".join(wrong))
    return hosts


def _hosts(listed: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Those of all groups: one without any variable is in a group only, and would be forgotten."""
    variables = listed.get("_meta", {}).get("hostvars", {})
    groups = [group for name, group in listed.items() if name != "_meta"]
    names = dict.fromkeys([*variables, *(name for group in groups for name in group.get("hosts", ()))])
    return {name: variables.get(name, {}) for name in names}


def _problems(host: Mapping[str, Any]) -> list[str]:
    wrong = []
    try:
        board = load_board(str(host.get("edge_fer_board", "")))
        board.system(host.get("edge_fer_system"))
    except EdgeFerError as err:
        wrong.append(f"edge_fer_board: {err}" if host.get("edge_fer_board") else f"edge_fer_board is missing: {err}")
    unknown = sorted(name for name in host if name.startswith("edge_fer_") and name not in KNOWN)
    wrong += [f"{name}: unknown variable; known are {', '.join(sorted(KNOWN))}" for name in unknown]
    return wrong


def _words(name: str, host: Mapping[str, Any], beside: Path) -> list[str]:
    target = Target(str(host.get("ansible_host", name)), _word(host, "ansible_user"), _port(host))
    words = ["--host", str(target), "--board", str(host["edge_fer_board"])]
    for variable, option in WORDS.items():
        words += [option, str(host[variable])] if variable in host else []
    for variable, option in FILES.items():
        words += [option, str((beside / str(host[variable])).absolute())] if variable in host else []
    return words


def _ssh_config(host: Mapping[str, Any]) -> str:
    """What Ansible's variables say to ssh, and then the user's own configuration."""
    lines = []
    if key := _word(host, "ansible_ssh_private_key_file") or _word(host, "ansible_private_key_file"):
        lines.append(f"  IdentityFile {Path(key).expanduser()}")
    for variable in ("ansible_ssh_common_args", "ansible_ssh_extra_args"):
        options = shlex.split(_word(host, variable) or "")
        lines += [f"  {text.replace('=', ' ', 1)}" for flag, text in itertools.pairwise(options) if flag == "-o"]
    mine = [
        f"Include {path}" for path in (Path.home() / ".ssh" / "config", Path("/etc/ssh/ssh_config")) if path.is_file()
    ]
    return "\n".join(["Host *", *lines, "Match all", *mine, ""])


def _word(host: Mapping[str, Any], name: str) -> str | None:
    return str(host[name]) if name in host else None


def _port(host: Mapping[str, Any]) -> int | None:
    port = host.get("ansible_port")
    return int(port) if port is not None else None


def _program(name: str) -> str:
    """Beside this Python, as pip puts it there, or on the PATH."""
    beside = Path(sys.executable).parent / name
    if beside.exists():
        return str(beside)
    if found := shutil.which(name):
        return found
    raise UnavailableError(f"{name} is not installed: pip install --editable '.[fleet]'")


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
        "ANSIBLE_NOCOWS": "1",
        "ANSIBLE_RETRY_FILES_ENABLED": "0",
        "ANSIBLE_LOCALHOST_WARNING": "0",
    }

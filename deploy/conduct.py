"""`make deploy`: from a board's name and a host to a service that runs there, or to the one that ran before."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.board import Board, System
from deploy.bundle import build_bundle
from deploy.manifest import read_manifest, release_of, requirements
from deploy.push import FOLDER, send_large, send_small
from deploy.release.preflight import problems
from deploy.root import root_prefix
from deploy.ssh import Connection, CutOffError
from edge_fer.errors import EdgeFerError, UnavailableError

AGENT = "edge-fer-release"
INSTALLED_AGENT = "/opt/edge-fer/edge-fer-release"


class RefusedError(EdgeFerError):
    """The board was looked at, and nothing on it was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What `make deploy` is asked for, besides board and host."""

    dist: Path  # where bundles are built
    system: str | None = None  # of the board's systems; None: what is found there
    bundle: Path | None = None  # one that is built already
    python_tree: Path | None = None
    key: Path | None = None  # that signs; None: the default
    config: Path | None = None
    mqtt_password: Path | None = None
    trust: bool = False  # have a board that trusts another key trust this one too
    more: Sequence[str] = ()  # options of the board's installer


def deploy(connection: Connection, board: Board, wishes: Wishes, agent: Path, told: Callable[[str], None]) -> int:
    """The exit code of the installer on the board; `agent` is its file here.

    RefusedError with everything that is wrong, before anything is changed.
    """
    told(f"looking at {connection.target} ...")
    send_small(connection, agent.read_bytes(), AGENT, "0700")
    facts = ask_facts(connection)
    system = choose_system(board, facts, wishes.system)
    what = facts.get("board_name") or facts["machine"]
    told(f"{what}, {facts.get('os_name', 'unknown system')}: a bundle for {system.name}")
    # Before minutes are spent on a bundle for a board that it would not run on.
    wrong = problems(facts, requirements(board, system))
    prefix = root_prefix(connection, facts, wrong)
    if not facts.get("rsync"):
        wrong.append("rsync is not installed on the board: apt-get install rsync there")
    _refuse(connection, wrong)
    bundle = wishes.bundle or build_bundle(
        board, system, out=wishes.dist, python_tree=wishes.python_tree, key=wishes.key, told=told
    )
    _refuse(connection, _misfits(bundle, board, facts))
    told(f"sending {bundle.name} ({bundle.stat().st_size / 1e6:.0f} MB, less where an earlier one lies there) ...")
    path = send_large(connection, bundle, told, compress=system.python_source == "standalone")
    return install(connection, prefix, path, wishes, told)


def _misfits(bundle: Path, board: Board, facts: Mapping[str, Any]) -> list[str]:
    """Now that it is known what is in it: how much it needs of the disk, for one."""
    manifest = read_manifest(bundle)
    if manifest["board"] != board.key:
        return [f"{bundle.name} is for {manifest['board']}, not for {board.key}: give the BOARD that it was built for"]
    return problems(facts, manifest, unpacked=facts.get("release") == release_of(bundle))


def _refuse(connection: Connection, wrong: Sequence[str]) -> None:
    if wrong:
        raise RefusedError(f"{connection.target} was not touched:\n" + "\n".join(f"- {line}" for line in wrong))


def ask_facts(connection: Connection) -> Mapping[str, Any]:
    """What the board tells of itself; UnavailableError where it cannot."""
    done = connection.run(["python3", f"{FOLDER}/{AGENT}", "facts", "--json"])
    if done.code == 127:  # noqa: PLR2004 - of the shell: no such program
        raise UnavailableError(
            f"{connection.target}: python3 is not on the board; every supported system has one: apt-get install python3"
        )
    try:
        return dict(json.loads(done.out))
    except ValueError as err:
        said = (done.err or done.out).strip().splitlines() or ["no answer"]
        raise UnavailableError(f"{connection.target}: the board cannot be looked at: {said[-1]}") from err


def choose_system(board: Board, facts: Mapping[str, Any], wanted: str | None) -> System:
    """The wanted one, or the one that the board runs. RefusedError where it runs none of them."""
    if wanted:
        return board.system(wanted)
    found = f"{facts.get('os_id', '')} {facts.get('os_version', '')}".strip()
    for system in board.systems:
        if found in system.os:
            return system
    known = "; ".join(f"{system.key} ({', '.join(system.os)})" for system in board.systems)
    raise RefusedError(
        f"the board runs {facts.get('os_name') or found or 'an unknown system'} (glibc {facts.get('glibc')}), and "
        f"{board.key} is prepared for {known}. SYSTEM=KEY takes one of these all the same, where glibc and Python fit"
    )


def install(
    connection: Connection, prefix: Sequence[str], bundle: str, wishes: Wishes, told: Callable[[str], None]
) -> int:
    """Have the board's installer do its work as root; its exit code."""
    from deploy.signing import public_line

    options = ["--trust", send_small(connection, public_line(wishes.key).encode(), "trust.pub")]
    if wishes.trust:
        options.append("--trust-more")
    if wishes.config:
        options += ["--config", send_small(connection, _read(wishes.config), "edge-fer.toml")]
    if wishes.mqtt_password:
        options += ["--mqtt-password", send_small(connection, _read(wishes.mqtt_password), "mqtt-password")]
    told("installing on the board; a cut connection does not stop it ...")
    command = [*prefix, "python3", f"{FOLDER}/{AGENT}", "install", bundle, *options, *wishes.more]
    try:
        return connection.follow(command, typing=bool(prefix) and "-n" not in prefix)
    finally:
        _tidy(connection, bundle)


def _tidy(connection: Connection, bundle: str) -> None:
    """Secrets go at once; of bundles the newest stays, from which the next one is sent as a difference."""
    script = (
        f"cd {FOLDER} && rm -f mqtt-password edge-fer.toml trust.pub && "
        f"find . -maxdepth 1 -name 'edge-fer-*.tar' ! -name '{Path(bundle).name}' -exec rm -f {{}} +"
    )
    try:
        connection.run(["sh", "-c", script])
    except CutOffError:
        return  # the first error is the one to tell; the folder is closed to others, and tidied the next time


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise UnavailableError(f"{path}: cannot be read ({err.strerror})") from err

"""What is asked of a board that edge-fer is deployed to already."""

from __future__ import annotations

from collections.abc import Sequence

from deploy.conduct import INSTALLED_AGENT, RefusedError
from deploy.root import root_prefix
from deploy.ssh import Connection
from edge_fer.errors import UnavailableError

UNITS = ("edge-fer.service", "edge-fer-confirm.service", "edge-fer-power-mode@*")


def ask_agent(connection: Connection, words: Sequence[str], *, as_root: bool = True) -> int:
    """Have the program that was installed with the releases do something, its output shown; its exit code.

    UnavailableError where nothing is deployed there; RefusedError where root is needed and not to be had.
    """
    if connection.run(["test", "-e", INSTALLED_AGENT]).code:
        raise UnavailableError(f"{connection.target}: edge-fer is not deployed there (no {INSTALLED_AGENT})")
    prefix = _root(connection) if as_root else []
    return connection.follow([*prefix, "python3", INSTALLED_AGENT, *words], typing=_types(prefix))


def show_logs(connection: Connection, lines: int, *, follow: bool) -> int:
    """The journal of edge-fer's units; the exit code of journalctl."""
    prefix = _root(connection)
    chosen = [word for unit in UNITS for word in ("-u", unit)]
    words = ["journalctl", "--no-pager", *chosen, "-n", str(lines), *(["-f"] if follow else [])]
    return connection.follow([*prefix, *words], typing=_types(prefix))


def _root(connection: Connection) -> list[str]:
    user = connection.run(["id", "-un"]).out.strip()
    wrong: list[str] = []
    prefix = root_prefix(connection, {"user": user}, wrong)
    if wrong:
        raise RefusedError(f"{connection.target}: {wrong[0]}")
    return prefix


def _types(prefix: Sequence[str]) -> bool:
    return bool(prefix) and "-n" not in prefix

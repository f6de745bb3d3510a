"""How to become root on a board."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploy.ssh import Connection

WITHOUT_ASKING = ("sudo", "-n")


def root_prefix(connection: Connection, facts: Mapping[str, Any], wrong: list[str]) -> list[str]:
    """What stands before a command so that it runs as root; what is in the way is added to `wrong`.

    Where sudo asks for a password, and there is a terminal, it is typed there: it is never taken, kept or passed on.
    """
    if facts.get("user") == "root":
        return []
    user = facts.get("user") or "this user"
    done = connection.run([*WITHOUT_ASKING, "true"])
    if done.code == 0:
        return list(WITHOUT_ASKING)
    said = (done.err.strip().splitlines() or ["sudo failed"])[-1]
    if "not found" in said:
        wrong.append(f"{user} is not root, and there is no sudo on the board: HOST=root@..., or apt-get install sudo")
    elif "password is required" in said or "terminal is required" in said:
        if connection.terminal:
            return ["sudo"]
        wrong.append(
            f"sudo asks {user} for a password, and there is no terminal to type it at: start this in a terminal, or "
            f"let {user} use sudo without one"
        )
    else:
        wrong.append(f"{user} may not become root by sudo: {said}")
    return []

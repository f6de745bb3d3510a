"""What runs as root: sets one power mode, and ends. Started by systemd, see `edge-fer-power-mode@.service`.

    python -I -m edge_fer.power_modes.helper MODE

or with a connection of `edge-fer-power-mode.socket`, from which it reads one line with the mode, and answers one line.
It trusts nobody: MODE is a short word of harmless characters, and one that this board has, by name, id or budget.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from collections.abc import Mapping, Sequence

from edge_fer.errors import EdgeFerError, UsageError
from edge_fer.power_modes.interruption import Interrupted
from edge_fer.power_modes.modes import open_power_modes
from edge_fer.power_modes.set import set_power_mode
from edge_fer.sensors.board import read_board
from edge_fer.sensors.machine import Machine

LONGEST_MODE = 64
TIMEOUT_S = 5.0
"""In which a client has to say what it wants."""

_MODE = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.]{{0,{LONGEST_MODE - 1}}}")
_FIRST_FD = 3  # sd_listen_fds(3)


def main(
    arguments: Sequence[str],
    environ: Mapping[str, str] = os.environ,
    machine: Machine = Machine(),  # noqa: B008 - frozen
) -> int:
    """Exit code: 0 set, 2 no such mode, 69 it cannot be set, 128 and more: ended by a signal."""
    # The instance of an accepted connection is no mode, so the connection counts.
    if environ.get("LISTEN_FDS") == "1" and environ.get("LISTEN_PID") == str(os.getpid()):
        with socket.socket(fileno=_FIRST_FD) as client:
            return serve(client, machine)
    if len(arguments) != 1:
        return _tell("the helper takes one argument, the power mode", UsageError.exit_code)
    code, text = set_it(arguments[0], machine)
    return _tell(text, code)


def serve(client: socket.socket, machine: Machine, timeout_s: float = TIMEOUT_S) -> int:
    """One request, one answer: "ok TEXT" or "no TEXT". A request that is refused is a finished one, with 0."""
    try:
        code, text = set_it(_read_line(client, time.monotonic() + timeout_s), machine)
        client.settimeout(TIMEOUT_S)
        client.sendall(f"{'no' if code else 'ok'} {text}\n".encode())
    except OSError as err:
        return _tell(f"the client is gone: {err}", 0)
    return _tell(text, 0)


def set_it(wanted: str, machine: Machine) -> tuple[int, str]:
    """Exit code and one line for people."""
    if not _MODE.fullmatch(wanted):
        return UsageError.exit_code, f"{wanted[:LONGEST_MODE]!a} is no power mode: letters, digits, _ and . only"
    try:
        mode = set_power_mode(open_power_modes(machine), wanted, read_board(machine).key)
    except EdgeFerError as err:
        return err.exit_code, " ".join(str(err).split())
    except Interrupted as err:  # systemd's patience is at its end, or the machine shuts down
        return 128 + err.signum, str(err)
    return 0, f"power mode {mode} is set"


def _tell(text: str, code: int) -> int:
    """Into the journal."""
    sys.stderr.write(f"edge-fer: {text}\n")
    return code


def _read_line(client: socket.socket, until_s: float) -> str:
    """Up to a line's end, or that of the connection; never more than a mode may have, and TimeoutError in the end."""
    got, more = b"", b"-"
    while b"\n" not in got and len(got) <= LONGEST_MODE and more:
        client.settimeout(max(until_s - time.monotonic(), 1e-3))  # in all: a byte now and then keeps nobody waiting
        more = client.recv(LONGEST_MODE + 1)
        got += more
    return got.split(b"\n")[0].decode("ascii", errors="replace")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

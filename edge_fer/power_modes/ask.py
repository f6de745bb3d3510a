"""What the daemon does: it asks the root helper for a power mode, and tells what became of it.

By the helper's socket, which works everywhere; without it by `systemctl start`, which a polkit rule allows where polkit
reads such rules (0.106 or later; Ubuntu 22.04, and with it JetPack 6, does not).
"""

from __future__ import annotations

import socket
from pathlib import Path

from edge_fer.errors import UnavailableError
from edge_fer.power_modes.choose import choose_mode
from edge_fer.power_modes.mode import NeedsRebootError, PowerMode
from edge_fer.power_modes.modes import PowerModes, open_power_modes
from edge_fer.power_modes.nvpmodel import SET_TIMEOUT_S
from edge_fer.power_modes.programs import run_program
from edge_fer.sensors.board import read_board
from edge_fer.sensors.machine import Machine

SOCKET = "run/edge-fer-power-mode.sock"
TIMEOUT_S = SET_TIMEOUT_S + 30
NOT_INSTALLED = "the helper that may set power modes is not installed: see set-power-mode in docs/power.md"

_LONGEST_ANSWER = 4096


def ask_power_mode(wanted: str, machine: Machine = Machine()) -> str:  # noqa: B008 - frozen
    """Have a mode set; what was done, for people. Blocks until it is done.

    UsageError, NoModesError as `choose_mode`; NeedsRebootError; UnavailableError where the helper is missing, not
    allowed, or fails.
    """
    modes = open_power_modes(machine)
    mode = choose_mode(modes, wanted, read_board(machine).key)
    if mode.needs_reboot:
        raise NeedsRebootError(mode)
    if modes.current() == mode:
        return f"power mode {mode} is set already"
    word = mode.name if mode.id is None else str(mode.id)
    file = machine.root / SOCKET
    if file.exists():
        return _by_socket(word, file)
    _by_systemctl(word, machine)
    return _checked(modes, mode)


def _by_socket(word: str, file: Path) -> str:
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.settimeout(TIMEOUT_S)
            server.connect(str(file))
            server.sendall(f"{word}\n".encode())
            answer = _read_answer(server)
    except TimeoutError as err:
        raise UnavailableError(f"the helper of {file} did not answer within {TIMEOUT_S:g} s") from err
    except PermissionError as err:
        raise UnavailableError(f"{file} refuses this user; its group is edge-fer") from err
    except OSError as err:
        raise UnavailableError(f"the helper of {file} cannot be asked: {err.strerror or err}") from err
    verdict, _, text = answer.partition(" ")
    if verdict == "ok":
        return text
    raise UnavailableError(text or "the helper ended without an answer; its log: journalctl -u 'edge-fer-power-mode@*'")


def _read_answer(server: socket.socket) -> str:
    got = b""
    while b"\n" not in got and len(got) < _LONGEST_ANSWER and (more := server.recv(_LONGEST_ANSWER)):
        got += more
    return got.split(b"\n")[0].decode(errors="replace")


def _by_systemctl(word: str, machine: Machine) -> None:
    program = machine.program("systemctl")
    if program is None:
        raise UnavailableError(f"{NOT_INSTALLED} (there is no systemctl either)")
    # An id or a clock: nothing in it would have to be escaped for systemd.
    unit = f"edge-fer-power-mode@{word}.service"
    done = run_program([program, "--no-ask-password", "start", unit], TIMEOUT_S)
    if done.code == 0:
        return
    said = " ".join(done.output.split())
    if "not found" in said or "not-found" in said:
        raise UnavailableError(NOT_INSTALLED)
    if any(sign in said.lower() for sign in ("authentication required", "access denied", "not authorized")):
        raise UnavailableError(
            f"starting {unit} is not allowed: polkit refuses it; enable edge-fer-power-mode.socket, or install the rule"
        )
    if "bus" in said.lower() or "not been booted" in said:
        raise UnavailableError(f"systemd cannot be reached: {said[:200]}")
    raise UnavailableError(f"{unit} failed; its reason: journalctl -u '{unit}'")


def _checked(modes: PowerModes, mode: PowerMode) -> str:
    backend = modes.backend
    # Not by its name: a kernel that cools the board shows lower caps than are set.
    if backend is None or not backend.holds(backend.expected(mode)):
        now = modes.current() or "unknown"
        raise UnavailableError(f"the helper ended well, but the power mode is {now} and not {mode}")
    return f"power mode {mode} is set"

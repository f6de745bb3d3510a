"""vcgencmd of the Raspberry Pi: asks the firmware. A process each time, so nobody should ask often."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time

from edge_fer.errors import SensorError
from edge_fer.sensors.machine import Machine

TIMEOUT_S = 2.0
"""It takes some ms; the firmware may hang."""

_MAX_BYTES = 65_536
_REAP_S = 0.5


class Vcgencmd:
    """The program, asked one command at a time by one thread."""

    def __init__(self, machine: Machine, timeout_s: float = TIMEOUT_S) -> None:
        self._program = machine.program("vcgencmd")
        self._timeout_s = timeout_s
        self._stuck: subprocess.Popen[bytes] | None = None

    @property
    def installed(self) -> bool:
        """Whether there is such a program."""
        return self._program is not None

    def ask(self, command: str) -> str:
        """What the firmware answers; SensorError where it refuses, hangs, or the program is missing."""
        if self._program is None:
            raise SensorError("vcgencmd: no such program; install raspi-utils-core (libraspberrypi-bin before 2024)")
        if self._stuck is not None and self._stuck.poll() is None:
            raise SensorError(f"{self._program}: hangs and cannot be killed; the firmware does not answer")
        self._stuck = None
        try:
            child = subprocess.Popen(
                [self._program, command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},  # nothing of the daemon's own
            )
        except OSError as err:
            raise SensorError(f"{self._program}: cannot be started ({err.strerror})") from err
        return self._answer(child, command)

    def _answer(self, child: subprocess.Popen[bytes], command: str) -> str:
        until_s = time.monotonic() + self._timeout_s
        assert child.stdout is not None  # noqa: S101 - it was asked for
        with child.stdout:
            raw = _read_until(child.stdout.fileno(), until_s)
            status = self._end(child, until_s, killed=raw is None)
        if raw is None or status is None:
            raise SensorError(f"{self._program} {command}: no answer (of a few lines) within {self._timeout_s:g} s")
        text = raw.decode("utf-8", "replace").strip("\0 \r\n")
        if status or not text or text.startswith(("error=", "vc_gencmd_read_response", "Can't open", "VCHI ")):
            raise SensorError(f"{self._program} {command}: {_refusal(text, status)}")
        return text

    def _end(self, child: subprocess.Popen[bytes], until_s: float, *, killed: bool) -> int | None:
        """Its exit status; None where it has to be killed."""
        if not killed:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return child.wait(max(until_s - time.monotonic(), 0.0))
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)  # it is not reaped yet, so the number is still its own
        try:
            child.wait(_REAP_S)
        except subprocess.TimeoutExpired:
            self._stuck = child  # waits in the kernel, where no signal reaches it
        return None


def _read_until(fd: int, until_s: float) -> bytes | None:
    """All that comes; None where it does not end in time, or is far too much."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    raw = b""
    while len(raw) < _MAX_BYTES:
        if not poll.poll(max(until_s - time.monotonic(), 0.0) * 1e3):
            return None
        if not (piece := os.read(fd, _MAX_BYTES)):
            return raw
        raw += piece
    return None


def _refusal(text: str, status: int) -> str:
    if "vcio" in text or text.startswith("VCHI "):
        return "may not open /dev/vcio; add the user to the group video"
    return f"refused with {text[:80]!r} (status {status})" if text else f"no answer (status {status})"

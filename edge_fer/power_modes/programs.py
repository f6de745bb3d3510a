"""Programs of the board, run so that they can neither ask anything nor hang."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import NamedTuple

from edge_fer.errors import UnavailableError

REAP_S = 2.0
"""For the end of what was killed; the mode is still to be restored."""


class Done(NamedTuple):
    """How a program ended."""

    code: int
    output: str  # of both streams, as it came


def run_program(arguments: list[str], timeout_s: float) -> Done:
    """Run a program to its end; UnavailableError where it cannot be started, or takes too long and is killed.

    It has no terminal and nothing to read, so that every question gets no answer; and a Ctrl-C that is meant for us
    does not end it in the middle of its work.
    """
    try:
        child = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C"},
            start_new_session=True,
        )
    except OSError as err:
        raise UnavailableError(f"{arguments[0]} cannot be started: {err.strerror}") from err
    try:
        output, _ = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as err:
        raise UnavailableError(f"{' '.join(arguments)} did not end within {timeout_s:g} s, and was killed") from err
    finally:
        if child.returncode is None:
            _kill(child)
        if child.stdout:
            child.stdout.close()
    return Done(child.returncode, output.decode(errors="replace"))


def _kill(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it may run as somebody else
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # in the kernel, where no signal reaches it
        child.wait(REAP_S)

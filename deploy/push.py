"""Files to a board: whole or not at all, and over a connection that may be cut at any time."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from deploy.ssh import Connection, environment
from edge_fer.errors import UnavailableError

FOLDER = ".cache/edge-fer-deploy"
"""Below the home of whom ssh logs in as."""

ATTEMPTS = 3
PAUSE_S = 2.0
SILENCE_S = 30
"""After which rsync takes the connection for cut."""

_KEPT = "a part of the file is kept on the board, so the next attempt sends only the rest"


def send_small(connection: Connection, content: bytes, name: str, mode: str = "0600") -> str:
    """Write a file into FOLDER, which no other user may enter; its path there. UnavailableError where that fails."""
    path = f"{FOLDER}/{name}"
    script = (
        f"umask 077 && mkdir -p {FOLDER} && cat > {shlex.quote(path)}.new && chmod {mode} {shlex.quote(path)}.new "
        f"&& mv -f {shlex.quote(path)}.new {shlex.quote(path)}"
    )
    done = connection.run(["sh", "-c", script], content)
    if done.code:
        raise UnavailableError(f"{connection.target}: {path} cannot be written there: {_last(done.err)}")
    return path


def send_large(connection: Connection, file: Path, told: Callable[[str], None], *, compress: bool = False) -> str:
    """Copy a file into FOLDER by rsync, which goes on where it was cut, and sends only what is not in an earlier one.

    The path there. UnavailableError where it cannot be done, after some attempts where the connection is cut.
    """
    if shutil.which("rsync") is None:
        raise UnavailableError("rsync is not installed here: apt-get install rsync")
    attempt = 1
    while (cut := _rsync(connection, file, compress=compress)) is not None:
        if attempt == ATTEMPTS:
            raise UnavailableError(f"{cut}; {_KEPT}")
        told(f"{cut}; trying again in {PAUSE_S:g} s: {_KEPT}")
        time.sleep(PAUSE_S)
        attempt += 1
    return f"{FOLDER}/{file.name}"


def _rsync(connection: Connection, file: Path, *, compress: bool) -> str | None:
    """Why the connection was cut, None where it was not; UnavailableError where trying again is no use."""
    command = [
        *("rsync", "--partial", "--inplace", "--fuzzy", "--times", f"--timeout={SILENCE_S}"),
        *(["--compress"] if compress else []),
        *(["--info=progress2"] if connection.terminal else []),
        *("--rsh", connection.rsync_shell),
        *("--", str(file), f"{connection.target.rsync_login}:{FOLDER}/{file.name}"),
    ]
    ran = subprocess.run(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False, env=environment())
    if ran.returncode == 0:
        return None
    said = ran.stderr.decode(errors="replace")
    if "No space left" in said:
        raise UnavailableError(f"{connection.target}: no space left for {file.name} in ~/{FOLDER} on the board")
    if ran.returncode in _CUT:
        return f"{connection.target}: the connection was cut ({_last(said)})"
    if "command not found" in said or "rsync: not found" in said:
        raise UnavailableError(f"{connection.target}: rsync is not installed on the board: apt-get install rsync there")
    raise UnavailableError(f"{connection.target}: rsync failed with {ran.returncode}: {_last(said)}")


_CUT = (10, 12, 20, 30, 35, 255)
"""Of rsync(1): socket, stream, signal, timeouts; and what ssh ends with."""


def _last(said: str) -> str:
    return next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "no reason was given")

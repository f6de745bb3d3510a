"""A board over ssh: one connection for everything, and errors that name their cure."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from deploy.target import Target
from edge_fer.errors import UnavailableError

CONNECT_S = 10
SILENCE_S = 5
"""After three such times without a sign of life a connection counts as cut."""

SSH_FAILED = 255
"""Exit code of ssh where it is ssh itself that failed."""

_LONGEST_SOCKET = 60
"""A socket's path may have 108 bytes; ssh adds 40 and more."""


class Done(NamedTuple):
    """What a command on the board did."""

    code: int
    out: str
    err: str


class CutOffError(UnavailableError):
    """The connection was there, and went away; what runs on the board goes on by itself."""


class Connection:
    """Runs commands on a board. The first call logs in, and asks for a password where there is a terminal to ask at."""

    def __init__(
        self, target: Target, sockets: Path, *, config: Path | None = None, terminal: bool | None = None
    ) -> None:
        """`config` is an ssh_config(5); `sockets` a folder for the connection that all calls share."""
        self.target = target
        self.terminal = sys.stdin.isatty() if terminal is None else terminal
        self._options = [
            *(["-F", str(config)] if config else []),
            *(["-p", str(target.port)] if target.port else []),
            *("-o", "ControlMaster=auto", "-o", f"ControlPath={sockets}/%C", "-o", "ControlPersist=60"),
            *("-o", f"ConnectTimeout={CONNECT_S}"),
            *("-o", f"ServerAliveInterval={SILENCE_S}", "-o", "ServerAliveCountMax=3"),
            *("-o", f"BatchMode={'no' if self.terminal else 'yes'}"),
        ]
        self._logged_in = False

    def log_in(self) -> None:
        """UnavailableError where that does not work."""
        self.run(["true"])

    @property
    def rsync_shell(self) -> str:
        """What rsync is told to connect by."""
        return shlex.join(["ssh", *self._options])

    def run(self, command: Sequence[str], stdin: bytes = b"") -> Done:
        """Run a command to its end, its output caught. UnavailableError where ssh fails, CutOffError in the middle."""
        try:
            ran = subprocess.run(
                self._command(command), input=stdin, capture_output=True, check=False, env=environment()
            )
        except FileNotFoundError as err:
            raise UnavailableError(_MISSING.format("ssh", "openssh-client")) from err
        done = Done(ran.returncode, _text(ran.stdout), _text(ran.stderr))
        self._check(done.code, done.err)
        return done

    def follow(self, command: Sequence[str], *, typing: bool = False) -> int:
        """Run a command whose output is the user's to see as it comes; its exit code.

        `typing`: the user may have to type something, a password of sudo, so the board gets a terminal.
        """
        words = self._command(command)
        if typing:
            words.insert(1, "-t")
        process = subprocess.Popen(
            words,
            stdin=None if typing else subprocess.DEVNULL,
            stderr=None if typing else subprocess.PIPE,
            env=environment(),
        )
        said = b""
        try:
            if process.stderr:
                for line in process.stderr:  # passed on as it comes, and kept for the reason of a failure
                    sys.stderr.buffer.write(line)
                    sys.stderr.flush()
                    said = (said + line)[-4000:]
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        self._check(code, _text(said))
        return code

    def close(self) -> None:
        """End the shared connection."""
        with contextlib.suppress(OSError):
            subprocess.run(
                ["ssh", *self._options, "-O", "exit", self.target.login], capture_output=True, check=False, timeout=10
            )

    def failure(self, said: str) -> UnavailableError:
        """Why ssh, or rsync over it, failed."""
        return explain(self.target, said, logged_in=self._logged_in)

    def _command(self, command: Sequence[str]) -> list[str]:
        return ["ssh", *self._options, self.target.login, "--", shlex.join(command)]

    def _check(self, code: int, said: str) -> None:
        if code == SSH_FAILED:
            raise self.failure(said)
        self._logged_in = True


@contextlib.contextmanager
def connected(target: Target, config: Path | None = None, *, terminal: bool | None = None) -> Iterator[Connection]:
    """A connection that is logged in; UnavailableError with its cure where that does not work."""
    if shutil.which("ssh") is None:
        raise UnavailableError(_MISSING.format("ssh", "openssh-client"))
    if config is not None and not config.is_file():
        raise UnavailableError(f"{config}: no such file; SSH_CONFIG names a configuration of ssh (man ssh_config)")
    # A long TMPDIR would make ssh fail with a message that nobody understands.
    folder = tempfile.gettempdir()
    with tempfile.TemporaryDirectory(prefix="ef-", dir=folder if len(folder) < _LONGEST_SOCKET else "/tmp") as sockets:  # noqa: S108
        connection = Connection(target, Path(sockets), config=config, terminal=terminal)
        try:
            connection.log_in()
            yield connection
        finally:
            connection.close()


def explain(target: Target, said: str, *, logged_in: bool) -> UnavailableError:
    """What the last words of ssh mean for its user."""
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "ssh failed without a word")
    if re.search("REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for .* has changed", said):
        where = re.search(r"Offending .*? in (\S+)", said)
        return UnavailableError(
            f"{target}: another machine answers than last time, or it was installed anew: its host key has changed"
            f"{f' ({where[1]})' if where else ''}. If you know why: ssh-keygen -R {_known_as(target)}, then again"
        )
    for sign, meaning in _FAILURES:
        if re.search(sign, said, re.IGNORECASE):
            return UnavailableError(f"{target}: {meaning.format(target=_by_hand(target))} (ssh: {last})")
    if logged_in:
        return CutOffError(
            f"{target}: the connection was cut ({last}); what runs on the board goes on. Say it again: it goes on "
            "where it stopped"
        )
    return UnavailableError(f"{target}: ssh cannot log in ({last}); try: ssh {_by_hand(target)}")


_MISSING = "{} is not installed here: apt-get install {}"

_FAILURES = (
    ("could not resolve hostname", "no machine has this name; is it spelled right, and are you in its network?"),
    ("connection refused", "the machine is there, but nothing answers at this port; is its ssh server on?"),
    (
        "timed out|no route to host|network is unreachable",
        "nothing answers; is the board on, and in this network?",
    ),
    ("host key verification failed", "its host key is not known yet: ssh {target} once, and compare what it shows"),
    (
        r"permission denied \(|too many authentication failures",
        "it does not take your key: ssh-copy-id {target}, or name the right one with SSH_CONFIG=FILE",
    ),
    ("bad configuration option|bad owner or permissions|no such identity", "ssh does not take its configuration"),
)


def _known_as(target: Target) -> str:
    return f"'[{target.address}]:{target.port}'" if target.port and target.port != 22 else target.address  # noqa: PLR2004


def _by_hand(target: Target) -> str:
    return f"-p {target.port} {target.login}" if target.port else target.login


def _text(said: bytes) -> str:
    return said.decode(errors="replace")


def environment() -> dict[str, str]:
    """Of programs that talk to a board: their messages are read, so they must be in English."""
    return {**os.environ, "LC_ALL": "C"}

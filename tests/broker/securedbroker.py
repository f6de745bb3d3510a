"""A mosquitto with the configuration, certificates, users and access list of deploy/mosquitto/."""

from __future__ import annotations

import grp
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from realbrokers import MOSQUITTO, free_port, wait_until

DEPLOY = Path(__file__).parents[2] / "deploy" / "mosquitto"
PROGRAMS = ("openssl", "mosquitto_passwd", "mosquitto_pub", "mosquitto_sub")
USER = "mosquitto"
"""What mosquitto becomes when it is started by root."""

# As Debian 12 ships /etc/mosquitto/mosquitto.conf; the paths are those of the test.
MAIN = """\
pid_file {folder}/data/mosquitto.pid
persistence true
persistence_location {folder}/data/
log_dest file {folder}/data/mosquitto.log
include_dir {folder}/conf.d
"""


def missing_programs() -> str:
    """What is to be installed; empty where all is there."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if MOSQUITTO is None or missing:
        return f"missing: {', '.join(missing) or 'mosquitto'} (apt install mosquitto mosquitto-clients openssl)"
    return ""


def require_programs() -> None:
    """Skip where something is missing."""
    if missing := missing_programs():
        pytest.skip(f"{missing}: the secured broker was NOT tested")


@contextmanager
def open_folder() -> Iterator[Path]:
    """One that the user mosquitto may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory(prefix="edge-fer-mosquitto-") as path:
        yield Path(path)


class SecuredMosquitto:
    """The shipped files in a folder of their own, with other paths and ports, and what a test adds."""

    def __init__(self, folder: Path, nodes: Sequence[str] = (), replaced: dict[str, str] | None = None) -> None:
        """`replaced` are further texts of edge-fer.conf and what stands there instead; each must be there."""
        self.folder, self.port = folder, free_port()
        self.keys = folder / "edge-fer"
        self._process: psutil.Popen | None = None
        folder.chmod(0o755)  # for the user that mosquitto becomes
        (folder / "conf.d").mkdir()
        data = folder / "data"
        data.mkdir()
        if os.geteuid() == 0:
            shutil.chown(data, USER, USER)
        setup("--host", "localhost", "--host", "127.0.0.1", *nodes_of(nodes), folder=self.keys)
        text = (DEPLOY / "edge-fer.conf").read_text()
        paths = {"/etc/mosquitto/edge-fer": str(self.keys), "listener 8883": f"listener {self.port} 127.0.0.1"}
        for old, new in {**paths, **(replaced or {})}.items():
            assert old in text, old
            text = text.replace(old, new)
        (folder / "conf.d" / "edge-fer.conf").write_text(text)
        (folder / "mosquitto.conf").write_text(MAIN.format(folder=folder))

    @property
    def ca_file(self) -> Path:
        return self.keys / "ca.crt"

    @property
    def process(self) -> psutil.Popen:
        assert self._process is not None, "start() it first"
        return self._process

    def password_file(self, user: str) -> Path:
        return self.keys / "passwords.d" / user

    def password(self, user: str) -> str:
        return self.password_file(user).read_text().rstrip("\n")

    def start(self) -> SecuredMosquitto:
        with (self.folder / "stderr").open("ab") as out:
            command = [str(MOSQUITTO), "-c", str(self.folder / "mosquitto.conf")]
            self._process = psutil.Popen(command, stdout=out, stderr=out)
        wait_until(self._answers)
        return self

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"mosquitto ended: {(self.folder / 'stderr').read_text()} {self.log()}"
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def log(self) -> str:
        path = self.folder / "data" / "mosquitto.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def kill(self) -> None:
        """As a power cut does, but for what the kernel has."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def login(self, user: str | None, password: str | None = None) -> list[str]:
        """Options of mosquitto_pub and mosquitto_sub."""
        named = [] if user is None else ["-u", user, "-P", password or self.password(user)]
        return ["-h", "localhost", "-p", str(self.port), "--cafile", str(self.ca_file), "-V", "5", *named]


def nodes_of(nodes: Sequence[str]) -> list[str]:
    return [word for node in nodes for word in ("--node", node)]


def setup(*options: str, folder: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run setup.sh, which must end with this code."""
    group = USER if os.geteuid() == 0 else grp.getgrgid(os.getegid()).gr_name
    command = [str(DEPLOY / "setup.sh"), "--dir", str(folder), "--group", group, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == code, done.stderr
    return done

"""A real ssh server on loopback, of this machine, that lets one key in."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from ports import free_port

SSHD = next((path for path in ("/usr/sbin/sshd", shutil.which("sshd")) if path and Path(path).exists()), None)


def make_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


class SshServer:
    """Runs until `close`; `config` is what ssh needs to log in."""

    def __init__(self, work: Path) -> None:
        if SSHD is None or shutil.which("ssh") is None:
            pytest.skip("no ssh server here (apt-get install openssh-server openssh-client): NOT tested against one")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # its own need; systemd makes it elsewhere
        self.work, self.user = work, getpass.getuser()
        self.port = free_port()
        self.key = make_key(work / "id")
        self.known_hosts = work / "known_hosts"
        (work / "authorized_keys").write_text((work / "id.pub").read_text())
        (work / "authorized_keys").chmod(0o600)
        self.config = work / "ssh_config"
        self.write_config()
        self._process: subprocess.Popen[bytes] | None = None

    def write_config(self, key: Path | None = None, checking: str = "accept-new") -> None:
        self.config.write_text(
            f"Host *\n  IdentityFile {key or self.key}\n  IdentitiesOnly yes\n  UserKnownHostsFile {self.known_hosts}\n"
            f"  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking {checking}\n"
        )

    def start(self, host_key: str = "host_key") -> SshServer:
        if not (self.work / host_key).exists():
            make_key(self.work / host_key)
        settings = self.work / "sshd_config"
        settings.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.work / host_key}\nPidFile none\n"
            f"AuthorizedKeysFile {self.work / 'authorized_keys'}\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
        )
        log = (self.work / "sshd.log").open("ab")
        self._process = subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(settings)], stderr=log, stdout=log)
        log.close()
        until_s = time.monotonic() + 30
        while not _answers(self.port):
            assert time.monotonic() < until_s, (self.work / "sshd.log").read_text()
            time.sleep(0.05)
        return self

    def close(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0

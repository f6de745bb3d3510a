"""A machine with a real systemd and a real ssh server, in a container: what a board is to `make deploy`."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from armcache import Unavailable
from armroot import qemu
from ports import free_port
from rootfs import needs, rootfs, wait_until

FOREIGN = {"arm64": "aarch64", "amd64": "x86_64"}
BINFMT = Path("/proc/sys/fs/binfmt_misc")
# An ELF file of 64 bits for aarch64, whatever its ABI, a program or a library that can be run.
MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"


class SystemdHost:
    """Booted with `start`, ended with `close`; all that is written goes with it. Its network is this machine's."""

    def __init__(self, work: Path, *, machine: str = "amd64", suite: str = "bookworm") -> None:
        """Skips where this machine cannot do it."""
        needs("systemd-nspawn", "mmdebstrap", "ssh", "rsync", "script")
        self.foreign = FOREIGN[machine] != platform.machine()
        self._stack, self.work, self.port = ExitStack(), work, free_port()
        if self.foreign:
            self._stack.enter_context(arm_programs())
        self.root = work / "root"
        self._lay_over(rootfs(suite, machine))
        self._let_in()
        self.console = work / "console.log"
        self._process: psutil.Popen | None = None

    def start(self) -> SystemdHost:
        """Boot; back when ssh answers."""
        command = [
            *("systemd-nspawn", "--register=no", "--keep-unit", "--quiet", "--boot", "--directory", str(self.root)),
            *("--machine", f"host{self.port}", "--timezone=off", "--resolv-conf=off"),
        ]
        environ = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        if self.foreign:
            environ["SYSTEMD_SECCOMP"] = "0"  # the filter is for this machine's calls, which qemu makes
        self._process = psutil.Popen(
            ["script", "-qefc", " ".join(command), str(self.console)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=environ,
            start_new_session=True,
        )
        wait_until(lambda: self.ssh("true").returncode == 0, 180 if self.foreign else 60, f"ssh of {self.console}")
        return self

    def ssh(self, command: str, *, user: str = "root", stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a line of shell in it."""
        return subprocess.run(
            ["ssh", "-F", str(self.ssh_config), f"{user}@127.0.0.1", command],
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=300,
        )

    def said(self, command: str) -> str:
        """What a command that must succeed says."""
        done = self.ssh(command)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def properties(self, unit: str = "edge-fer.service") -> dict[str, str]:
        """What systemd says of a unit."""
        wanted = "ActiveState,SubState,NRestarts,Result,MainPID,ExecMainStatus,StatusText,UnitFileState"
        return dict(line.partition("=")[::2] for line in self.said(f"systemctl show {unit} -p {wanted}").splitlines())

    def journal(self, unit: str = "edge-fer.service") -> str:
        """Of this boot."""
        return self.said(f"journalctl -b --no-pager -o cat -u {unit}")

    def leave_out(self, setting: str) -> None:
        """Have the service run without what an emulator cannot do; a file of the kind that `systemctl edit` makes."""
        folder = self.root / "etc/systemd/system/edge-fer.service.d"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "override.conf").write_text(f"[Service]\n{setting}\n")

    @property
    def name(self) -> str:
        """As HOST of `make deploy`."""
        return f"root@127.0.0.1:{self.port}"

    def close(self) -> None:
        """End it, and all that it has written."""
        if self._process:
            ended = [self._process, *self._process.children(recursive=True)]
            for process in ended:  # with the first process of the container go all others
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(ended, 20)
        self._stack.close()

    def _lay_over(self, lower: Path) -> None:
        # Not in `work`: pytest removes that by itself, and a file system that is mounted there must not be.
        disk = Path(tempfile.mkdtemp(prefix="edge-fer-host-", dir=lower.parent))
        self._stack.callback(shutil.rmtree, disk, ignore_errors=True)
        for name in ("upper", "work"):
            (disk / name).mkdir()
        self.root = disk / "root"
        self.root.mkdir()
        layers = f"lowerdir={lower},upperdir={disk / 'upper'},workdir={disk / 'work'}"
        done = subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o", layers, str(self.root)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            self._stack.close()
            pytest.skip(
                f"overlay file systems cannot be mounted ({done.stderr.strip()}): deployment to a host NOT tested"
            )
        self._stack.callback(subprocess.run, ["umount", "-l", str(self.root)], check=False)

    def _let_in(self) -> None:
        """A key of this test, a port of its own, and nobody else."""
        key = self.work / "id"
        if not key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        server = self.root / "etc/ssh/sshd_config.d/test.conf"
        server.parent.mkdir(parents=True, exist_ok=True)
        server.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nPermitRootLogin yes\nUsePAM yes\nMaxStartups 50\n"
        )
        (self.root / "etc/systemd/system/ssh.service").unlink(missing_ok=True)  # masked in the cached system
        self.allow("root", self.root / "root")
        self.ssh_config = self.work / "ssh_config"
        self.ssh_config.write_text(
            f"Host *\n  Port {self.port}\n  IdentityFile {key}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.work / 'known_hosts'}\n  StrictHostKeyChecking accept-new\n  LogLevel ERROR\n"
        )

    def allow(self, _user: str, home: Path) -> None:
        """Let the test's key in, into a home of the host."""
        folder = home / ".ssh"
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "authorized_keys").write_text((self.work / "id.pub").read_text())


@contextmanager
def arm_programs() -> Iterator[None]:
    """The kernel runs programs of ARM meanwhile; skips where it cannot.

    By a qemu of the tests' own, before any that is installed: Debian 12's crashes in LiteRT.
    """
    try:
        emulator = qemu()
    except Unavailable as err:
        pytest.skip(f"{err}: deployment to an ARM host NOT tested")
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)], capture_output=True, check=False)
    name = f"edge-fer-test-{os.getpid()}"
    try:
        # F: opened now, so that it need not be in the container; P: programs see the name that they were called by.
        (BINFMT / "register").write_text(f":{name}:M::{MAGIC}:{MASK}:{emulator}:PF")
    except OSError as err:
        pytest.skip(f"this kernel runs no programs of ARM ({err}): deployment to an ARM host NOT tested")
    try:
        yield
    finally:
        (BINFMT / name).write_text("-1")

"""A Jetson Nano in a folder: its files, and its programs as scripts that obey the rules of the real ones."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from signedbundle import MADE_UNIX_S, Signer, release_of

from deploy.release.gate import Limits
from deploy.release.host import Host
from deploy.release.install import Options, install
from deploy.release.layout import Layout
from deploy.release.releases import tidy
from deploy.release.rollback import rollback
from deploy.release.told import Told
from deploy.release.work import Checkpoint, Work

SCRIPTS = Path(__file__).with_name("bin")
NAMES = {
    "accounts": ("id", "getent", "useradd", "usermod", "userdel", "groupdel", "chown", "runuser"),
    "machine": (
        "uname", "getconf", "timedatectl", "sudo", "rsync", "udevadm", "systemd-tmpfiles", "journalctl", "nvpmodel",
    ),
    "systemctl": ("systemctl",),
}  # fmt: skip
REAL = ("sh", "env", "cp", "sed", "ln", "rm", "mkdir", "readlink", "grep", "tr", "cat")
"""What the scripts need of this machine; nothing else of it can be reached."""

SOON = Limits(gate_s=2, hold_s=0.5)


class QuickHost(Host):
    """Its clock goes as fast as it is waited for."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._now_s = 0.0
        self._unix_s = float(MADE_UNIX_S + 86_400)

    def monotonic_s(self) -> float:
        return self._now_s

    def sleep(self, seconds: float) -> None:
        self._now_s += seconds

    def unix_s(self) -> float:
        return self._unix_s + self._now_s


class Board:
    """A board that nothing was deployed to yet."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.programs = folder / "root", folder / "programs"
        self.layout = Layout(self.root)
        self.signer = Signer("me@home")
        self.trust = folder / "trust.pub"
        self.trust.write_text(self.signer.line + "\n")
        self._programs()
        self._files()
        monkeypatch.setenv("EDGE_FER_FAKE_ROOT", str(self.root))
        self.host = QuickHost(str(self.programs))
        self.said = ""

    def work(self, checkpoint: Checkpoint | None = None) -> Work:
        """As a command has it."""
        self._out = io.StringIO()
        told = Told(self.layout.log_file, self._out)
        return Work(self.layout, self.host, told, checkpoint) if checkpoint else Work(self.layout, self.host, told)

    def rollback(self, to: str | None = None, *, its_config: bool = False) -> int:
        """As the command does it."""
        try:
            return rollback(self.work(), to, SOON, its_config=its_config)
        finally:
            self.said = self._out.getvalue()

    def install(self, path: Path, checkpoint: Checkpoint | None = None, **options: Any) -> int:
        """Install a bundle as the command does it; what was told is in `said`."""
        work = self.work(checkpoint)
        try:
            tidy(work)
            return install(work, Options(path, **{"trust": self.trust, "limits": SOON, **options}))
        finally:
            self.said = self._out.getvalue()

    def run(self, program: str, *words: str) -> str:
        """One of the board's programs."""
        return self.host.run(program, *words).out.strip()

    def unit(self, name: str = "edge-fer.service") -> dict[str, str]:
        """What systemd says of it."""
        wanted = "ActiveState,SubState,NRestarts,UnitFileState,StatusText,MainPID,Result,ExecMainStatus"
        return dict(line.partition("=")[::2] for line in self.run("systemctl", "show", name, "-p", wanted).splitlines())

    @property
    def running(self) -> str:
        """The release that the daemon was started from; "" where none runs."""
        if self.unit()["ActiveState"] != "active":
            return ""
        return (self.root / "run/fake-systemd/edge-fer.service.release").read_text().strip()

    @property
    def started(self) -> list[str]:
        """All releases that the daemon was started from since the last boot."""
        file = self.root / "run/fake-systemd/started"
        return file.read_text().split() if file.exists() else []

    @property
    def current(self) -> str:
        """What the link names."""
        return self.layout.current.readlink().name if self.layout.current.is_symlink() else ""

    @property
    def state(self) -> dict[str, Any]:
        """state.json."""
        return dict(json.loads(self.layout.state_file.read_text()))

    def leftovers(self) -> list[str]:
        """What no finished command may leave behind."""
        found = [path for path in self.root.rglob("*") if path.name.endswith((".new", ".gone", ".trial"))]
        found += [path for path in (self.layout.pending_flag, self.layout.password_before) if path.exists()]
        return [str(path.relative_to(self.root)) for path in found]

    def unit_file(self) -> str:
        """Which release's unit is installed: its first line."""
        path = self.layout.units / "edge-fer.service"
        return path.read_text().splitlines()[0] if path.exists() else ""

    def tree(self) -> dict[str, str]:
        """All that is deployed: names, and what is in them."""
        found = {}
        for folder in (self.root / "etc", self.root / "opt", self.root / "usr"):
            for path in sorted(folder.rglob("*")):
                if path.is_symlink():
                    found[str(path)] = str(path.readlink())
                elif path.is_file() and path not in (self.layout.log_file, self.layout.lock_file):
                    found[str(path)] = path.read_bytes().hex()
        return found

    def reboot(self) -> None:
        """The machine was without power for a moment."""
        self.run("systemctl", "boot")

    def _programs(self) -> None:
        self.programs.mkdir(parents=True)
        for script, names in NAMES.items():
            for name in names:
                (self.programs / name).symlink_to(SCRIPTS / script)
        for name in REAL:
            (self.programs / name).symlink_to(str(shutil.which(name)))
        python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
        (self.programs / "python3").symlink_to(python)

    def _files(self) -> None:
        files = {
            "etc/os-release": 'ID=ubuntu\nVERSION_ID="18.04"\nPRETTY_NAME="Ubuntu 18.04.6 LTS"\n',
            "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n",
            "etc/group": "root:x:0:\nvideo:x:44:\nrender:x:107:\n",
            "proc/meminfo": "MemTotal:        4051052 kB\nMemAvailable:    2097152 kB\n",
            "proc/device-tree/model": "NVIDIA Jetson Nano Developer Kit\0",
            "proc/device-tree/compatible": "nvidia,p3449-0000-b00+p3448-0000-b00\0nvidia,jetson-nano\0",
        }
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for name in ("run/systemd/system", "etc/systemd/system", "etc/udev/rules.d", "opt", "var/lib"):
            (self.root / name).mkdir(parents=True, exist_ok=True)


def call(
    board: Board, *words: str, python: str = sys.executable, program: str = ""
) -> subprocess.CompletedProcess[str]:
    """The program itself, as a process, with the board's programs only."""
    environ = {**os.environ, "PATH": str(board.programs)}
    started = [program] if program else ["-m", "deploy.release"]
    return subprocess.run(
        [python, *started, "--root", str(board.root), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environ,
        cwd=Path(__file__).parents[2],
    )


__all__ = ["SOON", "Board", "QuickHost", "call", "release_of"]

"""A whole arm64 machine in qemu: a kernel, a disk, a camera, two network cables, and a plug that can be pulled."""

from __future__ import annotations

import json
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from arm64_image import Image
from realbrokers import free_port

ADDRESS = "127.0.0.1"
MEMORY_MB = 2048
BROKER = "10.0.2.100"
"""Where the guest finds the broker of the host, at port 1883."""

PROGRAMS = {
    "qemu-system-aarch64": "qemu-system-arm",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "rsync": "rsync",
    "e2fsck": "e2fsprogs",
    "debugfs": "e2fsprogs",
}
BOOT_S = 600
"""From power to ssh; 30 s where nothing else runs, many times that on a machine that is busy elsewhere."""

_DOOR = Path(__file__).with_name("broker_door.py")
_VIVID = "/sys/bus/platform/drivers/vivid"


def why_it_cannot_run() -> str | None:
    """What this machine lacks, with the cure."""
    missing = sorted({package for program, package in PROGRAMS.items() if _program(program) is None})
    return f"apt-get install {' '.join(missing)}" if missing else None


class Machine:
    """Lives in a folder with a short name: disk.ext4, console.log, ssh_config. Switched off at first.

    What the guest has flushed to its disk survives a power cut, and what lay in its memory does not. A real disk may
    lose a little more: what it was given and not asked to flush.
    """

    def __init__(self, image: Image, folder: Path, *, broker_port: int | None = None, cpu: str = "cortex-a57") -> None:
        """`broker_port`: of the host's loopback; the only thing outside that the guest can reach."""
        self._image, self._folder, self._broker_port, self._cpu = image, folder, broker_port, cpu
        self._qemu: psutil.Popen | None = None
        self.port, self.service_port = free_port(), free_port()
        self.console = folder / "console.log"
        self.ssh_config = folder / "ssh_config"
        self.disk = folder / "disk.ext4"
        folder.mkdir(parents=True)
        subprocess.run(["cp", "--sparse=always", image.disk, self.disk], check=True)
        known = folder / "known_hosts"
        known.write_text("".join(f"[{ADDRESS}]:{port} {image.host_key}\n" for port in (self.port, self.service_port)))
        self.ssh_config.write_text(
            f"Host {ADDRESS}\n  User root\n  IdentityFile {image.key}\n  IdentitiesOnly yes\n  BatchMode yes\n"
            f"  UserKnownHostsFile {known}\n  StrictHostKeyChecking yes\n  ConnectTimeout 20\n  LogLevel ERROR\n"
        )

    def start(self, timeout_s: float = BOOT_S) -> float:
        """Switch it on, and wait until it lets us in; the seconds that took."""
        began_s = time.monotonic()
        with (self._folder / "qemu.log").open("ab") as log:
            self._qemu = psutil.Popen(self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while self._ssh("true", timeout_s=30).returncode:
            assert self._qemu.poll() is None, f"qemu ended: {(self._folder / 'qemu.log').read_text()}"
            assert time.monotonic() - began_s < timeout_s, f"no ssh within {timeout_s} s:\n{self.said()[-3000:]}"
            time.sleep(1)
        return time.monotonic() - began_s

    def ssh(self, command: str, timeout_s: float = 120) -> str:
        """What a command of the guest's shell, run by root, writes; it must succeed."""
        done = self._ssh(command, timeout_s)
        assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def succeeds(self, command: str, timeout_s: float = 120) -> bool:
        """Whether a command of the guest's shell does; one that cannot be reached does not."""
        return self._ssh(command, timeout_s).returncode == 0

    def ssh_words(self, command: str) -> list[str]:
        """For a command of the guest's shell that goes on while others run."""
        return ["ssh", "-F", str(self.ssh_config), "-p", str(self.service_port), ADDRESS, "--", command]

    def send(self, source: Path | str, target: str) -> None:
        """Copy a file, or with a slash at its end what is in a folder, to the guest."""
        shell = shlex.join(["ssh", "-F", str(self.ssh_config), "-p", str(self.service_port)])
        subprocess.run(["rsync", "-a", "-e", shell, str(source), f"{ADDRESS}:{target}"], check=True)

    def power_cut(self) -> None:
        """Without a word to the guest."""
        assert self._qemu is not None, "it is not running"
        self._qemu.kill()
        self._qemu.wait()
        self._qemu = None

    def unplug_network(self) -> None:
        """Pull the cable to the broker; ssh() goes through the other one."""
        self._monitor("set_link", name="lan", up=False)

    def plug_network(self) -> None:
        self._monitor("set_link", name="lan", up=True)

    def unplug_camera(self) -> None:
        """The device disappears, with all that has it open."""
        self.ssh(f"echo vivid.0 > {_VIVID}/unbind && udevadm settle")

    def plug_camera(self) -> None:
        self.ssh(f"echo vivid.0 > {_VIVID}/bind && udevadm settle")

    def said(self) -> str:
        """All that it wrote to its console."""
        return self.console.read_text(errors="replace") if self.console.exists() else ""

    def journal(self, lines: int = 80) -> str:
        """The newest of what its systemd has logged since it was switched on; "" while it is off."""
        return self._ssh(f"journalctl -b -n {lines} -o short-monotonic --no-pager", 60).stdout if self._qemu else ""

    def files_on_disk(self, path: str, target: Path) -> Path:
        """Copy a folder off the disk of a machine that is off, as its next start will find it; where it is.

        Nothing of the guest is asked, and its disk is not changed: the journal is replayed on a copy.
        """
        assert self._qemu is None, "it is running: what is on its disk now is not what it knows"
        target.mkdir(parents=True)
        copy = self._folder / "copy.ext4"
        try:
            subprocess.run(["cp", "--sparse=always", self.disk, copy], check=True)
            checked = _run("e2fsck", "-f", "-p", copy)
            # 1 is "errors were corrected": what was being deleted, or counted, when the power went.
            assert checked.returncode in (0, 1), f"the file system is damaged:\n{checked.stdout}{checked.stderr}"
            _run("debugfs", "-R", f"rdump {path} {target}", copy)
        finally:
            copy.unlink(missing_ok=True)
        return target / Path(path).name

    def close(self) -> None:
        """As a power cut, if it is on."""
        if self._qemu is not None:
            self.power_cut()

    def _ssh(self, command: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
        words = self.ssh_words(command)
        try:
            return subprocess.run(
                words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=timeout_s
            )
        except subprocess.TimeoutExpired as late:
            said = ((late.stdout or b"") + (late.stderr or b"")).decode(errors="replace")
            return subprocess.CompletedProcess(words, 124, said, f"no end within {timeout_s} s")

    def _command(self) -> list[str]:
        """Of qemu; it dies with whoever started it."""
        door = ""
        if self._broker_port is not None:
            program = shlex.join([sys.executable, "-IS", str(_DOOR), ADDRESS, str(self._broker_port)])
            # A program for each connection: with "tcp:" all of them would share a single one.
            door = f",guestfwd=tcp:{BROKER}:1883-cmd:{program.replace(',', ',,')}"
        lan = f"user,id=lan,net=10.0.2.0/24,restrict=on,hostfwd=tcp:{ADDRESS}:{self.port}-10.0.2.15:22{door}"
        service = f"user,id=service,net=10.0.3.0/24,restrict=on,hostfwd=tcp:{ADDRESS}:{self.service_port}-10.0.3.15:22"
        return [
            *("setpriv", "--pdeathsig", "KILL", "qemu-system-aarch64", "-M", "virt", "-cpu", self._cpu),
            *("-accel", "tcg,thread=multi", "-smp", "2", "-m", str(MEMORY_MB), "-nodefaults", "-display", "none"),
            *("-kernel", str(self._image.kernel), "-initrd", str(self._image.initramfs)),
            *("-append", "console=ttyAMA0 net.ifnames=0 panic=-1 systemd.show_status=error"),
            *("-drive", f"file={self.disk},format=raw,if=none,id=disk,cache=writeback"),
            *("-device", "virtio-blk-pci,drive=disk", "-device", "virtio-rng-pci"),
            *("-netdev", lan, "-device", "virtio-net-pci,netdev=lan,romfile="),
            *("-netdev", service, "-device", "virtio-net-pci,netdev=service,romfile="),
            *("-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console"),
            *("-qmp", f"unix:{self._folder}/monitor,server=on,wait=off"),
        ]

    def _monitor(self, command: str, **arguments: Any) -> None:
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(30)
            monitor.connect(str(self._folder / "monitor"))
            with monitor.makefile("rw") as lines:
                lines.readline()  # it introduces itself
                for asked in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                    lines.write(json.dumps(asked) + "\n")
                    lines.flush()
                    answer = json.loads(lines.readline())
                    while "event" in answer:
                        answer = json.loads(lines.readline())
                    assert "return" in answer, f"qemu's monitor refuses {asked}: {answer}"


def _program(name: str) -> str | None:
    """Where it is; some are of root, and not in every PATH."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def _run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([_program(program) or program, *arguments], capture_output=True, text=True, check=False)

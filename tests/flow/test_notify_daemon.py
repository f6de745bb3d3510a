"""The daemon as systemd starts it: what it says over the socket, and when it says nothing."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from daemonsite import LOOP, Site, terminate
from realbrokers import wait_until
from servicemanager import Manager

WATCHDOG_S = 2.0
PICTURES = """
import sys, time
out = sys.stdout.buffer
out.write(b"YUV4MPEG2 W64 H48 F15:1 C420jpeg\\n")
for number in range(10000):
    out.write(b"FRAME\\n" + bytes([60 + number % 100] * 1000) + bytes([128] * 3608))
    out.flush()
    time.sleep(0.05)
"""
F_SETPIPE_SZ = getattr(fcntl, "F_SETPIPE_SZ", 1031)


class Host:
    """A site whose daemons have a service manager."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.site = Site(folder, stack)
        self.manager = Manager(str(folder / "notify"))
        stack.callback(self.manager.close)

    def start(self, *options: str, **more: Any) -> psutil.Popen:
        watchdog = {"WATCHDOG_USEC": str(round(WATCHDOG_S * 1e6))}
        environ = {**os.environ, "NOTIFY_SOCKET": self.manager.address, **watchdog}
        return self.site.start(*options, env=environ, **more)

    def status(self, *parts: str) -> str:
        """The first status from now on that has all these parts."""
        found: list[str] = []

        def told() -> bool:
            found.extend(line for line in self.manager.lines() if line.startswith("STATUS="))
            return any(all(part in line for part in parts) for line in found)

        wait_until(told, 120)
        return next(line for line in found if all(part in line for part in parts)).removeprefix("STATUS=")

    def is_silent(self, seconds: float = 2 * WATCHDOG_S) -> bool:
        """Whether nothing is said for so long; what was on its way is left out."""
        time.sleep(0.3)
        self.manager.messages()
        time.sleep(seconds)
        return self.manager.messages() == []


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with ExitStack() as stack:
        yield Host(tmp_path, stack)


def test_a_run_from_its_start_to_its_end(host: Host) -> None:
    daemon = host.start()
    starting, *_, ready = host.manager.wait_for("READY=1")
    assert starting == "STATUS=starting: loads the networks"
    assert "\nSTATUS=online; " in ready
    assert "self-test" not in ready  # the networks have found and read the drawn face by then
    status = host.status("broker connected", "frames/s")
    assert status.startswith("online; broker connected; 1 of 1 cameras online; ")
    host.manager.wait_for("WATCHDOG=1")

    daemon.send_signal(signal.SIGHUP)
    (*_, reloading) = host.manager.wait_for("RELOADING=1")
    assert "\nMONOTONIC_USEC=" in reloading
    host.manager.wait_for("READY=1")

    assert host.site.command("pause", "--config", str(host.site.config)).returncode == 0
    paused = host.status("paused; ")
    assert "0 of 1 cameras online (front disabled: privacy pause)" in paused
    assert host.site.command("resume", "--config", str(host.site.config)).returncode == 0
    host.status("online; ", "1 of 1 cameras")

    host.site.broker.kill()
    assert host.status("broker not connected: ").startswith("online; broker not connected: ")
    host.site.broker.start()
    host.status("online; broker connected; ")

    assert terminate(daemon) == 0
    assert host.manager.lines()[-2:] == ["STOPPING=1", "STATUS=stopping"]


def test_a_stopped_process_gives_no_sign_of_life(host: Host) -> None:
    daemon = host.start()
    host.manager.wait_for("WATCHDOG=1")
    daemon.send_signal(signal.SIGSTOP)
    assert host.is_silent()
    daemon.send_signal(signal.SIGCONT)
    host.manager.wait_for("WATCHDOG=1", 10)


def test_a_main_loop_that_waits_for_a_full_pipe_gives_no_sign_of_life_and_the_log_tells_where(host: Host) -> None:
    host.site.configure({"front": LOOP, "back": LOOP, "hall": LOOP})
    read_fd, write_fd = os.pipe()
    fcntl.fcntl(write_fd, F_SETPIPE_SZ, 4096)
    daemon = host.start("--print", stdout=write_fd)
    os.close(write_fd)
    try:
        host.manager.wait_for("WATCHDOG=1")
        wait_until(lambda: host.is_silent(WATCHDOG_S), 120)  # nobody reads its events: the pipe fills up
        assert daemon.status() == psutil.STATUS_SLEEPING
        alive = {thread.id for thread in daemon.threads()}
        assert len(alive) > 4  # the cameras and the connection go on
        os.read(read_fd, 1 << 16)
        host.manager.wait_for("WATCHDOG=1", 10)
        wait_until(lambda: host.is_silent(WATCHDOG_S), 120)
        daemon.send_signal(signal.SIGABRT)  # what systemd does then
        assert daemon.wait(60) == -signal.SIGABRT
    finally:
        os.close(read_fd)
    assert "publishers.py" in host.site.log.partition("Fatal Python error: Aborted")[2]


def test_no_program_of_a_camera_can_feed_the_watchdog(host: Host, tmp_path: Path) -> None:
    told = tmp_path / "environment"
    camera = _program(tmp_path / "camera", f"env > {told}\nexec sleep 60")
    host.site.configure({"front": f"exec:{camera}"})
    daemon = host.start()
    host.manager.wait_for("READY=1")
    wait_until(told.exists)
    wait_until(lambda: "PATH=" in told.read_text())
    assert "NOTIFY" not in told.read_text()
    assert "WATCHDOG" not in told.read_text()
    for child in daemon.children(recursive=True):
        assert "NOTIFY_SOCKET" not in child.environ()


def test_a_device_that_is_missing_at_the_start_is_waited_for(host: Host, tmp_path: Path) -> None:
    camera = tmp_path / "camera"
    host.site.configure({"front": f"exec:{camera}"})
    assert host.start().wait(60) == 69
    daemon = host.start("--wait-for-cameras")
    assert "(front offline: " in host.status("0 of 1 cameras online", "no such program")
    _program(camera, f"exec {sys.executable} -c '{PICTURES}'")
    host.status("1 of 1 cameras online")
    assert terminate(daemon) == 0


@pytest.mark.parametrize("what", ["key", "port", "folder"])
def test_a_daemon_that_cannot_start_was_never_ready(host: Host, what: str) -> None:
    with ExitStack() as stack:
        taken = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        more = {"key": "telemetry = 1", "port": f"[metrics]\nport = {taken.getsockname()[1]}", "folder": ""}[what]
        host.site.configure(more=more)
        if what == "folder":
            host.start()
            host.manager.wait_for("READY=1")
            host.manager.messages()
        code = host.start(stderr=subprocess.DEVNULL).wait(60)
        assert code == {"key": 78, "port": 69, "folder": 69}[what]
    if what != "folder":
        assert [line for line in host.manager.lines() if not line.startswith("STATUS=starting")] == []


def test_the_end_of_all_clips_is_told_after_their_last_events_are_delivered(host: Host) -> None:
    host.site.configure({"front": "sample:"})
    daemon = host.start()
    lines = [line for message in host.manager.wait_for("STOPPING=1") for line in message.splitlines()]
    assert daemon.wait(60) == 0
    assert lines.count("READY=1") == 1
    assert host.site.events()[-1]["type"] == "end"


def _program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path

"""The daemon as its users run it: a process with a configuration, a real mosquitto, and a subscriber to everything."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from realbrokers import MOSQUITTO, Mosquitto, Subscriber, wait_until

NODE = "lab"
BASE = f"edge-fer/{NODE}"
LOOP = "sample:?loop=1&realtime=1"
"""A woman in view, for ever."""

START_S = 120
"""For what the start of a daemon leads to, on a slow and shared machine."""


class Site:
    """A broker, a subscriber, and daemons of one node, one after another; all end with the stack."""

    def __init__(self, work: Path, stack: ExitStack) -> None:
        if MOSQUITTO is None:
            pytest.skip("mosquitto is not installed: apt-get install mosquitto")
        self._stack, self.config, self._log = stack, work / "lab.toml", work / "lab.log"
        self.state = work / "lab-state"
        self.broker = Mosquitto(work)
        stack.callback(self.broker.kill)
        self.broker.start()
        self.heard = self.subscribe()

    def subscribe(self) -> Subscriber:
        """One who sees everything from now on, and what is retained."""
        subscriber = Subscriber(self.broker.port)
        self._stack.callback(subscriber.close)
        return subscriber

    def configure(self, cameras: dict[str, str] | None = None, more: str = "") -> None:
        """Write the configuration; `more` are further tables."""
        lines = [f'node = "{NODE}"', f'state_dir = "{self.state}"', "telemetry_s = 0.5"]
        lines += [f'broker.url = "mqtt://127.0.0.1:{self.broker.port}"']
        for name, uri in (cameras or {"front": LOOP}).items():
            lines += [f"[camera.{name}]", f'uri = "{uri}"']
        self.config.write_text("\n".join([*lines, more, ""]))

    def start(self, *options: str, **more: Any) -> psutil.Popen:
        """Start a daemon; `more` is for Popen."""
        if not self.config.exists():
            self.configure()
        command = [sys.executable, "-m", "edge_fer", "run", "--config", str(self.config), *options]
        with self._log.open("ab") as log:
            daemon = psutil.Popen(command, stdin=subprocess.DEVNULL, **{"stdout": log, "stderr": log, **more})
        self._stack.callback(daemon.wait)
        self._stack.callback(_kill, daemon)
        return daemon

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of edge-fer beside the daemon."""
        command = [sys.executable, "-m", "edge_fer", *words]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    @property
    def log(self) -> str:
        """What all daemons have written."""
        return self._log.read_text(errors="replace")

    def bodies(self, below: str) -> list[dict[str, Any]]:
        """All that was heard on a topic below the node's."""
        return [message.body for message in self.heard.on(f"{BASE}/{below}")]

    def events(self, camera: str = "front") -> list[dict[str, Any]]:
        """All events of a camera, repetitions left out."""
        return list({body["id"]: body for body in self.bodies(f"camera/{camera}/events")}.values())

    def wait_for_start(self, camera: str = "front", boots: int = 1) -> dict[str, Any]:
        """The newest start of a face, once so many runs of the daemon have told of one."""
        wait_until(lambda: len({body["boot_id"] for body in self._starts(camera)}) >= boots, START_S)
        return self._starts(camera)[-1]

    def _starts(self, camera: str) -> list[dict[str, Any]]:
        return [body for body in self.events(camera) if body["type"] == "start"]


def retained(site: Site, below: str) -> dict[str, Any]:
    """What somebody who comes now is told at once on a topic."""
    late = site.subscribe()
    wait_until(lambda: late.on(f"{BASE}/{below}"))
    late.close()
    return late.on(f"{BASE}/{below}")[0].body


def terminate(daemon: psutil.Popen, timeout_s: float = 60) -> int:
    """Exit code of a daemon that is asked to stop."""
    daemon.terminate()
    return int(daemon.wait(timeout_s))


def open_files(daemon: psutil.Process) -> list[str]:
    """What a process has open."""
    folder = Path(f"/proc/{daemon.pid}/fd")
    found = []
    for link in folder.iterdir():
        with suppress(OSError):
            found.append(str(link.readlink()))
    return found


def _kill(daemon: psutil.Popen) -> None:
    with suppress(psutil.NoSuchProcess):
        daemon.kill()

"""The commands of a user who deploys to a host."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from realbrokers import Mosquitto, Subscriber
from releases import Bundles, configuration
from systemdhost import SystemdHost

from deploy.checkout import PROJECT

OF_MAKE = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "ARGS")
"""What a make that runs these tests would hand down to the one of a user."""

GATE = ("--gate-s", "60")


class Deployer:
    """The PC of a user: bundles, a configuration, and the commands of `python -m deploy`."""

    def __init__(self, work: Path, host: SystemdHost, bundles: Bundles, broker: Mosquitto) -> None:
        self.work, self.host, self.bundles, self.broker = work, host, bundles, broker
        self.config = work / "lab.toml"
        self.config.write_text(configuration(broker.port))

    def __call__(self, *words: str, host: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run one command against the host."""
        where = ["--host", host or self.host.name, "--ssh-config", str(self.host.ssh_config)]
        return self.run([sys.executable, "-m", "deploy", *words, *where])

    def deploy(self, bundle: Path, *more: str, board: str | None = None) -> subprocess.CompletedProcess[str]:
        """`make deploy` of a bundle that is built."""
        words = ["--board", board or self.bundles.board.key, "--bundle", str(bundle), "--key", str(self.bundles.key)]
        return self("deploy", *words, *GATE, *more)

    def run(self, command: list[str], **environ: str) -> subprocess.CompletedProcess[str]:
        """Any command, in the checkout, with no terminal."""
        return subprocess.run(
            command,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=1500,
            env={name: value for name, value in {**os.environ, **environ}.items() if name not in OF_MAKE},
        )

    def subscribe(self) -> Subscriber:
        """One who sees everything that any board publishes."""
        return Subscriber(self.broker.port)

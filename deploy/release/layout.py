"""Where everything is on a board."""

import os
from pathlib import Path

UNIT = "edge-fer.service"
CONFIRM_UNIT = "edge-fer-confirm.service"
POWER_MODE_SOCKET = "edge-fer-power-mode.socket"
USER = "edge-fer"


class Layout:
    """The paths, all below `root`: another one than / for tests, and for images that are not booted yet."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = Path(os.path.abspath(str(root)))
        self.home = self.root / "opt" / "edge-fer"
        self.releases = self.home / "releases"
        self.current = self.home / "current"  # a link to the release that runs
        self.agent = self.home / "edge-fer-release"  # this program
        self.state_file = self.home / "state.json"
        self.pending_flag = self.home / "pending"  # there while a switch is neither confirmed nor undone
        self.lock_file = self.home / "deploy.lock"
        self.log_file = self.home / "deploy.log"

        self.etc = self.root / "etc" / "edge-fer"
        self.config = self.etc / "edge-fer.toml"
        self.config_before = self.etc / "edge-fer.toml.before"
        self.config_trial = self.etc / "edge-fer.toml.trial"  # looked at before it becomes the configuration
        self.password = self.etc / "mqtt-password"
        self.password_before = self.etc / "mqtt-password.before"
        self.trusted_keys = self.etc / "trusted-keys"
        self.data = self.root / "var" / "lib" / "edge-fer"

        self.units = self.root / "etc" / "systemd" / "system"
        self.drop_ins = self.units / "edge-fer.service.d"
        self.tmpfiles = self.root / "etc" / "tmpfiles.d"
        self.udev = self.root / "etc" / "udev" / "rules.d"
        self.polkit = self.root / "etc" / "polkit-1" / "rules.d"

        self.command_link = self.root / "usr" / "local" / "bin" / "edge-fer"
        self.agent_link = self.root / "usr" / "local" / "sbin" / "edge-fer-release"

    def release(self, name: str) -> Path:
        """The folder of a release; it exists only when it is whole."""
        return self.releases / name

    def unfinished(self, name: str) -> Path:
        """The same while it is made."""
        return self.releases / f".{name}.new"

    def config_last(self, name: str) -> Path:
        """The configuration with which a release ran last."""
        return self.release(name) / "edge-fer.toml.last"

    def launcher(self, name: str) -> Path:
        """The command `edge-fer` of a release."""
        return self.release(name) / "bin" / "edge-fer"

"""What is examined: the machine, this installation, and the configuration where there is one."""

from __future__ import annotations

import getpass
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge_fer.sensors.machine import Machine

if TYPE_CHECKING:
    from edge_fer.config import Config
    from edge_fer.sensors.readings import Reading
    from edge_fer.sensors.sensors import Sensors

SENSOR_PAUSE_S = 0.3
"""Between two readings where the first tells no watts: a meter that counts energy does from the second on."""


@dataclass(frozen=True)
class Place:
    """Everything outside of this program that the checks touch."""

    machine: Machine = field(default_factory=Machine)
    dev: Path = Path("/dev")
    python: str = sys.executable
    """What runs this installation; networks are tried in children of it."""

    processor: str = field(default_factory=platform.machine)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    access: Callable[[Path, int], bool] = os.access
    clock_synced: Callable[[], bool | None] | None = None
    """None: the kernel is asked."""

    unix_s: Callable[[], float] = time.time
    patience: float = 1.0
    """How many times longer than usual an answer may take."""


class Patient:
    """A place and its configuration; thread safe."""

    def __init__(self, place: Place, config_file: Path | None = None) -> None:
        self.place, self.config_file = place, config_file
        self.config: Config | None = None
        self.broken: set[str] = set()  # modules that cannot be imported here, and must not be tried in this process
        self._lock = threading.Lock()
        self._sensed: tuple[Sensors, Reading] | None = None

    @property
    def state_dir(self) -> Path:
        """The state folder of the node's daemon, whether it is there or not."""
        from edge_fer.errors import UnavailableError
        from edge_fer.identity import default_node
        from edge_fer.memory.pause_command import find_state_folder
        from edge_fer.memory.state_folder import state_folder

        configured = self.config.state_dir if self.config else None
        node = self.config.node if self.config else default_node()
        try:
            return find_state_folder(configured, node, self.place.environ)
        except UnavailableError:
            return state_folder(configured, node, self.place.environ)

    def sensed(self) -> tuple[Sensors, Reading]:
        """The board's sensors and what they tell; read once for all checks."""
        from edge_fer.sensors.sensors import Sensors

        with self._lock:
            if self._sensed is None:
                sensors = Sensors(self.place.machine)
                reading = sensors.read()
                if reading.power.total_w is None:
                    time.sleep(SENSOR_PAUSE_S)
                    reading = sensors.read()
                self._sensed = sensors, reading
            return self._sensed


def this_user() -> str:
    """Name of the user who looks; the number where it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())

"""The whole daemon on a board's files that grow hot: what it tells."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fixture import board_tree

from edge_fer.board_watch import BoardWatch
from edge_fer.channels import GOVERNOR, HEALTH
from edge_fer.config import load_config
from edge_fer.daemon import Daemon, Outputs
from edge_fer.loaded import load_models
from edge_fer.messages import Message
from edge_fer.sensors.readings import Reading
from edge_fer.service import running

LONGEST_S = 300.0


class Told:
    """Ends the daemon once faces were looked for and a problem was told."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.stop = threading.Event()
        self._events = 0

    def publish(self, message: Message) -> None:
        if message.topic.endswith("/events"):
            self._events += 1
        if message.topic == f"edge-fer/lab/{HEALTH.topic}":
            self.problems += [problem["text"] for problem in message.body["problems"]]
        if self._events and self.problems:
            self.stop.set()


class Heat:
    """Makes the board hot once the daemon runs, and stops the daemon when it has said so."""

    def __init__(self, zone: Path) -> None:
        self.told: list[dict[str, Any]] = []
        self.stop = threading.Event()
        self._zone = zone

    def publish(self, message: Message) -> None:
        if message.topic != f"edge-fer/lab/{GOVERNOR.topic}":
            return
        self.told.append(dict(message.body))
        hot = self._zone.with_name("temp.new")
        hot.write_text("78000\n")
        hot.replace(self._zone)  # the kernel's file is never empty
        if message.body["level"]:
            self.stop.set()


@dataclass
class Crashed:
    """A thread of sensors that has ended with an error."""

    alive: bool = False

    def readings(self) -> list[Reading]:
        return []


def test_sensors_that_crash_do_not_end_the_watch_of_the_cameras() -> None:
    """Nor does the next start, which the same sensor would end again."""
    tables = {"node": "lab", "camera": {"front": {"uri": "sample:?loop=1"}}}
    config, told = load_config(None, tables), Told()
    watch = BoardWatch(Crashed(), boot_id="b", sample_s=2)
    daemon = Daemon(config, load_models(config), Outputs(told), "b", board=watch)
    try:
        daemon.run(told.stop, LONGEST_S)
    finally:
        daemon.close()
    assert any("thread of the sensors has crashed" in problem for problem in told.problems)
    assert daemon.inbox.counts()["front"].looked_at > 0


def test_a_board_that_grows_hot_looks_less_often_and_says_why(tmp_path: Path) -> None:
    machine = board_tree("raspberry-pi-5", tmp_path)
    heat = Heat(machine.sys / "class" / "thermal" / "thermal_zone0" / "temp")
    tables = {"node": "lab", "camera": {"front": {"uri": "sample:?loop=1"}}, "power": {"sample_s": 0.2}}
    with running(load_config(None, tables), [heat], machine=machine) as daemon:
        daemon.run(heat.stop, LONGEST_S)
    assert [(state["level"], state["cause"]) for state in heat.told] == [(0, "none"), (1, "temperature")]
    assert heat.told[1]["reason"].startswith("cpu-thermal at 7")
    assert heat.told[1]["reason"].endswith("limit 75 °C")
    assert heat.told[1]["max_fps"] == 15.0

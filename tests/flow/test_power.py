"""The whole daemon on copies of boards' files: what it tells of their watts, heat and power modes."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fixture import TOTAL_W, add_energy, board_tree
from realbrokers import wait_until

from edge_fer.board_watch import MODE_PERIOD_NS
from edge_fer.channels import HEALTH, POWER, THROUGHPUT
from edge_fer.config import load_config
from edge_fer.daemon import Daemon
from edge_fer.messages import Message
from edge_fer.mqtt.incoming import Incoming
from edge_fer.sensors.machine import Machine
from edge_fer.service import running

QUICK = {"telemetry_s": 0.5, "power": {"sample_s": 0.2}, "self_test": {"period_s": 0}}
LONGEST_S = 300.0


class Listener:
    """Hears the daemon, and stops it when it has heard enough."""

    def __init__(self, enough: Callable[[Listener], Any]) -> None:
        self.bodies: dict[str, list[dict[str, Any]]] = {}
        self.stop = threading.Event()
        self._enough = enough

    def publish(self, message: Message) -> None:
        self.bodies.setdefault(message.topic.removeprefix("edge-fer/lab/"), []).append(dict(message.body))
        if self._enough(self):
            self.stop.set()

    def of(self, topic: str) -> list[dict[str, Any]]:
        return self.bodies.get(topic, [])


def listen(machine: Machine, enough: Callable[[Listener], Any], **tables: Any) -> Listener:
    """Run the daemon on the sample clip until that is heard."""
    listener = Listener(enough)
    config = load_config(None, {"node": "lab", "camera": {"front": {"uri": "sample:?loop=1"}}, **QUICK, **tables})
    with running(config, [listener], machine=machine) as daemon:
        daemon.run(listener.stop, LONGEST_S)
    assert listener.stop.is_set(), "waited in vain"
    return listener


def faces_were_read(listener: Listener) -> bool:
    return any(body["images_per_s"] > 0 for body in listener.of(THROUGHPUT.topic)[2:])


def test_a_jetson_tells_watts_energy_mode_and_what_a_face_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def enough(listener: Listener) -> bool:
        told = listener.of(POWER.topic)
        return faces_were_read(listener) and told[-1]["mode"] is not None and told[-1]["energy_j"] > 0

    machine = board_tree("jetson-orin-nano", tmp_path)
    monkeypatch.setenv("EDGE_FER_FAKE_BOARD", str(machine.root))
    heard = listen(machine, enough)
    told, work = heard.of(POWER.topic)[-1], heard.of(THROUGHPUT.topic)[-1]
    assert (told["source"], told["total_w"]) == ("measured", TOTAL_W["jetson-orin-nano"])
    assert told["rails_w"]["VDD_IN"] == told["total_w"]
    assert told["mode"] == "15W"
    assert told["temperature_c"] == max(told["temperatures_c"].values())
    assert told["cores_online"] > 0
    # Each is rounded, to 0.01, 0.001 and 0.0001.
    assert work["images_per_s_per_w"] == pytest.approx(work["images_per_s"] / told["total_w"], abs=0.002)
    assert work["joules_per_image"] == pytest.approx(told["total_w"] / work["images_per_s"], rel=0.01)
    assert work["detections_per_s"] > 0


def test_a_power_mode_that_was_asked_for_is_looked_at_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = board_tree("jetson-nano", tmp_path)
    monkeypatch.setenv("EDGE_FER_FAKE_BOARD", str(machine.root))
    monkeypatch.setenv("EDGE_FER_FAKE_UID", "0")
    listener = Listener(lambda heard: heard.of(POWER.topic) and heard.of(POWER.topic)[-1]["mode"] == "5W")
    tables = {"camera": {"front": {"uri": "sample:?loop=1"}}, "commands": {"allow": ["set-power-mode"]}, **QUICK}

    def ask(daemon: Daemon) -> None:
        """Once the mode is known, somebody at the board sets another, and the node is asked for one it has not."""
        wait_until(lambda: listener.of(POWER.topic) and listener.of(POWER.topic)[-1]["mode"] == "MAXN")
        subprocess.run([str(machine.program("nvpmodel")), "-m", "1"], check=True, stdin=subprocess.DEVNULL)
        topic = "edge-fer/lab/cmd/set-power-mode"
        (handle,) = daemon.subscriptions.values()
        handle(Incoming(topic, b'{"mode": "99W"}', retained=False))

    with running(load_config(None, {"node": "lab", **tables}), [listener], machine=machine) as daemon:
        asking = threading.Thread(target=ask, args=(daemon,))
        asking.start()
        daemon.run(listener.stop, MODE_PERIOD_NS / 1e9 - 10)
        asking.join()
    assert listener.stop.is_set(), "the mode would have been asked for again in a minute"
    (reply,) = listener.of("rsp/set-power-mode")
    assert not reply["ok"]
    assert "99W" in reply["message"]


def test_energy_goes_up_by_watts_times_time(tmp_path: Path) -> None:
    """That of two seconds at least; and never more than the time allows, however late readings and messages are."""
    enough_j = TOTAL_W["jetson-nano"] * 2
    start_s = time.monotonic()
    heard = listen(
        board_tree("jetson-nano", tmp_path),
        lambda listener: ((listener.of(POWER.topic) or [{}])[-1].get("energy_j") or 0) >= enough_j,
    )
    longest_s = time.monotonic() - start_s
    told = [body["energy_j"] or 0 for body in heard.of(POWER.topic)]
    assert told == sorted(told)
    assert len(set(told)) > 1
    assert enough_j <= told[-1] <= TOTAL_W["jetson-nano"] * longest_s


def test_a_raspberry_pi_5_is_estimated_and_says_why(tmp_path: Path) -> None:
    heard = listen(board_tree("raspberry-pi-5", tmp_path), lambda listener: listener.of(POWER.topic)[1:])
    told = heard.of(POWER.topic)[-1]
    assert (told["source"], told["total_w"]) == ("estimated", pytest.approx(TOTAL_W["raspberry-pi-5"], abs=0.001))
    assert told["reason"]
    assert told["throttling_known"]


def test_a_raspberry_pi_4_tells_heat_but_makes_up_no_watts(tmp_path: Path) -> None:
    heard = listen(board_tree("raspberry-pi-4", tmp_path), faces_were_read)
    told, work = heard.of(POWER.topic)[-1], heard.of(THROUGHPUT.topic)[-1]
    assert (told["source"], told["total_w"], told["energy_j"], told["rails_w"]) == ("unavailable", None, None, {})
    assert "Raspberry Pi 4" in told["reason"]
    assert told["temperature_c"] is not None
    assert (work["images_per_s_per_w"], work["joules_per_image"]) == (None, None)


def test_a_pc_is_measured_by_its_counter_which_wraps(tmp_path: Path) -> None:
    machine, done = board_tree("pc-rapl", tmp_path), threading.Event()

    def run_on() -> None:
        before_s = time.monotonic()
        while not done.wait(0.02):
            now_s = time.monotonic()
            add_energy(machine, 12.0 * (now_s - before_s))
            before_s = now_s

    counter = threading.Thread(target=run_on)
    counter.start()
    try:
        heard = listen(machine, lambda listener: (listener.of(POWER.topic) or [{}])[-1].get("total_w"))
    finally:
        done.set()
        counter.join()
    told = heard.of(POWER.topic)[-1]
    assert told["source"] == "measured"
    assert told["total_w"] > 0


def test_a_sensor_that_cannot_be_read_is_a_problem_of_the_node(tmp_path: Path) -> None:
    machine = board_tree("jetson-orin-nano", tmp_path)
    for rail in machine.sys.rglob("in*_input"):
        rail.write_text("nonsense\n")

    def told(listener: Listener) -> bool:
        return any(problem["code"] == "sensor" for body in listener.of(HEALTH.topic) for problem in body["problems"])

    heard = listen(machine, lambda listener: told(listener) and listener.of(POWER.topic))
    assert heard.of(POWER.topic)[-1]["total_w"] is None


def test_without_power_no_sensor_is_read(tmp_path: Path) -> None:
    heard = listen(
        board_tree("jetson-orin-nano", tmp_path),
        lambda listener: len(listener.of(THROUGHPUT.topic)) >= 3,
        power={"enabled": False},
    )
    assert heard.of(POWER.topic) == []

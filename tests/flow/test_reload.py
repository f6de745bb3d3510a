"""Another configuration while the daemon runs: what is the same notices nothing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from daemonsite import BASE, LOOP, START_S, Site, terminate
from realbrokers import wait_until

from edge_fer.config import load_config
from edge_fer.daemon import Daemon
from edge_fer.messages import Message
from edge_fer.mqtt.incoming import Incoming
from edge_fer.remote.reload import ConfigSource, Hangup
from edge_fer.service import running

COMMANDS = """
[commands]
allow = ["pause", "resume", "reload", "detect-now"]
"""
SOMEBODY = """
[rule.somebody]
kind = "faces"
max_faces = 0
for_s = 0.2
"""


class Lab:
    """A daemon in this process, its file, and all that it publishes; commands go to its handler."""

    def __init__(self, folder: Path) -> None:
        self.file, self.hangup = folder / "lab.toml", Hangup()
        self.messages: list[Message] = []
        self.daemon: Daemon
        self._write: Callable[[], None] = lambda: None

    def publish(self, message: Message) -> None:
        self.messages.append(message)

    def configure(self, *cameras: str, more: str = "", tables: str = COMMANDS) -> None:
        lines = ['node = "lab"', f'state_dir = "{self.file.parent / "state"}"', *more.splitlines(), tables]
        for camera in cameras:
            name, _, rest = camera.partition(" ")
            lines += [f"[camera.{name}]", f'uri = "{LOOP}"', rest]
        self.file.write_text("\n".join(lines))

    def on(self, below: str) -> list[Message]:
        return [message for message in list(self.messages) if message.topic == f"{BASE}/{below}"]

    def events(self, camera: str) -> list[dict[str, Any]]:
        return [dict(message.body) for message in self.on(f"camera/{camera}/events")]

    def health(self) -> dict[str, str]:
        newest = self.on("health")[-1].body
        return {problem["code"]: problem["text"] for problem in newest["problems"]}

    def command(self, name: str, payload: bytes = b"", **more: Any) -> dict[str, Any]:
        """Send a command, and wait for its reply."""
        count = len(self.on(f"rsp/{name}"))
        for handler in self.commands.values():
            handler(Incoming(f"{BASE}/cmd/{name}", payload, retained=False, **more))
        wait_until(lambda: len(self.on(f"rsp/{name}")) > count, START_S)
        return dict(self.on(f"rsp/{name}")[-1].body)

    @property
    def commands(self) -> Any:
        return self.daemon.subscriptions


@contextmanager
def at_work(lab: Lab) -> Iterator[Lab]:
    stop, failed = threading.Event(), list[BaseException]()
    source = ConfigSource(lab.file, {})
    with running(source.read(), [lab], remember=True, source=source, hangup=lab.hangup) as daemon:
        lab.daemon = daemon

        def work() -> None:
            try:
                daemon.run(stop)
            except BaseException as err:  # noqa: BLE001 - raised below, in the test
                failed.append(err)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            wait_until(lambda: lab.events("front"), START_S)
            yield lab
        finally:
            stop.set()
            thread.join()
            if failed:
                raise failed[0]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_cameras_come_and_go_and_the_one_that_stays_notices_nothing(lab: Lab) -> None:
    lab.configure("front", more="telemetry_s = 2.0")
    with at_work(lab):
        (front,) = lab.daemon.readers
        lab.configure("hall", "front", more="telemetry_s = 3.0")
        reply = lab.command("reload", b'{"id": "7"}')
        assert (reply["ok"], reply["message"], reply["id"]) == (True, "camera hall added; telemetry_s changed", "7")
        wait_until(lambda: lab.events("hall"), START_S)
        assert [reader.camera for reader in lab.daemon.readers] == ["hall", "front"]
        assert lab.daemon.readers[1] is front
        assert lab.on("info")[-1].body["cameras"] == ["hall", "front"]
        assert lab.on("info")[-1].body["config_sha256"] == load_config(lab.file, {}).sha256

        lab.configure("front", more="telemetry_s = 3.0")
        assert lab.command("reload")["message"] == "camera hall removed"
        last = lab.events("hall")[-1]
        assert (last["type"], last["reason"]) == ("end", "stopped")
        assert lab.on("camera/hall/status")[-1].clears
        assert lab.on("camera/hall/state")[-1].clears
        wait_until(lambda: not any(thread.name == "camera-hall" for thread in threading.enumerate()))

        lab.configure("front", "hall max_fps = 5", more="telemetry_s = 3.0")
        lab.command("reload")
        wait_until(lambda: lab.events("hall")[-1]["type"] == "start", START_S)
        starts = [event["track"] for event in lab.events("hall") if event["type"] == "start"]
        assert len(set(starts)) == len(starts)  # a number is never given again
        frames = lab.daemon.pipeline.views["front"].frames
        wait_until(lambda: lab.daemon.pipeline.views["front"].frames > frames + 5, START_S)
        assert lab.daemon.readers[0] is front
        assert lab.command("reload")["message"] == "nothing changed"
    events = lab.events("front")
    assert [event["type"] for event in events].count("start") == 1
    assert {event["track"] for event in events} == {1}
    assert (events[-1]["type"], events[-1]["reason"]) == ("end", "stopped")
    assert len(lab.on("camera/front/status")) == 3  # connecting, online, offline
    every = sorted(lab.events("front") + lab.events("hall"), key=lambda event: event["seq"])
    assert [event["seq"] for event in every] == list(range(1, len(every) + 1))


def test_a_camera_with_other_settings_starts_anew_and_goes_on_in_time(lab: Lab) -> None:
    lab.configure("front", "hall")
    with at_work(lab):
        wait_until(lambda: lab.events("hall"), START_S)
        hall = lab.daemon.readers[1]
        lab.configure("front", "hall max_fps = 12")
        assert lab.command("reload")["message"] == "camera hall restarted"
        wait_until(lambda: lab.events("hall")[-1]["type"] == "start" and len(lab.events("hall")) > 2, START_S)
        assert lab.daemon.readers[1] is not hall
        assert not hall.is_alive()
        end, start = [event for event in lab.events("hall") if event["type"] != "update"][-2:]
        assert (end["type"], end["reason"], start["track"]) == ("end", "stopped", end["track"] + 1)
        states = [message.body["state"] for message in lab.on("camera/hall/status")]
        assert states == ["connecting", "online", "connecting", "online"]
    assert {event["track"] for event in lab.events("front")} == {1}


def test_an_invalid_file_is_refused_and_told_until_it_is_right(lab: Lab) -> None:
    lab.configure("front")
    with at_work(lab):
        (front,) = lab.daemon.readers
        lab.configure("front max_fps = -1\nstall_timeout_s = 0")
        lab.hangup.note()
        wait_until(lambda: "config-error" in lab.health(), START_S)
        assert lab.health()["config-error"].startswith(f"{lab.file}: camera.front.")
        reply = lab.command("reload")
        assert not reply["ok"]
        assert "(and 1 more)" in reply["message"]
        lab.configure("front", more='broker.url = "mqtt://u@h"')
        reply = lab.command("reload")
        assert reply["message"].endswith("broker cannot change while the daemon runs: restart it")
        lab.file.unlink()
        assert "cannot be read" in lab.command("reload")["message"]
        lab.configure("front")
        assert lab.command("reload")["message"] == "nothing changed"
        wait_until(lambda: "config-error" not in lab.health(), START_S)
        assert lab.daemon.readers == [front]
        assert front.is_alive()


def test_rules_that_are_the_same_keep_their_alert_and_others_are_taken_back(lab: Lab) -> None:
    lab.configure("front", tables=COMMANDS + SOMEBODY + SOMEBODY.replace("somebody", "other"))
    with at_work(lab):
        wait_until(lambda: lab.on("alert/other/events") and lab.on("alert/somebody/events"), START_S)
        lab.configure("front", "hall", tables=COMMANDS + SOMEBODY)
        assert lab.command("reload")["message"] == "camera hall added; rule other removed"
        cleared = lab.on("alert/other/events")[-1].body
        assert (cleared["state"], cleared["why"]) == ("cleared", "the rule was removed from the configuration")
        assert lab.on("alert/other")[-1].clears
        assert [message.body["state"] for message in lab.on("alert/somebody/events")] == ["active"]
        lab.configure("front", "hall", tables=COMMANDS + SOMEBODY.replace("0.2", "0.3"))
        assert lab.command("reload")["message"] == "rule somebody changed"
        wait_until(lambda: len(lab.on("alert/somebody/events")) >= 3, START_S)
        told = [(message.body["state"], message.body["why"]) for message in lab.on("alert/somebody/events")]
        assert told[1] == ("cleared", "the rule was changed")
        assert told[2][0] == "active"
        history = [message.body["seq"] for rule in ("other", "somebody") for message in lab.on(f"alert/{rule}/events")]
        assert sorted(history) == list(range(1, len(history) + 1))


def test_another_network_and_other_settings_take_over_without_the_end_of_a_track(lab: Lab) -> None:
    lab.configure("front")
    with at_work(lab):
        tests = len(lab.on("self-test"))
        more = 'model.network = "nano_a"\ndetector.every_frames = 2\ndecide.hold_ms = 700\nquality.min_size_px = 20'
        lab.configure("front", more=more)
        assert lab.command("reload")["message"] == "model changed; detector changed; quality changed; decide changed"
        wait_until(lambda: len(lab.on("self-test")) > tests, START_S)
        assert lab.on("self-test")[-1].body["passed"]
        assert any("nano_a" in model["name"] for model in lab.on("info")[-1].body["models"])
        frames = lab.daemon.pipeline.views["front"].frames
        wait_until(lambda: lab.daemon.pipeline.views["front"].frames > frames + 5, START_S)
    assert [event["type"] for event in lab.events("front")].count("start") == 1


def test_a_pause_by_command_is_proven_and_a_new_camera_is_under_it(lab: Lab) -> None:
    lab.configure("front")
    with at_work(lab):
        reply = lab.command("pause", b'{"for_s": 3600}')
        assert reply["message"].startswith("pause of all cameras for 3600 s is asked for")
        wait_until(lambda: lab.on("privacy")[-1].body["paused"], START_S)
        assert lab.on("privacy")[-1].body["by"] == "mqtt"
        lab.configure("front", "hall")
        assert lab.command("reload")["ok"]
        wait_until(lambda: lab.on("privacy")[-1].body["cameras"] == ["front", "hall"], START_S)
        # Its state is told a turn later than the proof.
        wait_until(lambda: lab.on("camera/hall/status")[-1].body["state"] == "disabled", START_S)
        assert "online" not in [message.body["state"] for message in lab.on("camera/hall/status")]
        assert lab.events("hall") == []
        assert "hall is disabled" in lab.command("detect-now", b'{"cameras": ["hall"]}')["message"]
        assert "this node has front, hall" in lab.command("resume", b'{"cameras": ["cellar"]}')["message"]
        assert lab.command("resume")["ok"]
        wait_until(lambda: lab.events("hall"), START_S)
        reply = lab.command("detect-now")
        assert (reply["ok"], reply["message"]) == (True, "the whole next frame is searched: front, hall")


def test_a_clip_that_a_reload_brings_and_that_is_not_there_ends_nothing(lab: Lab) -> None:
    lab.configure("front")
    with at_work(lab):
        lab.file.write_text(lab.file.read_text() + '\n[camera.hall]\nuri = "no.mp4"\n')
        assert lab.command("reload")["ok"]
        wait_until(lambda: lab.on("camera/hall/status")[-1].body["state"] == "offline", START_S)
        frames = lab.daemon.pipeline.views["front"].frames
        wait_until(lambda: lab.daemon.pipeline.views["front"].frames > frames + 5, START_S)


def test_sighup_reads_the_file_again_and_the_connection_lasts(tmp_path: Path) -> None:
    with ExitStack() as stack:
        site = Site(tmp_path, stack)
        site.configure({"front": LOOP})
        daemon = site.start()
        start = site.wait_for_start()
        site.configure({"front": LOOP, "hall": LOOP})
        daemon.send_signal(signal.SIGHUP)
        site.wait_for_start("hall")
        assert "configuration read again: camera hall added" in site.log
        site.config.write_text('node = "lab"\n[camera.front]\nuri = 5\n')
        daemon.send_signal(signal.SIGHUP)
        wait_until(lambda: not site.bodies("health")[-1]["ok"], START_S)
        problem = site.bodies("health")[-1]["problems"][0]
        assert (problem["code"], "camera.front.uri: found 5" in problem["text"]) == ("config-error", True)
        site.configure({"front": LOOP})
        daemon.send_signal(signal.SIGHUP)
        wait_until(lambda: site.heard.payloads(f"{BASE}/camera/hall/status")[-1:] == [b""], START_S)
        wait_until(lambda: site.bodies("health")[-1]["ok"], START_S)
        late = site.subscribe()
        wait_until(lambda: late.on(f"{BASE}/status"))
        assert not late.on(f"{BASE}/camera/hall/status")
        assert not late.on(f"{BASE}/camera/hall/state")
        assert site.log.count("connected to") == 1
        assert terminate(daemon) == 0
        events = site.events()
    assert {event["boot_id"] for event in events} == {start["boot_id"]}
    assert [event["type"] for event in events].count("start") == 1

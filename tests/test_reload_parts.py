"""Reading the configuration again, piece by piece: what changes, what is refused, and what must not be lost."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from test_pause import Camera, Clock
from test_remote_requests import incoming

from edge_fer.capture.inbox import CameraChange, Inbox
from edge_fer.capture.readers import HANDOVER_S, CameraReaders
from edge_fer.config import CameraSettings, Config, load_config
from edge_fer.decide import DecideSettings
from edge_fer.events import Alert, CameraCondition
from edge_fer.frame import Frame
from edge_fer.judge import Judge, Judged
from edge_fer.loaded import Models
from edge_fer.look import CameraNews, Tick
from edge_fer.memory.pause import PauseControl
from edge_fer.memory.pause_file import PAUSE_FILE, ask_pause, read_request
from edge_fer.messages import Message
from edge_fer.power_modes.choose import NoModesError
from edge_fer.remote.commands import Remote
from edge_fer.remote.differences import differences
from edge_fer.remote.queue import CommandQueue
from edge_fer.remote.reload import ConfigSource, Hangup, NewConfig, Reloader
from edge_fer.remote.replies import Replies
from edge_fer.remote.settings import COMMANDS, CommandSettings
from edge_fer.telemetry import ThroughputMeter
from edge_fer.upkeep import PausableReader

S = 1_000_000_000
BASE: dict[str, Any] = {"node": "lab", "camera": {"front": {"uri": "/dev/video0"}}}
RULE = {"kind": "camera", "for_s": 5.0}


def config(**tables: Any) -> Config:
    return load_config(None, {**BASE, **tables})


def wait_for(condition: Callable[[], object]) -> None:
    until_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({}, {}, ""),
        ({}, {"camera": {"front": {"uri": "/dev/video0", "max_fps": 5.0}}}, "camera front restarted"),
        ({}, {"camera": {"hall": {"uri": "/dev/video0"}}}, "camera hall added; camera front removed"),
        ({"rule": {"a": RULE, "b": RULE}}, {"rule": {"b": {**RULE, "for_s": 6.0}, "c": RULE}}, None),
        ({}, {"decide": {"hold_ms": 1}, "telemetry_s": 1.0}, "decide changed; telemetry_s changed"),
    ],
)
def test_what_changes_is_told(old: dict[str, Any], new: dict[str, Any], told: str | None) -> None:
    expected = "rule c added; rule a removed; rule b changed" if told is None else told
    assert str(differences(config(**old), config(**new))) == expected


@pytest.mark.parametrize(
    ("tables", "loads"),
    [
        ({"model": {"max_faces_per_frame": 3}}, False),
        ({"model": {"threads": 2}}, True),
        ({"model": {"prior": "balanced"}}, True),
        ({"detector": {"min_score": 0.5}}, True),
        ({"quality": {"min_size_px": 20}}, False),
    ],
)
def test_networks_are_loaded_only_where_they_must_be(tables: dict[str, Any], *, loads: bool) -> None:
    assert differences(config(), config(**tables)).networks is loads


def test_every_key_is_applied_or_needs_a_restart() -> None:
    changed = {
        "node": "other",
        "state_dir": Path("/x"),
        "broker": {"url": "mqtt://h"},
        "commands": {"allow": ["pause"]},
        "outbox": {"max_events": 5},
        "homeassistant": {"enabled": False},
        "metrics": {"port": 9100},
        "camera": {"a": {"uri": "x"}},
        "rule": {"a": RULE},
        "model": {"threads": 2},
        "telemetry_s": 1.0,
        "detector": {"search_ms": 1},
        "quality": {"min_size_px": 20},
        "decide": {"hold_ms": 1},
        "self_test": {"period_s": 0},
        "power": {"sample_s": 5.0},
        "governor": {"idle_fps": 1.0},
    }
    assert set(changed) == set(Config.model_fields), "a new key: say in differences.APPLIED whether a reload applies it"
    found = differences(config(), load_config(None, changed))
    needs_restart = {"node", "state_dir", "broker", "commands.allow"}
    needs_restart |= {"outbox.max_events", "homeassistant.enabled", "metrics.port", "power.sample_s"}
    assert set(found.fixed) == needs_restart
    two = config(broker={"url": "mqtt://a", "password_file": "/p"}), config(broker={"url": "mqtt://b"})
    assert differences(*two).fixed == ("broker.url", "broker.password_file")


class Network:
    """What is asked of a network's card."""

    class point:  # noqa: N801
        min_confidence = 0.5


class File:
    """A configuration file, and the reloader of a daemon that runs it; `gate` holds the reading up."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.path = folder / "lab.toml"
        self.applied: list[NewConfig] = []
        self.answers: list[tuple[bool, str]] = []
        self.phases: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.loading = threading.Event()
        self.fails: Exception | None = None
        self.write()
        source = ConfigSource(self.path, {"node": "lab"})
        self.models = cast("Models", type("Loaded", (), {"reader": Network, "search": None}))
        self.reloader = Reloader(
            source,
            source.read(),
            self.models,
            self.applied.append,
            on_reload=self.phases.append,
            load=self.load,
            **more,
        )

    def write(self, more: str = "") -> None:
        self.path.write_text(f'camera.front.uri = "/dev/video0"\n{more}\n')

    def load(self, _config: Config) -> Models:
        self.loading.set()
        assert self.gate.wait(60)
        if self.fails:
            raise self.fails
        return self.models

    def ask(self) -> None:
        self.reloader.ask(lambda ok, text: self.answers.append((ok, text)))

    def reload(self) -> tuple[bool, str]:
        count = len(self.answers)
        self.ask()
        wait_for(lambda: self.reloader.turn() or len(self.answers) > count)
        return self.answers[-1]


def test_nothing_is_applied_while_the_file_is_wrong_and_all_of_it_once_it_is_right(tmp_path: Path) -> None:
    file = File(tmp_path)
    file.write('telemetry_s = -1\ndecide.hold_ms = 5\ncamera.hall.uri = "rtsp://u:secret@h/"\ncamera.hall.x = 1')
    ok, text = file.reload()
    assert (ok, file.applied) == (False, [])
    assert "secret" not in text
    assert file.reloader.problem.startswith(f"{file.path}: ")
    assert "\n" not in file.reloader.problem
    file.write("decide.hold_ms = 5")
    assert file.reload() == (True, "decide changed")
    assert file.applied[0].config.decide.hold_ms == 5
    assert file.reloader.problem == ""
    assert file.reload() == (True, "nothing changed")
    assert file.phases == ["start", "end"] * 3


def test_what_needs_a_restart_refuses_the_whole(tmp_path: Path) -> None:
    file = File(tmp_path)
    file.write('decide.hold_ms = 5\nbroker.url = "mqtt://h"\nstate_dir = "/x"')
    assert "broker, state_dir cannot change while the daemon runs: restart it" in file.reload()[1]
    assert file.applied == []


def test_one_reload_at_a_time(tmp_path: Path) -> None:
    file = File(tmp_path)
    file.write("model.threads = 2")
    file.gate.clear()
    file.ask()
    file.ask()
    file.reloader.turn()
    assert file.answers == [(False, "busy: the configuration is being read again already")]
    file.gate.set()
    wait_for(lambda: file.reloader.turn() or len(file.answers) == 2)
    assert file.answers[-1] == (True, "model changed")


def test_a_network_that_cannot_be_loaded_or_a_bug_in_it_ends_nothing(tmp_path: Path) -> None:
    file = File(tmp_path)
    file.write("model.threads = 2")
    file.fails = MemoryError("no room")
    assert file.reload() == (False, "refused, the old configuration stays: MemoryError: no room")
    assert file.applied == []
    file.fails = None
    assert file.reload()[0]


def test_without_a_file_there_is_nothing_to_read() -> None:
    answers: list[str] = []
    for source in (None, ConfigSource(None, BASE)):
        reloader = Reloader(source, config(), cast("Models", None), lambda _new: None)
        reloader.ask(lambda _ok, text: answers.append(text))
        assert reloader.problem == ""
    assert all("nothing to read again" in text for text in answers)
    assert len(answers) == 2


@pytest.mark.parametrize(
    ("line", "ok"),
    [
        ("decide.hold_ms = 5", False),
        ('camera.hall.uri = "/dev/video1"', False),
        ('rule.a = {kind = "camera"}', False),
        ("decide.min_confidence = 0.5", True),  # what the card says anyway
        ("telemetry_s = 5.0", True),
    ],
)
def test_a_recording_of_scores_keeps_what_its_replay_would_decide_by(tmp_path: Path, line: str, *, ok: bool) -> None:
    file = File(tmp_path, recording=True)
    file.write(line)
    told = file.reload()
    assert told[0] is ok
    assert ok or "while scores are recorded" in told[1]


class Reader(threading.Thread):
    """A camera's reader; its driver may never return."""

    def __init__(self, camera: str, _uri: object, lane: Any, _settings: object, *, after_ns: int | None) -> None:
        super().__init__(daemon=True)
        self.camera, self.lane, self.after_ns, self.last_time_ns = camera, lane, after_ns, 7
        self.closed, self.returns = threading.Event(), threading.Event()
        self.hangs = False

    def run(self) -> None:
        self.returns.wait(60)

    def stop(self) -> None:
        if not self.hangs:
            self.returns.set()

    def disable(self, _reason: str) -> None:
        self.closed.set()


def frame(camera: str, seq: int = 0) -> Frame:
    return Frame(camera, seq, seq, seq, np.zeros((2, 2, 3), np.uint8), None)


CAMERA = CameraSettings(uri="/dev/video0")


class Fleet:
    def __init__(self, *names: str) -> None:
        self.now_ns, self.inbox = 0, Inbox()
        self.readers = CameraReaders(
            dict.fromkeys(names, CAMERA), self.inbox, make=cast("Any", Reader), clock_ns=lambda: self.now_ns
        )
        self.readers.turn()

    def __getitem__(self, camera: str) -> Any:
        return next(reader for reader in self.readers.all if reader.camera == camera)


def test_a_device_is_opened_again_once_the_reader_before_has_let_go_of_it() -> None:
    fleet = Fleet("front", "hall")
    front, old = fleet["front"], fleet["hall"]
    old.hangs = True
    fleet.readers.replace("hall", CAMERA)
    new = fleet["hall"]
    fleet.readers.turn()
    assert (new.is_alive(), new.after_ns, fleet.readers.still_open("hall")) == (False, 7, True)
    pausable = PausableReader(new, fleet.readers.still_open)
    pausable.disable()
    assert not pausable.closed, "nobody can prove that the device is closed"
    old.returns.set()
    old.join()
    fleet.readers.turn()
    assert new.is_alive()
    assert pausable.closed
    assert fleet["front"] is front
    fleet.readers.stop()
    fleet.readers.close(60)


def test_a_driver_that_never_returns_is_told_and_waited_for_only_so_long() -> None:
    fleet = Fleet("hall")
    old = fleet["hall"]
    old.hangs = True
    fleet.readers.replace("hall", CAMERA)
    assert fleet.readers.problem == ""
    fleet.now_ns = round(HANDOVER_S * S)
    fleet.readers.turn()
    assert fleet["hall"].is_alive()
    assert fleet.readers.problem == "camera hall: the driver of an earlier reader does not return"
    assert fleet.readers.still_open("hall")
    old.returns.set()
    old.join()
    fleet.readers.turn()
    assert fleet.readers.problem == ""
    fleet.readers.stop()


def test_one_that_was_never_started_never_is(tmp_path: Path) -> None:
    del tmp_path
    fleet = Fleet()
    fleet.readers.add("hall", CAMERA)
    first = fleet["hall"]
    fleet.readers.replace("hall", CAMERA)
    fleet.readers.remove("hall")
    fleet.readers.turn()
    assert not first.is_alive()
    assert fleet.readers.all == []


def test_what_an_earlier_reader_left_or_still_leaves_is_thrown_away() -> None:
    inbox = Inbox()
    old = inbox.lane("hall")
    old.put(frame("hall"))
    old.report(CameraChange("hall", "offline", "lost", 0, 1))
    new = inbox.lane("hall")
    assert inbox.take(0) is None
    old.put(frame("hall", 1))
    old.report(CameraChange("hall", "offline", "lost", 0, 1))
    old.shut("hall")
    old.fail(RuntimeError("late"))
    assert inbox.take(0) is None
    new.put(frame("hall", 5))
    found = inbox.take(0)
    assert isinstance(found, Frame)
    assert found.seq == 5


def test_a_reader_that_waits_for_its_turn_is_let_go_without_leaving_anything() -> None:
    inbox = Inbox()
    lane = inbox.lane("clip")
    lane.put(frame("clip"), lossless=True)
    late = threading.Thread(target=lambda: lane.put(frame("clip", 1), lossless=True))
    late.start()
    inbox.lane("clip")
    late.join(60)
    assert not late.is_alive()
    assert inbox.take(0) is None


def test_a_camera_that_goes_is_not_counted_and_goes_on_counting_when_it_is_back() -> None:
    inbox, meter = Inbox(), ThroughputMeter(1)
    for _ in range(3):
        lane = inbox.lane("hall")
        for seq in range(100):
            lane.put(frame("hall", seq))
            inbox.take(0)
        meter.sample(inbox.counts())
        inbox.remove("hall")
        assert inbox.counts() == {}
        meter.sample(inbox.counts())
    inbox.lane("hall")
    assert inbox.counts()["hall"].looked_at == 300
    assert meter.sample(inbox.counts()).cameras["hall"].fps == 0


def judge(rules: dict[str, Any], *cameras: str) -> Judge:
    checked = config(rule=rules, camera={name: {"uri": "x"} for name in cameras}).rule
    made = Judge(cameras, decide=DecideSettings(), rules=checked, boot_id="b", number=itertools.count(1).__next__)
    made.start(0)
    return made


def news(camera: str, state: CameraCondition, at_s: float) -> CameraNews:
    return CameraNews(camera, state, state, round(at_s * S), round(at_s * S))


def alerts(judged: list[Judged]) -> list[tuple[str, str, str]]:
    return [(one.payload.rule, one.payload.state, one.payload.why) for one in judged if isinstance(one.payload, Alert)]


def test_an_alert_about_a_camera_that_goes_is_cleared() -> None:
    node = judge({"away": {**RULE, "clear_after_s": 0}}, "front", "hall")
    node.take(news("front", "online", 1))
    node.take(news("hall", "offline", 1))
    assert [state for _, state, _ in alerts(node.take(Tick(7 * S, 7 * S)))] == ["active"]
    assert alerts(node.remove("hall", 8 * S, 8 * S)) == [("away", "cleared", "camera hall is disabled")]
    node.add("hall", 9 * S)
    same = config(rule={"away": {**RULE, "clear_after_s": 0}}).rule
    assert node.use_rules(same, 9 * S) == ([], [])
    node.take(news("hall", "offline", 10))
    assert alerts(node.take(Tick(100 * S, 100 * S)))[0][:2] == ("away", "active")


def test_a_rule_that_comes_later_knows_which_cameras_are_away() -> None:
    node = judge({}, "front", "hall")
    node.take(news("hall", "offline", 1))
    judged, removed = node.use_rules(config(rule={"away": RULE}).rule, 2 * S)
    assert (alerts(judged), removed) == ([("away", "cleared", "nothing found yet")], [])
    (told,) = alerts(node.take(Tick(8 * S, 8 * S)))
    assert told[:2] == ("away", "active")
    assert "camera hall is offline" in told[2]


def test_a_rule_that_stays_keeps_its_clock_while_others_change() -> None:
    node = judge({"away": RULE, "b": RULE}, "hall")
    node.take(news("hall", "offline", 1))
    node.take(Tick(3 * S, 3 * S))
    judged, removed = node.use_rules(config(rule={"c": RULE, "away": RULE}).rule, 4 * S)
    assert (alerts(judged), removed) == ([("c", "cleared", "nothing found yet")], ["b"])
    assert [told[:2] for told in alerts(node.take(Tick(round(6.1 * S), 0)))] == [("away", "active")]
    gone, removed = node.use_rules({}, 7 * S)
    assert alerts(gone) == [("away", "cleared", "the rule was removed from the configuration")]
    assert removed == ["c", "away"]
    assert [one.payload.seq for one in gone if isinstance(one.payload, Alert)] == [2]


def test_a_camera_that_comes_is_under_a_pause_of_all(tmp_path: Path) -> None:
    clock = Clock()
    ask_pause(tmp_path, [], None, by="test", known=None, now=clock())
    control = PauseControl(tmp_path, ["front"], node="lab", boot_id="b", clock=clock)
    control.use_cameras(["front", "hall"])
    assert control.wanted.cameras == ("front", "hall")
    cameras = [Camera("front"), Camera("hall")]
    told = control.turn(cameras)
    assert told is not None
    assert told.cameras == ["front", "hall"]
    control.use_cameras(["hall"])
    told = control.turn(cameras[1:])
    assert told is not None
    assert told.cameras == ["hall"]


class Desk:
    """A node with its commands, and a clock."""

    def __init__(
        self,
        folder: Path | None,
        reloader: Reloader | None = None,
        ask_mode: Callable[[str], str] = "power mode {} is set".format,
    ) -> None:
        self.now_ns = 0
        self.sent: list[Message] = []
        self.searched: list[tuple[str, ...]] = []
        self.conditions: dict[str, CameraCondition] = {"front": "online", "hall": "dark"}
        self.queue = CommandQueue(CommandSettings(allow=[*COMMANDS]), "lab", clock_ns=lambda: self.now_ns)
        self.hangup = Hangup()
        self.remote = Remote(
            self,
            reloader or Reloader(None, config(), cast("Models", None), lambda _new: None),
            queue=self.queue,
            replies=Replies(self.sent.append, node="lab", boot_id="b", clock_ns=lambda: self.now_ns),
            pause_folder=folder,
            hangup=self.hangup,
            ask_mode=ask_mode,
            clock_ns=lambda: self.now_ns,
        )

    def detect_now(self, cameras: Any) -> None:
        self.searched.append(tuple(cameras))

    def turn(self) -> None:
        self.now_ns += S // 10
        self.remote.turn()

    def replies(self) -> list[tuple[str, bool, str]]:
        return [(str(one.body["command"]), bool(one.body["ok"]), str(one.body["message"])) for one in self.sent]


def test_commands_are_carried_out_in_order_one_in_a_turn(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for command in ("pause", "resume", "pause"):
        desk.queue.take(incoming(command, {"cameras": ["hall"]}))
    desk.queue.take(incoming("detect-now"))
    desk.turn()
    wait_for(lambda: desk.turn() or len(desk.sent) == 4)
    assert [command for command, _, _ in desk.replies()] == ["pause", "resume", "pause", "detect-now"]
    assert desk.searched == [("front", "hall")]
    (pause,) = read_request(tmp_path).pauses
    assert (pause.camera, pause.by) == ("hall", "mqtt")


def test_a_power_mode_is_set_beside_the_main_thread_one_at_a_time() -> None:
    gate, asked = threading.Event(), []

    def ask(mode: str) -> str:
        asked.append(mode)
        assert gate.wait(120)
        return f"power mode {mode} is set"

    desk = Desk(None, ask_mode=ask)
    for command, body in (("set-power-mode", {"mode": "15W", "id": "1"}), ("set-power-mode", {"mode": "2"})):
        desk.queue.take(incoming(command, body))
    desk.queue.take(incoming("detect-now", {"cameras": ["front"]}))
    for _ in range(3):
        desk.turn()
    assert desk.replies() == [
        ("set-power-mode", False, "busy: another power mode is being set"),
        ("detect-now", True, "the whole next frame is searched: front"),
    ]
    gate.set()
    wait_for(lambda: desk.turn() or len(desk.sent) == 3)
    assert (asked, desk.replies()[-1]) == (["15W"], ("set-power-mode", True, "power mode 15W is set"))
    assert desk.sent[-1].body["id"] == "1"


@pytest.mark.parametrize(
    ("err", "told"),
    [
        (NoModesError("power mode 15W: this machine has neither"), "power mode 15W: this machine has neither"),
        (KeyError("x"), "KeyError: 'x'"),
    ],
)
def test_a_power_mode_that_is_not_set_is_told_with_its_reason(err: Exception, told: str) -> None:
    def ask(_mode: str) -> str:
        raise err

    desk = Desk(None, ask_mode=ask)
    desk.queue.take(incoming("set-power-mode", {"mode": "15W"}))
    wait_for(lambda: desk.turn() or desk.sent)
    assert desk.replies() == [("set-power-mode", False, told)]


def test_a_pause_that_cannot_be_written_is_told() -> None:
    desk = Desk(Path("/proc/nowhere"))
    desk.queue.take(incoming("pause"))
    wait_for(lambda: desk.turn() or desk.sent)
    ((_, ok, text),) = desk.replies()
    assert (ok, PAUSE_FILE in text) == (False, True)


def test_what_is_out_of_date_unknown_or_not_possible_is_refused() -> None:
    desk = Desk(None)
    desk.queue.take(incoming("pause"))
    desk.turn()
    desk.queue.take(incoming("detect-now", {"cameras": ["cellar"]}))
    desk.turn()
    desk.queue.take(incoming("detect-now", {"cameras": ["hall"]}))
    desk.turn()
    desk.queue.take(incoming("reload"))
    desk.now_ns += 31 * S
    desk.turn()
    desk.queue.take(incoming("reload"))
    desk.turn()
    assert desk.replies() == [
        ("pause", False, "not available: this run keeps nothing in a state folder"),
        ("detect-now", False, "unknown camera 'cellar'; this node has front, hall"),
        ("detect-now", False, "the whole next frame is searched: hall; hall is dark"),
        ("reload", False, "expired: it waited longer than 30 s"),
        ("reload", False, "there is nothing to read again: the configuration is that of the command line"),
    ]


def test_a_hangup_during_a_reload_leads_to_another_one(tmp_path: Path) -> None:
    file = File(tmp_path)
    desk = Desk(tmp_path, file.reloader)
    file.write("model.threads = 2")
    file.gate.clear()
    desk.hangup.note()
    desk.turn()
    assert file.loading.wait(60)
    file.write("model.threads = 3")
    desk.hangup.note()
    desk.turn()
    assert file.phases == ["start"]
    file.gate.set()
    wait_for(lambda: desk.turn() or len(file.applied) == 2)
    assert [new.config.model.threads for new in file.applied] == [2, 3]

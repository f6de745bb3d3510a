from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edge_fer.errors import UnavailableError, UsageError
from edge_fer.events import Privacy
from edge_fer.memory.pause import PauseControl
from edge_fer.memory.pause_command import (
    Outcome,
    Patience,
    duration_s,
    find_state_folder,
    pause_cameras,
    resume_cameras,
)
from edge_fer.memory.pause_file import (
    ALL,
    PAUSE_FILE,
    PROOF_FILE,
    Moment,
    PauseProof,
    ask_pause,
    ask_resume,
    moment,
    read_proof,
    read_request,
    write_proof,
)
from edge_fer.memory.state_folder import StateFolder

S = 1_000_000_000
HOUR_NS = 3600 * S
START_NS = 1_767_261_600 * S  # 2026-01-01T10:00:00Z
CAMERAS = ("front", "hall")


class Clock:
    """The clocks of a machine; both go on together until somebody sets one."""

    def __init__(self) -> None:
        self.now = Moment(START_NS, 100 * S, "run-1")

    def __call__(self) -> Moment:
        return self.now

    def pass_s(self, seconds: float) -> None:
        step = round(seconds * S)
        self.now = self.now._replace(unix_ns=self.now.unix_ns + step, boot_ns=self.now.boot_ns + step)

    def set_wall(self, unix_ns: int) -> None:
        self.now = self.now._replace(unix_ns=unix_ns)

    def restart_machine(self, unix_ns: int) -> None:
        self.now = Moment(unix_ns, 5 * S, self.now.kernel_boot_id + "-again")


class Camera:
    """A reader that closes its device a while after it was asked, as a driver may; or never."""

    def __init__(self, camera: str, turns_to_close: float = 0) -> None:
        self.camera, self._turns = camera, turns_to_close
        self.enabled = False
        self.opened = False
        self._left: float = 0
        self.history: list[str] = []

    @property
    def closed(self) -> bool:
        return not self.enabled and not self.opened

    def disable(self) -> None:
        if self.enabled:
            self.enabled, self._left = False, self._turns
        if self.opened and self._left <= 0:
            self.opened = False
            self.history.append("closed")
        self._left -= 1

    def enable(self) -> None:
        if not self.enabled:
            self.enabled = self.opened = True
            self.history.append("opened")


class Node:
    """A daemon's main loop around the control, a turn at a time."""

    def __init__(self, folder: Path, clock: Clock, cameras: Sequence[Camera] | None = None) -> None:
        self.folder, self.clock = folder, clock
        self.cameras = list(cameras or [Camera(name) for name in CAMERAS])
        self.control = PauseControl(
            folder, [camera.camera for camera in self.cameras], node="lab", boot_id="b", clock=clock
        )
        self.published: list[Privacy] = []

    def turns(self, count: int = 4) -> None:
        for _ in range(count):
            self.clock.pass_s(0.3)
            if privacy := self.control.turn(self.cameras):
                # Whatever is told must be true at that moment.
                assert all(camera.closed for camera in self.cameras if camera.camera in privacy.cameras)
                self.published.append(privacy)
            for name in self.published[-1].cameras if self.published else ():
                assert all(camera.closed for camera in self.cameras if camera.camera == name)

    @property
    def opened(self) -> list[str]:
        return [camera.camera for camera in self.cameras if camera.opened]

    def told(self) -> list[tuple[bool, list[str]]]:
        return [(privacy.paused, privacy.cameras) for privacy in self.published]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def node(tmp_path: Path, clock: Clock) -> Node:
    running = Node(tmp_path, clock)
    running.turns()
    assert running.opened == ["front", "hall"]
    return running


def pause(node: Node, *cameras: str, for_s: float | None = None) -> None:
    for_ns = None if for_s is None else round(for_s * S)
    ask_pause(node.folder, cameras, for_ns, by="command line", known=CAMERAS, now=node.clock())


def resume(node: Node, *cameras: str) -> None:
    ask_resume(node.folder, cameras, known=CAMERAS, now=node.clock())


# The daemon


def test_without_a_pause_the_proof_of_an_older_one_is_taken_back_before_a_camera_opens(
    tmp_path: Path, clock: Clock
) -> None:
    node = Node(tmp_path, clock)
    node.turns(1)
    assert node.told() == [(False, [])]
    assert node.opened == []
    node.turns(1)
    assert node.opened == ["front", "hall"]
    node.turns(10)
    assert node.told() == [(False, [])]


def test_a_pause_closes_the_cameras_within_a_second_and_is_then_proven(node: Node) -> None:
    pause(node)
    node.turns(1)
    assert node.opened == []
    privacy = node.published[-1]
    assert privacy == Privacy(
        paused=True, cameras=["front", "hall"], until=None, by="command line", since=privacy.since
    )
    assert privacy.since == "2026-01-01T10:00:01.500Z"
    node.turns(20)
    assert node.published[-1] is privacy


def test_a_resume_opens_them_again_after_the_proof_was_taken_back(node: Node) -> None:
    pause(node)
    node.turns()
    resume(node)
    node.turns(1)
    assert node.told()[-1] == (False, [])
    assert node.opened == []
    node.turns(1)
    assert node.opened == ["front", "hall"]


def test_one_camera_is_paused_and_the_other_goes_on(node: Node) -> None:
    pause(node, "hall")
    node.turns()
    assert node.opened == ["front"]
    assert node.told()[-1] == (True, ["hall"])
    pause(node, "front")
    node.turns()
    assert node.told()[-1] == (True, ["front", "hall"])
    resume(node, "hall")
    node.turns()
    assert node.opened == ["hall"]
    assert node.told()[-1] == (True, ["front"])


def test_one_of_all_can_be_resumed(node: Node) -> None:
    pause(node)
    resume(node, "front")
    node.turns()
    assert node.opened == ["front"]


def test_nothing_is_proven_while_a_camera_does_not_close(tmp_path: Path, clock: Clock) -> None:
    wedged = Camera("hall", turns_to_close=float("inf"))
    node = Node(tmp_path, clock, [Camera("front"), wedged])
    node.turns()
    pause(node)
    node.turns(20)
    assert node.told() == [(False, [])]
    proof = read_proof(tmp_path)
    assert proof
    assert (proof.paused, proof.closed) == (("front", "hall"), ("front",))
    assert node.opened == ["hall"]


def test_a_slow_camera_is_waited_for(tmp_path: Path, clock: Clock) -> None:
    node = Node(tmp_path, clock, [Camera("front"), Camera("hall", turns_to_close=5)])
    node.turns()
    pause(node)
    node.turns(3)
    assert node.told() == [(False, [])]
    node.turns(10)
    assert node.told() == [(False, []), (True, ["front", "hall"])]


def test_a_wedged_camera_does_not_keep_another_from_being_resumed(tmp_path: Path, clock: Clock) -> None:
    node = Node(tmp_path, clock, [Camera("front", turns_to_close=float("inf")), Camera("hall"), Camera("door")])
    node.turns()
    known = ["front", "hall", "door"]
    ask_pause(tmp_path, ["hall", "door"], None, by="x", known=known, now=clock())
    node.turns()
    ask_pause(tmp_path, ["front"], None, by="x", known=known, now=clock())
    ask_resume(tmp_path, ["hall"], known=known, now=clock())
    node.turns()
    assert node.told()[-1] == (True, ["door"])
    assert node.opened == ["front", "hall"]


def test_a_pause_survives_a_restart_and_no_camera_is_ever_opened(node: Node) -> None:
    pause(node)
    node.turns()
    again = Node(node.folder, node.clock)
    assert again.control.wanted.cameras == CAMERAS
    again.turns(20)
    assert [camera.history for camera in again.cameras] == [[], []]
    assert again.told() == [(True, ["front", "hall"])]


def test_a_pause_of_all_holds_for_a_camera_that_is_added_later(node: Node) -> None:
    pause(node)
    more = Node(node.folder, node.clock, [Camera("front"), Camera("attic")])
    more.turns()
    assert more.opened == []


def test_a_pause_ends_by_itself(node: Node) -> None:
    pause(node, for_s=1800)
    node.turns()
    assert node.published[-1].until == "2026-01-01T10:30:01.200Z"
    node.clock.pass_s(1780)
    node.turns()
    assert node.opened == []
    node.clock.pass_s(20)
    node.turns()
    assert node.opened == ["front", "hall"]
    assert node.told()[-1] == (False, [])
    assert read_request(node.folder).pauses == ()


def test_of_two_pauses_of_a_camera_the_longer_counts_and_a_new_one_replaces_its_like(node: Node) -> None:
    pause(node, for_s=3600)
    pause(node, "hall", for_s=7200)
    pause(node, for_s=60)
    node.clock.pass_s(61)
    node.turns()
    assert node.opened == ["front"]
    assert node.published[-1].until == "2026-01-01T12:00:01.200Z"


@pytest.mark.parametrize("step_ns", [-30 * 365 * 24 * HOUR_NS, -HOUR_NS, HOUR_NS, 30 * 365 * 24 * HOUR_NS])
def test_setting_the_clock_neither_ends_a_pause_nor_prolongs_it(node: Node, step_ns: int) -> None:
    pause(node, for_s=1800)
    node.turns()
    node.clock.set_wall(node.clock.now.unix_ns + step_ns)
    node.turns()
    assert node.opened == []
    Node(node.folder, node.clock).turns()
    node.clock.pass_s(1800)
    node.turns()
    assert node.opened == ["front", "hall"]


def test_after_a_restart_of_the_machine_the_clock_on_the_wall_counts(node: Node) -> None:
    pause(node, for_s=3600)
    node.clock.restart_machine(START_NS + HOUR_NS // 2)
    again = Node(node.folder, node.clock)
    again.turns()
    assert again.opened == []
    node.clock.pass_s(1900)
    again.turns()
    assert again.opened == ["front", "hall"]


def test_a_clock_that_is_not_set_yet_does_not_end_a_pause(node: Node) -> None:
    pause(node, for_s=3600)
    node.clock.restart_machine(0)
    again = Node(node.folder, node.clock)
    node.clock.pass_s(7200)
    again.turns()
    assert again.opened == []
    node.clock.set_wall(START_NS + 2 * HOUR_NS)
    again.turns()
    assert again.opened == ["front", "hall"]


def test_a_pause_that_has_ended_does_not_come_back_with_an_unset_clock(node: Node) -> None:
    pause(node, for_s=3600)
    node.clock.pass_s(3700)
    node.turns()
    node.clock.restart_machine(0)
    again = Node(node.folder, node.clock)
    again.turns()
    assert again.opened == ["front", "hall"]


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(content=st.binary(max_size=200))
@example(content=b"{}")
@example(content=b'{"":""}')
@example(content=b'{"id":"","pauses":[],"more":1}')
@example(content=b'{"pauses":[]}')
def test_any_bytes_in_place_of_a_pause_mean_privacy(content: bytes, tmp_path: Path) -> None:
    (tmp_path / PAUSE_FILE).write_bytes(content)
    node = Node(tmp_path, Clock())
    node.turns()
    assert node.opened == []
    assert node.told() == [(True, ["front", "hall"])]
    assert "damaged; all cameras are paused, `edge-fer resume` ends it" in node.control.problem
    resume(node)
    node.turns()
    assert node.control.problem == ""
    assert node.opened == ["front", "hall"]


def test_a_pause_with_absurd_numbers_means_privacy(tmp_path: Path, clock: Clock) -> None:
    request = asdict(ask_pause(tmp_path, [], 60 * S, by="x", known=None, now=clock()))
    for wrong in ({"for_ns": 10**30}, {"for_ns": -1}, {"since_unix_ns": 10**30}, {"camera": "a/b"}, {"by": 3}):
        (tmp_path / PAUSE_FILE).write_text(json.dumps({**request, "pauses": [{**request["pauses"][0], **wrong}]}))
        node = Node(tmp_path, clock)
        node.turns()
        assert node.opened == [], wrong
        assert "damaged" in node.control.problem


def test_a_file_that_is_damaged_while_it_runs_closes_the_cameras(node: Node) -> None:
    (node.folder / PAUSE_FILE).write_text("{")
    node.turns()
    assert node.opened == []
    assert node.published[-1].by == "damaged file"


def test_only_a_resume_ends_a_pause_not_a_missing_file(node: Node) -> None:
    pause(node)
    node.turns()
    (node.folder / PAUSE_FILE).unlink()
    node.turns()
    assert node.opened == []
    assert "is gone; the pause goes on" in node.control.problem
    resume(node)
    node.turns()
    assert node.opened == ["front", "hall"]
    assert node.control.problem == ""


def test_a_file_that_may_not_be_read_means_privacy(node: Node) -> None:
    """A folder in its place cannot be read by root either."""
    (node.folder / PAUSE_FILE).unlink(missing_ok=True)
    (node.folder / PAUSE_FILE).mkdir()
    node.turns()
    assert node.opened == []
    assert PAUSE_FILE in node.control.problem


def test_a_folder_that_is_not_there_asks_for_nothing_and_the_missing_proof_is_a_problem(
    tmp_path: Path, clock: Clock
) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "none", tmp_path / "file"):
        node = Node(folder, clock)
        node.turns()
        assert node.opened == ["front", "hall"]
        assert f"{folder / PROOF_FILE}: cannot be written" in node.control.problem


def test_a_pause_of_a_camera_that_is_gone_from_the_configuration_is_no_pause(tmp_path: Path, clock: Clock) -> None:
    ask_pause(tmp_path, ["attic"], None, by="x", known=None, now=clock())
    node = Node(tmp_path, clock)
    node.turns()
    assert node.opened == ["front", "hall"]
    assert node.told() == [(False, [])]


def test_the_file_is_looked_at_four_times_a_second_at_most(node: Node) -> None:
    node.turns(1)
    pause(node)
    assert not node.control.poll()
    node.clock.pass_s(0.1)
    assert not node.control.poll()
    node.clock.pass_s(0.2)
    assert node.control.poll()
    node.clock.pass_s(1)
    assert not node.control.poll()


def test_the_clocks_of_this_machine_go_forward() -> None:
    first, second = moment(), moment()
    assert first.kernel_boot_id == second.kernel_boot_id
    assert second.boot_ns >= first.boot_ns > 0


# The commands


@pytest.fixture
def running(node: Node) -> Iterator[Node]:
    """The same daemon with its lock, which works while a command waits for it."""
    lock = StateFolder(node.folder)
    yield node
    lock.close()


def asked(node: Node, what: str, *cameras: str, for_s: float | None = None) -> Outcome:
    patience = Patience(sleep=lambda _: node.turns(1))
    if what == "pause":
        return pause_cameras(node.folder, cameras, for_s=for_s, clock=node.clock, patience=patience)
    return resume_cameras(node.folder, cameras, clock=node.clock, patience=patience)


def test_pause_and_resume_are_confirmed_by_the_daemon(running: Node) -> None:
    assert asked(running, "pause") == Outcome(
        "paused: cameras front, hall are closed since 2026-01-01T10:00:01.500Z", 0
    )
    assert running.opened == []
    assert asked(running, "resume", "hall") == Outcome("resumed: camera hall is watched again; still paused: front", 0)
    assert asked(running, "resume") == Outcome("resumed: cameras front, hall are watched again", 0)
    running.turns()
    assert running.opened == ["front", "hall"]


def test_a_pause_that_is_there_already_keeps_its_time(running: Node) -> None:
    first = asked(running, "pause", "hall")
    running.clock.pass_s(100)
    assert asked(running, "pause", "hall", for_s=60) == first
    assert first.text.startswith("paused: camera hall is closed since")


def test_a_camera_that_does_not_close_is_named(tmp_path: Path, clock: Clock) -> None:
    node = Node(tmp_path, clock, [Camera("front"), Camera("hall", turns_to_close=float("inf"))])
    node.turns()
    lock = StateFolder(tmp_path)
    assert asked(node, "pause") == Outcome("not paused: camera hall is not closed after 5 s", 1)
    assert asked(node, "pause", "front").exit_code == 0
    lock.close()


def test_a_daemon_that_does_not_answer_is_no_confirmation(running: Node) -> None:
    silent = Patience(sleep=lambda _: None)
    outcome = pause_cameras(running.folder, clock=running.clock, patience=silent)
    assert outcome.exit_code == 1
    assert "does not answer; is it stuck?" in outcome.text
    assert resume_cameras(running.folder, clock=running.clock, patience=silent).exit_code == 1


def test_an_older_answer_is_no_confirmation(running: Node) -> None:
    asked(running, "pause")
    resume(running)
    outcome = pause_cameras(running.folder, clock=running.clock, patience=Patience(sleep=lambda _: None))
    assert outcome.exit_code == 1


def test_without_a_daemon_the_pause_is_kept_for_its_start(node: Node) -> None:
    outcome = pause_cameras(node.folder, clock=node.clock)
    assert outcome.exit_code == 1
    assert outcome.text.startswith(f"no daemon runs with state folder {node.folder}; the pause is kept")
    later = Node(node.folder, node.clock)
    later.turns()
    assert later.opened == []
    assert resume_cameras(node.folder, clock=node.clock).text.endswith("it will start with these cameras open")


def test_an_unknown_camera_is_told_with_the_known_ones(node: Node) -> None:
    for command in (pause_cameras, resume_cameras):
        with pytest.raises(UsageError, match="unknown camera 'kitchen'; this node has front, hall"):
            command(node.folder, ["kitchen"], clock=node.clock)
        with pytest.raises(UsageError, match="unknown camera 'front'; this node has door"):
            command(node.folder, ["front"], known=["door"], clock=node.clock)
    assert not (node.folder / PAUSE_FILE).exists()


def test_where_no_camera_is_known_a_name_must_be_one(tmp_path: Path, clock: Clock) -> None:
    for name in (ALL, "Front", "a/b", ""):
        with pytest.raises(UsageError, match="a name is 1 to 63"):
            pause_cameras(tmp_path, [name], clock=clock)
    pause_cameras(tmp_path, clock=clock)
    with pytest.raises(UsageError, match="resume all, without --camera"):
        resume_cameras(tmp_path, ["front"], clock=clock)


def test_on_a_full_disk_a_pause_is_made_nevertheless(tmp_path: Path, clock: Clock) -> None:
    code = f"""
import resource; from pathlib import Path; from edge_fer.memory.pause_command import pause_cameras
resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
print(pause_cameras(Path({str(tmp_path)!r}), ["front"]).text)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "is the disk full?), and it will start with all closed" in done.stdout
    node = Node(tmp_path, clock)
    node.turns()
    assert node.opened == []


def test_where_nothing_can_be_written_it_is_told(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "none", tmp_path / "file"):
        for command in (pause_cameras, resume_cameras):
            with pytest.raises(UnavailableError, match=rf"{folder / PAUSE_FILE}: cannot be written"):
                command(folder, clock=clock)


def test_of_many_commands_at_once_none_is_lost(tmp_path: Path) -> None:
    code = f"""
import sys; from pathlib import Path; from edge_fer.memory.pause_file import ask_pause, moment
print("ready", flush=True); input()
for number in range(20):
    ask_pause(Path({str(tmp_path)!r}), [f"{{sys.argv[1]}}-{{number}}"], None, by="x", known=None, now=moment())
"""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    commands = [subprocess.Popen([sys.executable, "-c", code, name], **pipes) for name in ("a", "b")]
    assert [command.stdout.readline() for command in commands] == ["ready\n"] * 2
    for command in commands:
        command.stdin.write("go\n")
        command.stdin.flush()
    for command in commands:
        command.communicate(timeout=120)
    assert [command.returncode for command in commands] == [0, 0]
    assert len(read_request(tmp_path).pauses) == 40


DAEMON = """
import sys, time; from pathlib import Path
sys.path.insert(0, sys.argv[2])
from edge_fer.memory.pause import PauseControl; from edge_fer.memory.state_folder import StateFolder
from test_pause import CAMERAS, Camera
folder = StateFolder(Path(sys.argv[1]))
cameras = [Camera(name) for name in CAMERAS]
control = PauseControl(folder.path, CAMERAS, node="lab", boot_id="b")
while True:
    control.turn(cameras)
    print(sum(camera.opened for camera in cameras), flush=True)
    time.sleep(0.02)
"""


def test_a_real_daemon_is_paused_killed_and_paused_again_and_resumed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DAEMON, str(tmp_path), str(Path(__file__).parent)]
    slow = Patience(answer_s=60)

    def started() -> subprocess.Popen[str]:
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    with started() as daemon:
        assert daemon.stdout
        assert next(line for line in daemon.stdout if line != "0\n") == "2\n"
        done = pause_cameras(tmp_path, for_s=3600, patience=slow)
        assert done.exit_code == 0
        assert done.text.startswith("paused: cameras front, hall are closed since 20")
        daemon.kill()
    assert pause_cameras(tmp_path, patience=slow).exit_code == 1
    with started() as daemon:
        assert daemon.stdout
        assert [daemon.stdout.readline() for _ in range(50)] == ["0\n"] * 50
        assert resume_cameras(tmp_path, ["front"], patience=slow).exit_code == 0
        assert next(line for line in daemon.stdout if line != "0\n") == "1\n"
        assert resume_cameras(tmp_path, patience=slow).exit_code == 0
        assert next(line for line in daemon.stdout if line != "1\n") == "2\n"
        daemon.kill()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("7d", 604_800), ("365d", 31_536_000)],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "0m", "-5m", "1.5h", "half an hour", "366d", "5 m", "m", "9999999d", "٣m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"90s, 30m, 2h"):
        duration_s(text)


# Finding the daemon's folder

PROOF = PauseProof("lab", "b", "", CAMERAS, (), (), "2026-01-01T10:00:00.000Z")


def left_by_a_daemon(folder: Path, node: str = "lab") -> Path:
    folder.mkdir(parents=True)
    write_proof(folder, replace(PROOF, node=node))
    return folder


def test_the_folder_of_the_daemon_that_runs_is_found_wherever_it_was_started(tmp_path: Path) -> None:
    environ, system = {"XDG_STATE_HOME": str(tmp_path / "home")}, tmp_path / "var"
    users = left_by_a_daemon(tmp_path / "home" / "edge-fer" / "lab")
    services = left_by_a_daemon(system)
    assert find_state_folder(None, "lab", environ, system) == users
    lock = StateFolder(services)
    assert find_state_folder(None, "lab", environ, system) == services
    lock.close()
    assert find_state_folder(services, "other", environ, system) == services


def test_the_folder_of_another_node_is_not_taken(tmp_path: Path) -> None:
    left_by_a_daemon(tmp_path / "var", "other")
    with pytest.raises(UnavailableError, match=r"no daemon of node 'lab' has run here \(looked in .*--node"):
        find_state_folder(None, "lab", {"XDG_STATE_HOME": str(tmp_path)}, tmp_path / "var")


def test_a_folder_that_may_not_be_looked_into_is_told(open_folder: Path) -> None:
    """As another user, where the tests run as root: to root nothing is forbidden."""
    closed = left_by_a_daemon(open_folder / "var")
    closed.chmod(0)
    code = f"""
import os; from pathlib import Path; from edge_fer.errors import UnavailableError
from edge_fer.memory.pause_command import find_state_folder
os.getuid() or os.setresuid(65534, 65534, 65534)
try:
    find_state_folder(None, "lab", {{"XDG_STATE_HOME": "/nowhere"}}, Path({str(closed)!r}))
except UnavailableError as err:
    print(err)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    closed.chmod(0o700)
    assert done.stdout == f"state folder {closed}/lab: Permission denied; use sudo, or the daemon's user\n"
    assert os.listdir(closed)  # noqa: PTH208

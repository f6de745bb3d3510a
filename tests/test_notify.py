from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from servicemanager import Manager

from edge_fer.config import load_config
from edge_fer.errors import CameraError
from edge_fer.messages import Message
from edge_fer.notify import FEEDS, LONGEST_STATUS, Notifier, take_notifier
from edge_fer.service import running


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify") if request.param == "path" else f"@edge-fer-test-{os.getpid()}")
    yield manager
    manager.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def status() -> str:
    return "online; no broker"


def test_the_first_finished_turn_makes_it_ready_and_says_how_it_is(manager: Manager, clock: Clock) -> None:
    notifier = Notifier(manager.address, clock_s=clock)
    notifier.starting("loads the networks")
    assert manager.messages() == ["STATUS=starting: loads the networks"]
    notifier.turn_finished(status)
    # In one message: whoever sees it active sees how it is, too.
    assert manager.messages() == ["READY=1\nSTATUS=online; no broker"]
    for _ in range(50):
        clock.now_s += 0.3
        notifier.turn_finished(status)
    assert manager.messages() == []


@pytest.mark.parametrize(("watchdog_s", "feeds"), [(30.0, 10), (2.0, 20), (0.0, 0)])
def test_signs_of_life_are_few_however_many_turns_there_are(
    manager: Manager, clock: Clock, watchdog_s: float, feeds: int
) -> None:
    notifier = Notifier(manager.address, watchdog_s, clock_s=clock)
    assert notifier.is_watched is (watchdog_s > 0)
    told = []
    for _ in range(1000):
        notifier.turn_finished(status)
        told += manager.lines()
        clock.now_s += 0.01
    assert told.count("WATCHDOG=1") == feeds
    if feeds:
        assert 10.0 / feeds <= watchdog_s / FEEDS


def test_the_status_is_asked_once_a_second_and_told_where_it_changed(manager: Manager, clock: Clock) -> None:
    notifier, asked = Notifier(manager.address, clock_s=clock), []
    for turn in range(400):
        notifier.turn_finished(lambda turn=turn: asked.append(turn) or f"online; {turn // 200}")
        clock.now_s += 0.01
    assert len(asked) == 4
    assert manager.lines() == ["READY=1", "STATUS=online; 0", "STATUS=online; 1"]


def test_a_reload_and_the_end_are_told_at_once(manager: Manager, clock: Clock) -> None:
    notifier = Notifier(manager.address, clock_s=clock)
    notifier.turn_finished(status)
    manager.messages()
    before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reload("start")
    reloading, since = manager.lines()
    assert reloading == "RELOADING=1"
    assert (
        before_us <= int(since.removeprefix("MONOTONIC_USEC=")) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    )
    notifier.reload("end")
    assert manager.lines() == ["READY=1"]
    notifier.stopping()
    assert manager.lines() == ["STOPPING=1", "STATUS=stopping"]


def test_what_a_camera_says_of_itself_cannot_become_a_message(manager: Manager, clock: Clock) -> None:
    notifier = Notifier(manager.address, clock_s=clock)
    notifier.turn_finished(lambda: "online; front offline: bad\nWATCHDOG=1\r\n\x00STOPPING=1 \ud800 " + "x" * 1000)
    ready, told = manager.lines()
    assert (ready, told[:62]) == ("READY=1", "STATUS=online; front offline: bad WATCHDOG=1 STOPPING=1 xxxxxx")
    assert len(told) == len("STATUS=") + LONGEST_STATUS


def test_a_manager_that_does_not_read_is_never_waited_for_and_told_the_newest_later(
    manager: Manager, clock: Clock
) -> None:
    flood = Notifier(manager.address, clock_s=clock)
    while flood._say("STATUS=flood"):
        pass
    notifier = Notifier(manager.address, 30, clock_s=clock)
    began_s = time.monotonic()
    notifier.turn_finished(status)
    notifier.reload("start")
    notifier.reload("end")
    for _ in range(100):
        notifier.turn_finished(status)
    assert time.monotonic() - began_s < 1
    assert set(manager.lines()) == {"STATUS=flood"}
    notifier.turn_finished(status)
    assert manager.messages() == ["READY=1\nWATCHDOG=1\nSTATUS=online; no broker"]


@pytest.mark.parametrize("name", ["missing", "file", "x" * 200])
def test_a_socket_of_no_use_is_logged_once_and_hinders_nobody(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    (tmp_path / "file").write_text("")
    notifier = Notifier(str(tmp_path / name), 30, clock_s=clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(10):
            notifier.turn_finished(status)
            clock.now_s += 2
        notifier.reload("start")
        notifier.stopping()
    (record,) = caplog.records
    assert str(tmp_path / name) in record.getMessage()


def test_a_manager_that_comes_back_is_told_again(tmp_path: Path, clock: Clock) -> None:
    first = Manager(str(tmp_path / "notify"))
    notifier = Notifier(first.address, 30, clock_s=clock)
    notifier.turn_finished(status)
    assert first.lines()[0] == "READY=1"
    first.close()
    Path(first.address).unlink()
    second = Manager(first.address)
    clock.now_s += 1
    notifier.turn_finished(status)
    assert second.lines() == ["WATCHDOG=1"]
    second.close()


def test_an_address_of_another_kind_is_told_and_not_used(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    notifier = Notifier("vsock:2:1234", 30, clock_s=clock)
    notifier.turn_finished(status)
    assert "NOTIFY_SOCKET=vsock:2:1234" in caplog.text


def test_without_a_socket_there_is_silence(caplog: pytest.LogCaptureFixture) -> None:
    notifier = take_notifier({})
    notifier.starting("loads")
    notifier.turn_finished(lambda: pytest.fail("nobody wants to know"))
    notifier.reload("start")
    notifier.stopping()
    assert (caplog.text, notifier.is_watched) == ("", False)


@pytest.mark.parametrize(
    ("variables", "watched"),
    [
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, True),
        ({"WATCHDOG_USEC": "30000000"}, True),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, False),  # that of the process which started this one
        ({"WATCHDOG_USEC": "0", "WATCHDOG_PID": "7"}, False),
        ({"WATCHDOG_USEC": "soon", "WATCHDOG_PID": "7"}, False),
        ({}, False),
    ],
)
def test_what_systemd_gives_is_taken_out_of_the_environment(variables: dict[str, str], watched: bool) -> None:  # noqa: FBT001
    environ = {"NOTIFY_SOCKET": "/run/notify", "HOME": "/", **variables}
    assert take_notifier(environ, pid=7).is_watched is watched
    assert environ == {"HOME": "/"}


def test_no_child_of_the_process_gets_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in (("NOTIFY_SOCKET", str(tmp_path / "n")), ("WATCHDOG_USEC", "1"), ("WATCHDOG_PID", "1")):
        monkeypatch.setenv(name, value)
    take_notifier()
    told = subprocess.run([sys.executable, "-c", "import os; print(os.environ)"], capture_output=True, check=True)
    assert b"NOTIFY" not in told.stdout
    assert b"WATCHDOG" not in told.stdout


class Wedge:
    """A publisher that does not return while it is held: then no turn of the main loop ends."""

    def __init__(self) -> None:
        self.free, self.held = threading.Event(), threading.Event()
        self.free.set()

    def publish(self, _message: Message) -> None:
        if not self.free.is_set():
            self.held.set()
            assert self.free.wait(60)


def test_a_main_loop_that_hangs_gives_no_sign_of_life_though_all_other_threads_work(tmp_path: Path) -> None:
    config = load_config(
        None, {"node": "lab", "telemetry_s": 1, "camera": {"front": {"uri": "sample:?loop=1&realtime=1"}}}
    )
    manager, wedge, stop = Manager(str(tmp_path / "notify")), Wedge(), threading.Event()
    counts: list[int] = []

    def watch() -> None:
        try:
            heard = manager.wait_for("WATCHDOG=1")
            assert heard[0].startswith("READY=1")
            wedge.free.clear()
            assert wedge.held.wait(60)
            captured = daemon.inbox.counts()["front"].captured
            manager.messages()  # of turns before
            time.sleep(2.5)  # five times as long as a sign of life may be late
            counts.append(manager.lines().count("WATCHDOG=1"))
            assert daemon.inbox.counts()["front"].captured > captured + 10
            wedge.free.set()
            manager.wait_for("WATCHDOG=1")
            counts.append(1)
        finally:
            wedge.free.set()
            stop.set()

    with running(config, [wedge], notifier=Notifier(manager.address, 2.0)) as daemon:
        watcher = threading.Thread(target=watch)
        watcher.start()
        daemon.run(stop, 120)
        watcher.join()
    assert counts == [0, 1]
    assert manager.lines()[-2:] == ["STOPPING=1", "STATUS=stopping"]
    manager.close()


def test_a_daemon_without_any_camera_was_ready_only_if_it_waits_for_them(tmp_path: Path) -> None:
    config = load_config(None, {"node": "lab", "camera": {"front": {"uri": "/dev/none-of-these"}}})
    with running(config) as daemon, pytest.raises(CameraError, match="no camera can be opened"):
        daemon.run(threading.Event(), 60)
    manager = Manager(str(tmp_path / "notify"))
    with running(config, notifier=Notifier(manager.address), wait_for_cameras=True) as daemon:
        daemon.run(threading.Event(), 3)
    told = [line for line in manager.lines() if line.startswith("STATUS=")]
    assert told[-2].startswith("STATUS=online; no broker; 0 of 1 cameras online (front offline: ")
    assert "none-of-these" in told[-2]
    manager.close()

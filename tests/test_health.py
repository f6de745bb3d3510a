from __future__ import annotations

import itertools
import json
import os

import psutil

from edge_fer.health.monitor import Counters, HealthMonitor
from edge_fer.messages import message

S = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.unix_ns = 0

    def __call__(self) -> int:
        return self.unix_ns


def test_a_healthy_node_says_so_with_its_counters() -> None:
    monitor = HealthMonitor(boot_id="b", started_ns=5 * S, unix_ns=lambda: 0)
    counters = Counters(
        outbox_events=3, events_lost=1, camera_restarts={"front": 2}, frames_dropped={"front": 40}, self_test_at="then"
    )
    health = monitor.sample(counters, 65 * S)
    assert health.ok
    assert health.problems == []
    assert health.uptime_s == 60
    # Measured twice, at different moments of the same process.
    assert 0.5 < health.rss_bytes / psutil.Process().memory_info().rss < 2
    assert health.load_1m >= 0
    told = json.loads(message(health, "lab").to_json())
    assert told["camera_restarts"] == {"front": 2}
    assert (told["outbox_events"], told["events_lost"], told["frames_dropped"]) == (3, 1, {"front": 40})
    assert (told["self_test_at"], told["boot_id"]) == ("then", "b")
    assert (message(health, "lab").topic, message(health, "lab").retain) == ("edge-fer/lab/health", True)


def test_a_problem_keeps_the_time_when_it_began_although_its_text_changes() -> None:
    clock = Clock()
    monitor = HealthMonitor(boot_id="b", started_ns=0, unix_ns=clock)
    monitor.set("outbox", "3 events wait")
    clock.unix_ns = 60 * S
    monitor.set("outbox", "9 events wait")
    monitor.keep("self-test", "no face")
    health = monitor.sample(Counters(), 0)
    assert not health.ok
    assert [(problem.code, problem.text, problem.since) for problem in health.problems] == [
        ("outbox", "9 events wait", "1970-01-01T00:00:00.000Z"),
        ("self-test", "no face", "1970-01-01T00:01:00.000Z"),
    ]
    monitor.keep("self-test", "")
    monitor.clear("outbox")
    monitor.clear("never-was")
    assert monitor.sample(Counters(), 0).ok


def test_it_is_due_each_minute_and_at_once_when_a_problem_comes_or_goes() -> None:
    monitor = HealthMonitor(boot_id="b", started_ns=0)
    due = []
    for second in range(200):
        if second == 70:
            monitor.set("state-folder", "read-only")
        if second == 90:
            monitor.clear("state-folder")
        if monitor.due(second * S):
            due.append(second)
            monitor.sample(Counters(), second * S)
    assert due == [0, 60, 70, 90, 150]


def test_a_problem_that_flickers_is_told_once_a_second_at_most() -> None:
    monitor = HealthMonitor(boot_id="b", started_ns=0)
    due = []
    for step in range(50):  # of 0.1 s; it comes and goes at each
        monitor.keep("outbox", "full" if step % 2 else "")
        if monitor.due(step * S // 10):
            due.append(step)
            monitor.sample(Counters(), step * S // 10)
    assert due[0] == 0
    assert len(due) <= 6
    assert all(later - earlier >= 10 for earlier, later in itertools.pairwise(due))


def test_a_problem_that_reads_otherwise_is_told_before_the_minute_is_over_but_a_count_does_not_flood() -> None:
    monitor = HealthMonitor(boot_id="b", started_ns=0)
    monitor.set("config-error", "not valid TOML")
    monitor.sample(Counters(), 0)
    monitor.set("config-error", "no such file")
    assert not monitor.due(5 * S)
    assert monitor.due(10 * S)
    assert [problem.text for problem in monitor.sample(Counters(), 10 * S).problems] == ["no such file"]
    assert not monitor.due(20 * S)


def test_what_came_and_went_between_two_samples_is_not_told() -> None:
    monitor = HealthMonitor(boot_id="b", started_ns=0)
    monitor.sample(Counters(), 0)
    monitor.set("outbox", "full")
    monitor.clear("outbox")
    assert not monitor.due(5 * S)


def test_a_problem_names_no_password_and_is_short() -> None:
    monitor = HealthMonitor(boot_id="b", started_ns=0)
    monitor.set("camera-front", "cannot open rtsp://carer:s3cret@camera/stream " + "x" * 1000)
    (problem,) = monitor.problems
    assert "s3cret" not in problem.text
    assert len(problem.text) == 300


def test_a_year_of_samples_keeps_nothing() -> None:
    monitor = HealthMonitor(boot_id="b", started_ns=0)
    process = psutil.Process()
    monitor.set("outbox", "full")
    for minute in range(1000):
        monitor.sample(Counters(), minute * 60 * S)
    before, files = process.memory_info().rss, len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for minute in range(10_000):
        monitor.keep("outbox", f"{minute} events wait")
        monitor.sample(Counters(), minute * 60 * S)
    # 10,000 kept samples would be 10 MB.
    assert process.memory_info().rss - before < 2_000_000
    assert len(os.listdir("/proc/self/fd")) == files  # noqa: PTH208

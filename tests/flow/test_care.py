"""What a carer relies on, with the daemon as a process and a real broker: restart, pause, alerts, health, replay."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from daemonsite import BASE, LOOP, START_S, Site, open_files, retained, terminate
from realbrokers import Received, wait_until
from streamservers import MjpegServer

from edge_fer.capture.open import SAMPLE_CLIP
from edge_fer.outbox.database import DATABASE_FILE

PASSWORD = "not-for-anyone"  # noqa: S105 - of a server on loopback


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path, stack)


def open_tracks(site: Site) -> list[tuple[str, int]]:
    """Boot id and track of those that a restart would end."""
    path = site.state / DATABASE_FILE
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)) as database:
        rows = [json.loads(event) for (event,) in database.execute("SELECT event FROM open_track")]
    return [(row["boot_id"], row["track"]) for row in rows]


def test_a_face_that_a_crash_left_open_gets_its_end_after_the_restart(site: Site) -> None:
    first = site.start()
    start = site.wait_for_start()
    wait_until(lambda: (start["boot_id"], start["track"]) in open_tracks(site))
    first.kill()
    first.wait()
    wait_until(lambda: site.heard.payloads(f"{BASE}/status")[-1:] == [b"offline"])
    second = site.start()
    site.wait_for_start(boots=2)
    assert terminate(second) == 0
    # What was acknowledged at the moment of the kill is told twice, with the same id.
    old = list({body["id"]: body for body in site.events() if body["boot_id"] == start["boot_id"]}.values())
    new = [body for body in site.events() if body["boot_id"] != start["boot_id"]]
    assert [body["type"] for body in old].count("end") == 0
    end = new[0]
    assert (end["type"], end["reason"], end["track"], end["track_boot_id"]) == (
        *("end", "restart"),
        *(start["track"], start["boot_id"]),
    )
    assert end["occurred_at"] >= start["occurred_at"]
    wait_until(lambda: site.events()[-1]["reason"] == "stopped")
    for events in (old, [body for body in site.events() if body["boot_id"] == end["boot_id"]]):
        assert [body["seq"] for body in events] == list(range(1, len(events) + 1))
    third = site.start()
    site.wait_for_start(boots=3)
    terminate(third)
    assert [body["reason"] for body in site.events()].count("restart") == 1


def test_a_pause_closes_cameras_is_proven_and_outlives_a_kill(site: Site) -> None:
    site.configure({"front": LOOP, "hall": LOOP})
    daemon = site.start()
    site.wait_for_start("front")
    site.wait_for_start("hall")
    assert open_files(daemon).count(str(SAMPLE_CLIP)) == 2
    asked = site.command("pause", "--config", str(site.config), "--camera", "front")
    assert (asked.returncode, asked.stderr) == (0, "")
    assert open_files(daemon).count(str(SAMPLE_CLIP)) == 1
    wait_until(lambda: site.events("front")[-1]["reason"] == "paused")
    wait_until(lambda: site.bodies("privacy") and site.bodies("privacy")[-1]["paused"])
    assert (site.bodies("privacy")[-1]["paused"], site.bodies("privacy")[-1]["cameras"]) == (True, ["front"])
    wait_until(lambda: retained(site, "camera/front/status")["state"] == "disabled")
    wait_until(lambda: retained(site, "camera/front/state")["expression"] == "unknown")
    assert retained(site, "camera/hall/status")["state"] == "online"
    assert site.command("pause", "--config", str(site.config)).returncode == 0
    assert str(SAMPLE_CLIP) not in open_files(daemon)
    wait_until(lambda: open_tracks(site) == [])  # or their ends are told once more
    wait_until(lambda: {site.events(camera)[-1]["type"] for camera in ("front", "hall")} == {"end"})
    told = len(site.events("front")) + len(site.events("hall"))
    daemon.kill()
    daemon.wait()

    again = site.start()
    wait_until(lambda: site.bodies("info")[-1]["boot_id"] != site.events("front")[0]["boot_id"], START_S)
    wait_until(lambda: retained(site, "camera/hall/status")["state"] == "disabled")
    assert str(SAMPLE_CLIP) not in open_files(again)
    wait_until(lambda: retained(site, "privacy")["cameras"] == ["front", "hall"])
    assert len(site.events("front")) + len(site.events("hall")) == told
    assert site.command("resume", "--config", str(site.config)).returncode == 0
    site.wait_for_start("front", boots=2)
    site.wait_for_start("hall", boots=2)
    assert retained(site, "privacy")["paused"] is False
    assert terminate(again) == 0


RULES = """
[rule.somebody]
kind = "faces"
max_faces = 0
for_s = 0.5
text = "look in"

[rule.happy]
kind = "expression"
expressions = ["happiness"]
window_s = 2
share = 0.5
clear_after_s = 0
cooldown_s = 0

[rule.cellar]
kind = "camera"
for_s = 0.5
cameras = ["cellar"]
"""


def told_by_broker(site: Site) -> list[dict[str, Any]]:
    """Events and alerts without what the way to the broker adds, each in the order of its topic."""
    events = site.bodies("camera/front/events")
    boot_id = events[-1]["boot_id"]  # before it, what the run before could not deliver
    events = [body for body in events if body["boot_id"] == boot_id and body["reason"] != "restart"]
    alerts = [body for rule in ("somebody", "happy", "cellar") for body in site.bodies(f"alert/{rule}")]
    return [without_way(body) for body in (*events, *(body for body in alerts if body["why"] != "nothing found yet"))]


def without_way(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in ("published_at", "replayed", "clock_synced")}


def test_alerts_are_retained_cleared_at_the_end_and_a_replay_gives_all_that_the_broker_saw(site: Site) -> None:
    # The state folder holds a face of a run before: the first event has number 2.
    site.configure({"front": LOOP, "cellar": "rtsp://127.0.0.1:9/none"}, RULES)
    crashed = site.start()
    start = site.wait_for_start()
    wait_until(lambda: (start["boot_id"], start["track"]) in open_tracks(site))
    crashed.kill()
    crashed.wait()
    before = len(site.heard.messages)
    scores = site.config.with_name("scores.jsonl")
    daemon = site.start("--record-scores", str(scores))
    site.wait_for_start(boots=2)
    del site.heard.messages[:before]
    for rule in ("somebody", "happy", "cellar"):
        wait_until(lambda rule=rule: any(body["state"] == "active" for body in site.bodies(f"alert/{rule}")), START_S)
    shown = retained(site, "alert/somebody")
    assert (shown["state"], shown["text"], shown["unit"], shown["threshold"]) == ("active", "look in", "faces", 0)
    assert shown["samples"]
    assert terminate(daemon) == 0
    wait_until(lambda: site.heard.payloads(f"{BASE}/status")[-1] == b"offline")  # all was heard
    for rule in ("somebody", "cellar"):
        assert (retained(site, f"alert/{rule}")["state"], retained(site, f"alert/{rule}")["why"]) == (
            *("cleared", "the daemon stopped"),
        )

    replayed = site.command("replay", str(scores), "--rules", str(site.config), "--events", "--json")
    assert replayed.stderr == ""
    lines = [json.loads(line) for line in replayed.stdout.splitlines()]
    events = [without_way(line["event"]) for line in lines if "event" in line]
    alerts = [
        without_way(line["alert"])
        for rule in ("somebody", "happy", "cellar")
        for line in lines
        if "alert" in line and line["alert"]["rule"] == rule
    ]
    assert [*events, *alerts] == told_by_broker(site)
    assert events[0]["seq"] == 2


def test_no_password_of_a_camera_is_seen_anywhere(site: Site) -> None:
    with MjpegServer(size="320x240", fps=8, user="carer", password=PASSWORD) as server:
        site.configure()
        scores = site.config.with_name("scores.jsonl")
        wrong = server.url.replace(PASSWORD, PASSWORD + "-not")
        cameras = {
            "good": server.url,
            "wrong": wrong,
            "away": f"rtsp://carer:{PASSWORD}@127.0.0.1:9/x?token={PASSWORD}",
        }
        options = [word for name, url in cameras.items() for word in ("--camera", f"{name}={url}")]
        daemon = site.start(*options, "--record-scores", str(scores), "--verbose")
        titles = set[str]()

        def seen() -> bool:
            for process in (daemon, *daemon.children(recursive=True)):
                with suppress(psutil.Error):
                    titles.add(" ".join(process.cmdline()))
            told = {name: [body["state"] for body in site.bodies(f"camera/{name}/status")] for name in cameras}
            return "online" in told["good"] and "offline" in told["wrong"] and "offline" in told["away"]

        wait_until(lambda: "carer:***@" in " ".join(daemon.cmdline()), START_S)  # it has none at all while it begins
        wait_until(seen, START_S)
        server.kill()
        wait_until(lambda: site.bodies("camera/good/status")[-1]["state"] == "offline", START_S)
        assert terminate(daemon) == 0
    heard = "\n".join(f"{message.topic} {message.payload!r}" for message in site.heard.messages)
    state = "\n".join(file.read_text(errors="replace") for file in site.state.iterdir())
    for place in (heard, site.log, scores.read_text(), state, *titles):
        assert PASSWORD not in place
    assert "carer:***@" in site.log
    assert any("ffmpeg" in title for title in titles) == (shutil.which("ffmpeg") is not None)


def test_a_second_daemon_of_the_node_is_turned_away_and_harms_nothing(site: Site) -> None:
    daemon = site.start()
    site.wait_for_start()
    second = site.start()
    assert second.wait(START_S) == 69
    assert f"runs already (process {daemon.pid})" in site.log
    told = len(site.bodies("telemetry/throughput"))
    wait_until(lambda: len(site.bodies("telemetry/throughput")) > told)
    assert site.heard.payloads(f"{BASE}/status") == [b"online"]
    assert terminate(daemon) == 0


def test_a_pause_while_the_broker_is_away_is_told_when_it_is_back(site: Site) -> None:
    daemon = site.start()
    site.wait_for_start()
    site.broker.kill()
    assert site.command("pause", "--config", str(site.config), "--for", "7d").returncode == 0
    daemon.suspend()  # it must not be back before the subscriber is
    subscriptions = site.heard.subscriptions
    site.broker.start()
    wait_until(lambda: site.heard.subscriptions > subscriptions, START_S)
    daemon.resume()
    wait_until(lambda: site.events()[-1]["type"] == "end", START_S)
    end = site.events()[-1]
    assert (end["reason"], end["replayed"]) == ("paused", True)
    wait_until(lambda: site.bodies("privacy")[-1]["paused"])
    assert site.bodies("privacy")[-1]["until"] > site.bodies("privacy")[-1]["since"]
    assert retained(site, "camera/front/state")["expression"] == "unknown"
    assert terminate(daemon) == 0


def test_health_and_self_test_are_told_and_sigterm_ends_in_time_beside_a_camera_that_hangs(site: Site) -> None:
    site.configure({"front": LOOP, "hung": "exec:sleep 1000"}, "connect_timeout_s = 600\n[self_test]\nperiod_s = 10")
    daemon = site.start()
    site.wait_for_start()
    wait_until(lambda: site.bodies("self-test"))
    assert site.bodies("self-test")[0]["passed"]
    health = retained(site, "health")
    assert (health["ok"], health["problems"]) == (True, [])
    children = daemon.children(recursive=True)
    assert children
    daemon.terminate()
    assert daemon.wait(60) == 0  # 2 s are promised; the machine may be busy
    wait_until(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children))
    wait_until(lambda: site.heard.payloads(f"{BASE}/status")[-1] == b"offline")
    assert [body["state"] for body in site.bodies("camera/hung/status")] == ["connecting", "offline"]
    assert site.events()[-1]["reason"] == "stopped"


def waiting(state: Path) -> list[dict[str, Any]]:
    """Bodies of all events in the file of a state folder that the broker has not acknowledged, in order."""
    path = state / DATABASE_FILE
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)) as database:
        if not database.execute("SELECT name FROM sqlite_master WHERE name = 'event'").fetchall():
            return []  # made just now
        return [json.loads(body) for (body,) in database.execute("SELECT body FROM event ORDER BY number")]


def test_what_is_decided_and_ended_while_the_broker_is_away_arrives_after_a_restart(site: Site) -> None:
    site.configure(more='[rule.somebody]\nkind = "faces"\nmax_faces = 0\nfor_s = 1\n')
    site.broker.kill()
    first = site.start()
    wait_until(lambda: any(body.get("state") == "active" for body in waiting(site.state)), START_S)
    assert terminate(first) == 0
    left = waiting(site.state)
    assert [body["state"] for body in left if "state" in body][-1] == "cleared"
    assert [body["reason"] for body in left if "track" in body and "reason" in body][-1] == "stopped"
    site.broker.start()
    second = site.start()
    site.wait_for_start(boots=2)
    assert terminate(second) == 0
    for below in ("camera/front/events", "alert/somebody/events"):
        told = [body for body in site.bodies(below) if body["boot_id"] == left[0]["boot_id"]]
        assert [body["seq"] for body in told] == list(range(1, len(told) + 1))
        assert all(body["replayed"] for body in told)
    assert {body["id"] for body in left} <= {body.get("id") for body in map(body_of, site.heard.messages)}
    assert waiting(site.state) == []


def body_of(message: Received) -> dict[str, Any]:
    """Empty for what is no JSON object."""
    return message.body if message.payload[:1] == b"{" else {}


def test_a_second_instance_from_elsewhere_ends_and_what_it_saw_waits_for_a_name_of_its_own(site: Site) -> None:
    first = site.start()
    start = site.wait_for_start()
    elsewhere = site.state.with_name("elsewhere")
    text = site.config.read_text()
    site.config.write_text(text.replace(str(site.state), str(elsewhere)))
    second = site.start()
    assert second.wait(START_S) == 69
    assert start["boot_id"] in site.log
    assert "Traceback" not in site.log
    assert waiting(elsewhere) != []  # at least the self-test
    assert {body["boot_id"] for body in site.events()} == {start["boot_id"]}
    assert site.heard.payloads(f"{BASE}/status") == [b"online"]
    assert terminate(first) == 0

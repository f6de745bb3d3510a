"""What a carer relies on, with the daemon as a process and a real broker: restart, pause, alerts, health, replay."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from daemonsite import BASE, LOOP, START_S, Site, open_files, retained, terminate
from realbrokers import wait_until
from streamservers import MjpegServer

from edge_fer.capture.open import SAMPLE_CLIP

PASSWORD = "not-for-anyone"  # noqa: S105 - of a server on loopback


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path, stack)


def journal(site: Site) -> str:
    """What it holds; it is written a moment after its events."""
    path = site.state / "open-tracks.json"
    return path.read_text() if path.exists() else ""


def test_a_face_that_a_crash_left_open_gets_its_end_after_the_restart(site: Site) -> None:
    first = site.start()
    start = site.wait_for_start()
    wait_until(lambda: start["id"] in journal(site))
    first.kill()
    first.wait()
    wait_until(lambda: site.heard.payloads(f"{BASE}/status")[-1:] == [b"offline"])
    second = site.start()
    site.wait_for_start(boots=2)
    assert terminate(second) == 0
    old = [body for body in site.events() if body["boot_id"] == start["boot_id"]]
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
    wait_until(lambda: site.bodies("privacy"))
    assert (site.bodies("privacy")[-1]["paused"], site.bodies("privacy")[-1]["cameras"]) == (True, ["front"])
    assert retained(site, "camera/front/status")["state"] == "disabled"
    assert retained(site, "camera/front/state")["expression"] == "unknown"
    assert retained(site, "camera/hall/status")["state"] == "online"
    assert site.command("pause", "--config", str(site.config)).returncode == 0
    assert str(SAMPLE_CLIP) not in open_files(daemon)
    wait_until(lambda: journal(site) == "[]")  # or their ends are told once more
    told = len(site.events("front")) + len(site.events("hall"))
    daemon.kill()
    daemon.wait()

    again = site.start()
    wait_until(lambda: site.bodies("info")[-1]["boot_id"] != site.events("front")[0]["boot_id"], START_S)
    wait_until(lambda: retained(site, "camera/hall/status")["state"] == "disabled")
    assert str(SAMPLE_CLIP) not in open_files(again)
    assert retained(site, "privacy")["cameras"] == ["front", "hall"]
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
    events = [body for body in site.bodies("camera/front/events") if body["reason"] != "restart"]
    alerts = [body for rule in ("somebody", "happy", "cellar") for body in site.bodies(f"alert/{rule}")]
    return [without_way(body) for body in (*events, *(body for body in alerts if body["why"] != "nothing found yet"))]


def without_way(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in ("published_at", "replayed")}


def test_alerts_are_retained_cleared_at_the_end_and_a_replay_gives_all_that_the_broker_saw(site: Site) -> None:
    # The state folder holds a face of a run before: the first event has number 2.
    site.configure({"front": LOOP, "cellar": "rtsp://127.0.0.1:9/none"}, RULES)
    crashed = site.start()
    start = site.wait_for_start()
    wait_until(lambda: start["id"] in journal(site))
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
    for rule in ("somebody", "cellar"):
        assert (retained(site, f"alert/{rule}")["state"], retained(site, f"alert/{rule}")["why"]) == (
            *("cleared", "the daemon stopped"),
        )

    replayed = site.command("replay", str(scores), "--rules", str(site.config), "--events", "--json")
    assert replayed.stderr == ""
    lines = [json.loads(line) for line in replayed.stdout.splitlines()]
    events = [without_way(line["event"]) for line in lines if "event" in line]
    alerts = [
        line["alert"]
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

        wait_until(lambda: PASSWORD not in " ".join(daemon.cmdline()), START_S)
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
    site.configure({"front": LOOP, "hung": "exec:sleep 1000"}, "[self_test]\nperiod_s = 10")
    daemon = site.start()
    site.wait_for_start()
    wait_until(lambda: site.bodies("self-test"))
    assert site.bodies("self-test")[0]["passed"]
    health = retained(site, "health")
    assert (health["ok"], health["problems"]) == (True, [])
    children = daemon.children(recursive=True)
    assert children
    daemon.terminate()
    assert daemon.wait(2 + 10) == 0  # 2 s are promised; the machine may be busy
    wait_until(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children))
    wait_until(lambda: site.heard.payloads(f"{BASE}/status")[-1] == b"offline")
    assert [body["state"] for body in site.bodies("camera/hung/status")] == ["connecting", "offline"]
    assert site.events()[-1]["reason"] == "stopped"

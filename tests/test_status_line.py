from __future__ import annotations

from dataclasses import dataclass

import pytest

from edge_fer.events import CameraCondition, Problem
from edge_fer.memory.pause import PAUSED
from edge_fer.status_line import LONGEST_REASON, FrameRate, status_line


@dataclass
class Told:
    state: CameraCondition = "online"
    reason: str = "pictures arrive"


ONLINE, PAUSE, OFF = Told(), Told("disabled", PAUSED), Told("disabled", "switched off in the configuration")
LOST = Told("offline", "no such device; is the camera plugged in?")


def problem(code: str, text: str) -> Problem:
    return Problem(code=code, text=text, since="2026-01-01T00:00:00.000Z")


@pytest.mark.parametrize(
    ("broker", "told"),
    [
        ("", "online; broker connected; 1 of 1 cameras online; 15.0 frames/s"),
        (None, "online; no broker; 1 of 1 cameras online; 15.0 frames/s"),
        (
            "not reachable (Connection refused)",
            "online; broker not connected: not reachable (Connection refused); 1 of 1 cameras online; 15.0 frames/s",
        ),
    ],
)
def test_what_a_deployment_waits_for(broker: str | None, told: str) -> None:
    assert status_line(broker=broker, cameras={"front": ONLINE}, frames_per_s=15.0) == told


@pytest.mark.parametrize(
    ("cameras", "told"),
    [
        ([ONLINE, ONLINE], "online; no broker; 2 of 2 cameras online"),
        ([ONLINE, LOST], f"online; no broker; 1 of 2 cameras online (camera2 offline: {LOST.reason})"),
        ([OFF, LOST], f"online; no broker; 0 of 2 cameras online (camera2 offline: {LOST.reason})"),
        ([ONLINE, PAUSE], "online; no broker; 1 of 2 cameras online (camera2 disabled: privacy pause)"),
        ([PAUSE, PAUSE], "paused; no broker; 0 of 2 cameras online (camera1 disabled: privacy pause)"),
        ([OFF, PAUSE], f"paused; no broker; 0 of 2 cameras online (camera1 disabled: {OFF.reason})"),
        ([OFF, OFF], f"online; no broker; 0 of 2 cameras online (camera1 disabled: {OFF.reason})"),
    ],
)
def test_cameras_are_counted_and_one_that_is_missing_is_named(cameras: list[Told], told: str) -> None:
    assert status_line(broker=None, cameras={f"camera{n}": one for n, one in enumerate(cameras, 1)}) == told


def test_a_pause_that_is_not_proven_is_none_yet() -> None:
    hanging = Told("stalled", f"to be closed ({PAUSED}), but its driver does not return: it may still be open")
    assert status_line(broker=None, cameras={"front": hanging}).startswith("online; ")


def test_the_first_problem_is_told_and_the_others_are_counted() -> None:
    problems = [problem("self-test", "no face was found"), problem("store", "disk full"), problem("outbox", "slow")]
    line = status_line(broker="", cameras={"front": ONLINE}, problems=problems)
    assert line == ("online; broker connected; 1 of 1 cameras online; self-test: no face was found (and 2 more)")


def test_a_problem_that_only_repeats_why_there_is_no_connection_is_left_out() -> None:
    problems = [problem("broker-login", "broker b refuses the password"), problem("throttled", "too hot")]
    line = status_line(broker="refuses the password", cameras={"front": ONLINE}, problems=problems)
    assert line == ("online; broker not connected: refuses the password; 1 of 1 cameras online; throttled: too hot")
    assert "broker-login" in status_line(broker="", cameras={"front": ONLINE}, problems=problems)


def test_no_password_gets_into_it_not_even_one_that_is_cut() -> None:
    url = "rtsp://carer:correct-horse@camera.local/stream?token=battery"
    long = f"{'x' * (LONGEST_REASON - 14)} rtsp://carer:correct-horse@camera.local/"
    line = status_line(
        broker=f"lost {url}",
        cameras={"front": Told("offline", long)},
        problems=[problem("config-error", f"camera.front.uri: {url}")],
    )
    assert "correct" not in line
    assert "battery" not in line


def test_long_reasons_are_cut() -> None:
    line = status_line(broker="b" * 500, cameras={"front": Told("offline", "c" * 500)})
    assert len(line) < 2 * LONGEST_REASON + 100
    assert "bbb...; 0 of 1" in line


def test_the_frame_rate_is_of_ten_seconds_and_falls_with_a_camera_that_is_taken_away() -> None:
    now_s = [0.0]
    rate = FrameRate(lambda: now_s[0])
    told = []
    for tenth in range(400):
        now_s[0] = tenth / 10
        told.append(rate.take(tenth * 3 // 2 if tenth < 210 else 0))
    assert told[:10] == [None] * 10
    assert told[10:110] == [15.0] * 100
    assert (told[209], told[210], told[310]) == (15.0, 0.0, 0.0)

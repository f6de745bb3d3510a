"""The checks of a soak run find what they are there for; and a short run passes them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from soak_checks import Check, all_checks, online_after
from soak_record import BASE, FaultRecord, Heard, Recording, Sample

SECRET = "hunter2"  # noqa: S105 - of no server
RUN_S, FAULT_S = 100, 50.0


def status(t_s: float, camera: str, state: str, reason: str = "told") -> Heard:
    return Heard(t_s, f"{BASE}/camera/{camera}/status", {"state": state, "reason": reason, "since": str(t_s)})


def event(t_s: float, seq: int) -> Heard:
    return Heard(t_s, f"{BASE}/camera/steady/events", {"id": f"b-{seq}", "seq": seq, "boot_id": "b"})


def telemetry(t_s: float, frames: int) -> Heard:
    cameras = {"steady": {"fps": 10.0, "captured": frames + 5, "dropped": 5}}
    return Heard(t_s, f"{BASE}/telemetry/throughput", {"cameras": cameras})


def sample(t_s: float, **changes: Any) -> Sample:
    return replace(Sample(t_s, quiet=True, rss_mb=100, threads=9, fds=30, children=3, zombies=frozenset()), **changes)


def good() -> Recording:
    """100 s with one fault, in which all is as it must be."""
    fault = FaultRecord(
        name="door killed",
        camera="door",
        expected=frozenset({"offline"}),
        began_s=FAULT_S,
        undone_s=FAULT_S + 5,
        over_s=FAULT_S + 8,
        within_s=10,
        back_within_s=10,
    )
    heard = [
        *(status(1, camera, "online") for camera in ("steady", "door")),
        *(telemetry(second, second * 10) for second in range(1, RUN_S)),
        *(event(10 * seq, seq) for seq in range(1, 10)),
        status(FAULT_S + 3, "door", "offline"),
        status(FAULT_S + 7, "door", "online"),
        *(status(RUN_S + 1, camera, "offline") for camera in ("steady", "door")),
        Heard(RUN_S + 1, f"{BASE}/status", "offline"),
    ]
    return Recording(
        heard=sorted(heard, key=lambda one: one.t_s),
        samples=[sample(second) for second in range(RUN_S)],
        faults=[fault],
        printed=[{"seq": seq} for seq in range(1, 10)],
        log="INFO: camera door offline",
        titles={"python -m edge_fer run"},
        stopped_s=RUN_S,
        exit_code=0,
        ended_after_s=1.0,
    )


def checked(recording: Recording) -> list[Check]:
    return all_checks(recording, healthy="steady", others=["door"], secret=SECRET, rss_limit_mb=5)


def failed(recording: Recording) -> list[str]:
    return [check.name for check in checked(recording) if not check.passed]


def test_a_good_run_passes() -> None:
    assert failed(good()) == []


def remove(*wanted: Callable[[Heard], bool]) -> Callable[[Recording], None]:
    def change(recording: Recording) -> None:
        recording.heard[:] = [heard for heard in recording.heard if not any(is_it(heard) for is_it in wanted)]

    return change


def add(*more: Heard) -> Callable[[Recording], None]:
    def change(recording: Recording) -> None:
        recording.heard[:] = sorted([*recording.heard, *more], key=lambda heard: heard.t_s)

    return change


def resample(change_of: Callable[[Sample], dict[str, Any]]) -> Callable[[Recording], None]:
    def change(recording: Recording) -> None:
        recording.samples[:] = [replace(one, **change_of(one)) for one in recording.samples]

    return change


def set_to(**values: Any) -> Callable[[Recording], None]:
    def change(recording: Recording) -> None:
        for name, value in values.items():
            setattr(recording, name, value)

    return change


def state_of_door(state: str, after_s: float) -> Callable[[Heard], bool]:
    return lambda heard: heard.topic.endswith("door/status") and heard.body["state"] == state and heard.t_s > after_s


def steady_stands_still(recording: Recording) -> None:
    for place, heard in enumerate(recording.heard):
        if heard.topic.endswith("throughput") and heard.t_s > FAULT_S:
            recording.heard[place] = telemetry(heard.t_s, int(FAULT_S) * 10)


def later_telemetry(heard: Heard) -> bool:
    return heard.topic.endswith("throughput") and 20 < heard.t_s < 40


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (remove(state_of_door("offline", 0)), "door killed: door becomes offline"),
        (remove(state_of_door("online", FAULT_S)), "door killed: door comes back"),
        (remove(state_of_door("online", 0)), "door killed: door was online before"),
        (add(status(FAULT_S + 1, "steady", "stalled")), "door killed: other cameras untouched"),
        (steady_stands_still, "door killed: steady keeps delivering"),
        (remove(later_telemetry), "the main loop turns"),
        (remove(lambda heard: heard.body == event(0, 4).body), "seq has no gap"),
        (remove(lambda heard: heard.body == event(0, 9).body), "every printed event reached the subscriber"),
        (set_to(printed=[{"seq": 1}, {"seq": 3}]), "printed events count from 1, each once"),
        (remove(lambda heard: "seq" in heard.body), "there are events"),
        (add(event(99, 1), Heard(99, f"{BASE}/x/events", {"id": "c-1", "seq": 1, "boot_id": "c"})), "one boot"),
        (add(status(20, "door", "asleep"), status(21, "door", "online")), "states are known ones"),
        (add(status(20, "door", "dark", ""), status(21, "door", "online")), "states have a reason"),
        (
            resample(lambda one: {"zombies": frozenset({7}) if 10 < one.t_s < 30 else frozenset()}),
            "children are reaped",
        ),
        (resample(lambda one: {"fds": 30 + int(one.t_s / 10)}), "no growth: open files"),
        (resample(lambda one: {"threads": 9 + int(one.t_s / 10)}), "no growth: threads"),
        (resample(lambda one: {"rss_mb": 100 + one.t_s}), "no growth: MB resident"),
        (resample(lambda _: {"quiet": False}), "no growth"),
        (set_to(log=f"INFO: rtsp://carer:{SECRET}@host"), "no password is shown"),
        (set_to(titles={f"ffmpeg -i rtsp://carer:{SECRET}@host"}), "no password is shown"),
        (add(status(20, "door", "dark", SECRET), status(21, "door", "online")), "no password is shown"),
        (set_to(faults=[]), "faults were made"),
        (set_to(exit_code=-9), "exit code 0"),
        (set_to(ended_after_s=60.0), "ends in time"),
        (set_to(log="Traceback (most recent call last):"), "no traceback"),
        (remove(lambda heard: heard.topic == f"{BASE}/status"), "the node says goodbye"),
        (remove(state_of_door("offline", RUN_S)), "cameras are offline"),
        (set_to(left_behind=[4711]), "no child outlives it"),
    ],
)
def test_each_fault_of_the_daemon_fails_its_check(change: Callable[[Recording], None], name: str) -> None:
    recording = good()
    change(recording)
    assert name in failed(recording)


def test_a_state_that_comes_too_late_fails() -> None:
    recording = good()
    recording.faults[0] = replace(recording.faults[0], within_s=2.0)
    assert failed(recording) == ["door killed: door becomes offline"]


def test_what_a_broker_repeats_after_a_restart_is_no_change() -> None:
    recording = good()
    online = next(heard for heard in recording.heard if heard.topic.endswith("steady/status"))
    stale = replace(online, t_s=FAULT_S + 1, body={**online.body, "state": "stalled"}, retained=True)
    add(stale, replace(online, t_s=FAULT_S + 2))(recording)
    assert failed(recording) == []


def test_telemetry_may_pause_while_the_broker_is_away() -> None:
    recording = good()
    remove(later_telemetry)(recording)
    recording.faults.append(
        replace(recording.faults[0], name="broker", camera="", began_s=20.0, undone_s=38.0, over_s=40.0, broker=True)
    )
    assert failed(recording) == []


def test_a_camera_that_never_left_is_online_at_once() -> None:
    assert online_after(good(), "steady", 30.0) == 30.0
    assert online_after(good(), "door", FAULT_S + 5) == FAULT_S + 7


@pytest.mark.system
def test_a_short_run_of_every_fault(tmp_path: Path) -> None:
    script = Path(__file__).with_name("soak_faults.py")
    command = [sys.executable, str(script), "--minutes", "3", "--work", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=script.parents[2])
    if done.returncode == 69:
        pytest.skip(f"{done.stderr.strip().splitlines()[-1]}: NOT tested")
    told = json.loads(done.stdout)
    assert [check for check in told["checks"] if not check["passed"]] == []
    assert told["skipped"] == []

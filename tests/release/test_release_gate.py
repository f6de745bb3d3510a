"""The gate: moments of a service, and the verdict on them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.release.gate import Gate, Limits, Sample, Verdict, read_sample

LIMITS = Limits(gate_s=60, hold_s=10)
ONLINE = "online; broker connected; 1 of 1 cameras online; 15.0 frames/s"
STARTING = Sample("activating", "start")
UP = Sample("active", "running", pid=7, status=ONLINE)


def verdict(samples: Iterable[tuple[float, Sample]]) -> tuple[float, Verdict] | None:
    """The first, and when it came; each sample stands until the next."""
    gate = Gate(LIMITS)
    story = list(samples)
    now_s, end_s = 0.0, story[-1][0]
    while now_s <= end_s:
        sample = next(sample for since_s, sample in reversed(story) if since_s <= now_s)
        if found := gate.look(sample, now_s):
            return now_s, found
        now_s += 0.5
    return None


def test_online_on_its_broker() -> None:
    found = verdict([(0, STARTING), (6, UP), (100, UP)])
    assert found == (16, Verdict(True, f"it is {ONLINE}"))  # noqa: FBT003


def test_the_broker_comes_late() -> None:
    waiting = UP._replace(status="online; broker not connected: no route to host; 1 of 1 cameras online")
    found = verdict([(0, STARTING), (2, waiting), (40, UP), (100, UP)])
    assert found is not None
    assert found[0] == 40
    assert found[1].warning == ""


def test_a_privacy_pause_is_no_illness() -> None:
    paused = UP._replace(status="paused; broker connected; 0 of 1 cameras online (front disabled: privacy pause)")
    found = verdict([(0, STARTING), (6, paused), (100, paused)])
    assert found is not None
    assert (found[0], found[1].passed, found[1].warning) == (16, True, "")


@pytest.mark.parametrize(
    "status",
    [
        "",
        "online; no broker; 15.0 frames/s",
        "starting",
        "online; broker not connected: no broker connected; 0.0 frames/s",
    ],
)
def test_local_health(status: str) -> None:
    sample = UP._replace(status=status)
    found = verdict([(0, STARTING), (5, sample), (100, sample)])
    assert found is not None
    assert found[0] == 65
    assert found[1].passed
    assert (status or "it tells no status") in found[1].warning


def test_the_service_fails() -> None:
    failed = Sample("failed", "failed", result="exit-code", exit_code="203")
    assert verdict([(0, STARTING), (3, failed), (9, failed)]) == (
        3, Verdict(False, "the service failed (result exit-code, exit code 203)"),  # noqa: FBT003
    )  # fmt: skip


def test_it_refuses_its_configuration() -> None:
    failed = Sample("failed", "failed", result="exit-code", exit_code="78")
    found = verdict([(0, failed), (1, failed)])
    assert found is not None
    assert "refused its configuration" in found[1].why


def test_two_restarts_are_too_many() -> None:
    again = Sample("activating", "auto-restart", restarts=1, result="watchdog")
    story = [(0, UP), (5, again), (6, UP._replace(pid=8, restarts=1)), (12, again._replace(restarts=2)), (99, UP)]
    found = verdict(story)
    assert found == (12, Verdict(False, "systemd restarted it 2 times (result watchdog)"))  # noqa: FBT003


def test_another_process_has_to_live_as_long() -> None:
    second = UP._replace(pid=8, restarts=1)
    found = verdict([(0, UP), (8, second), (99, second)])
    assert found is not None
    assert found[0] == 18


def test_it_is_never_ready() -> None:
    starting = STARTING._replace(status="loading")
    found = verdict([(0, starting), (100, starting)])
    assert found == (
        60, Verdict(False, "it was not ready within 60 s: activating (start), it says: loading"),  # noqa: FBT003
    )  # fmt: skip


def test_systemd_does_not_answer() -> None:
    found = verdict([(0, Sample()), (100, Sample())])
    assert found is not None
    assert not found[1].passed
    assert "systemd does not answer" in found[1].why


def test_an_answer_that_is_missing_once_is_no_end() -> None:
    found = verdict([(0, UP), (4, Sample()), (4.5, UP), (99, UP)])
    assert found is not None
    assert found[1].passed


def test_not_started_yet_is_not_ended() -> None:
    found = verdict([(0, Sample("inactive", "dead")), (2, STARTING), (4, UP), (99, UP)])
    assert found is not None
    assert found[1].passed
    ended = verdict([(0, UP), (3, Sample("inactive", "dead", result="success")), (9, UP)])
    assert ended == (3, Verdict(False, "it ended by itself (result success)"))  # noqa: FBT003


def test_a_reload_is_no_interruption() -> None:
    found = verdict([(0, UP), (5, UP._replace(active="reloading", sub="reload")), (6, UP), (99, UP)])
    assert found is not None
    assert found[0] == 10


SAMPLES = st.builds(
    Sample,
    active=st.sampled_from(["active", "activating", "inactive", "failed", "deactivating", "reloading", ""]),
    restarts=st.integers(0, 3),
    status=st.sampled_from(["", ONLINE, "online; no broker"]),
    pid=st.integers(0, 3),
)


@given(st.lists(SAMPLES, min_size=1, max_size=30))
def test_what_passes_has_lived(samples: list[Sample]) -> None:
    gate, lived_s = Gate(LIMITS), 0.0
    for number, sample in enumerate(samples):
        same = (
            number > 0
            and sample.pid == samples[number - 1].pid
            and samples[number - 1].active in ("active", "reloading")
        )
        lived_s = lived_s + 5 if same else 0
        found = gate.look(sample, number * 5.0)
        if found is None:
            continue
        if found.passed:
            assert sample.pid
            assert sample.active in ("active", "reloading")
            assert lived_s >= (LIMITS.hold_s if sample.status == ONLINE else LIMITS.gate_s)
        return


@given(st.lists(SAMPLES, min_size=1, max_size=5))
def test_there_is_always_an_end(samples: list[Sample]) -> None:
    gate = Gate(LIMITS)
    for number in range(1000):
        if gate.look(samples[number % len(samples)], number * 0.5):
            return
    states = {sample.active for sample in samples}
    assert states & {"active", "reloading"}  # it comes and goes, with no restart counted: only a fake does so


def test_words_of_systemd() -> None:
    told = {"ActiveState": "active", "SubState": "running", "NRestarts": "1", "MainPID": "12", "ExecMainStatus": "0"}
    assert read_sample(told) == Sample("active", "running", 1, "", "", 12, "0")
    assert read_sample({"NRestarts": "[not set]", "MainPID": ""}) == Sample()

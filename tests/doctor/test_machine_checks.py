"""Clock, disk and systemd."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_fer.doctor.board import check_clock, check_memory
from edge_fer.doctor.finding import Finding
from edge_fer.doctor.patient import Patient
from edge_fer.doctor.storage import check_state_folder
from edge_fer.doctor.unit import AGENT, check_unit

Made = Callable[..., Patient]
IN_2026_S, IN_1970_S = 1_780_000_000.0, 3600.0
GOOD_UNIT = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "UnitFileState": "enabled",
    "NRestarts": "0",
    "Result": "success",
    "ExecMainStatus": "0",
    "User": "",
}


def one(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


@pytest.mark.parametrize(
    ("synced", "unix_s", "result"),
    [(True, IN_2026_S, "ok"), (False, IN_2026_S, "warning"), (None, IN_2026_S, "skipped"), (True, IN_1970_S, "failed")],
)
def test_the_clock(make_patient: Made, *, synced: bool | None, unix_s: float, result: str) -> None:
    found = one(check_clock(make_patient(None, clock_synced=lambda: synced, unix_s=lambda: unix_s)))
    assert found.result == result
    assert found.found.startswith("2026-05-28 20:26:40 UTC" if unix_s == IN_2026_S else "1970-01-01 01:00:00 UTC")
    assert bool(found.cure) == (result in ("warning", "failed"))


def test_memory_is_told_in_megabytes(make_patient: Made) -> None:
    assert "MB available" in one(check_memory(make_patient(None))).found


def test_a_state_folder_that_is_not_there_yet_will_be_made(make_patient: Made, tmp_path: Path) -> None:
    found = one(check_state_folder(make_patient("")))
    assert (found.result, "it will be made" in found.found) == ("ok", True)
    assert not (tmp_path / "state").exists()


def test_a_state_folder_is_left_as_it_was(make_patient: Made, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    found = one(check_state_folder(make_patient("")))
    assert (found.result, found.found.startswith(str(tmp_path / "state"))) == ("ok", True)
    assert list((tmp_path / "state").iterdir()) == []


def test_a_file_in_place_of_the_state_folder_is_told(make_patient: Made, tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    found = one(check_state_folder(make_patient("")))
    assert (found.result, "is no folder" in found.found) == ("failed", True)


def test_a_state_folder_that_cannot_be_written_is_told(make_patient: Made) -> None:
    patient = make_patient("")
    assert patient.config is not None
    patient.config = patient.config.model_copy(update={"state_dir": Path("/proc/sys")})  # no file can be made there
    found = one(check_state_folder(patient))
    assert (found.result, "cannot be written" in found.found) == ("failed", True)
    assert "state_dir" in found.cure


def test_too_little_room_for_the_outbox_is_a_warning(make_patient: Made) -> None:
    found = one(check_state_folder(make_patient("[outbox]\nmax_mb = 100000.0\n")))
    if found.result == "ok":
        pytest.skip("this machine has 140 GB free: a small disk was NOT tested")
    assert found.result == "warning"
    assert "the outbox may need 140.0 GB" in found.found


@pytest.fixture
def unit(make_program: Callable[[str, str], Path], make_patient: Made) -> Callable[..., list[Finding]]:
    """What the check says of a unit with these properties; systemctl answers as systemd's own does."""

    def look(**changed: str) -> list[Finding]:
        lines = "\n".join(f"{key}={value}" for key, value in {**GOOD_UNIT, **changed}.items())
        make_program("systemctl", f'[ "$1 $2" = "show edge-fer.service" ] || exit 1\ncat <<END\n{lines}\nEND')
        return check_unit(make_patient(None))

    return look


def test_a_unit_that_runs_and_is_enabled_is_well(unit: Callable[..., list[Finding]]) -> None:
    assert one(unit()).found == "edge-fer.service: active (running), enabled"


@pytest.mark.parametrize(
    ("changed", "result", "told", "cure"),
    [
        ({"LoadState": "not-found"}, "skipped", "not installed", "make deploy"),
        ({"NRestarts": "3"}, "warning", "3 restarts by systemd", "journalctl"),
        ({"UnitFileState": "disabled"}, "warning", "will not start with the machine", "systemctl enable"),
        ({"ActiveState": "inactive", "SubState": "dead"}, "warning", "inactive (dead)", "enable --now"),
        ({"ActiveState": "activating", "SubState": "auto-restart"}, "failed", "does not stay up", "journalctl"),
        (
            {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "ExecMainStatus": str(os.EX_CONFIG)},
            "failed",
            "exit code 78",
            "check-config",
        ),
        ({"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "69"}, "failed", "69", "was missing"),
        ({"ActiveState": "failed", "Result": "signal", "ExecMainStatus": "4"}, "failed", "result signal", "journalctl"),
    ],
)
def test_what_systemd_says_of_the_unit(
    unit: Callable[..., list[Finding]], changed: dict[str, str], result: str, told: str, cure: str
) -> None:
    found = one(unit(**changed))
    assert found.result == result
    assert told in found.found
    assert cure in found.cure


def test_what_the_daemon_says_of_itself_is_told(unit: Callable[..., list[Finding]]) -> None:
    assert one(unit(StatusText="online; no broker")).found.endswith('enabled; it says "online; no broker"')


def test_a_board_that_was_deployed_can_go_back(unit: Callable[..., list[Finding]], tmp_path: Path) -> None:
    failed = {"ActiveState": "failed", "Result": "signal", "ExecMainStatus": "6"}
    assert "rollback" not in one(unit(**failed)).cure
    agent = tmp_path / "root" / AGENT
    agent.parent.mkdir(parents=True)
    agent.touch()
    assert "edge-fer-release rollback" in one(unit(**failed)).cure


def test_a_daemon_of_another_user_is_pointed_out(unit: Callable[..., list[Finding]]) -> None:
    _, user = unit(User="edge-fer-of-nobody")
    assert "runs as user 'edge-fer-of-nobody'" in user.found
    assert user.cure.startswith("sudo -u edge-fer-of-nobody edge-fer doctor")


def test_a_machine_without_systemd_says_so(make_patient: Made) -> None:
    assert one(check_unit(make_patient(None))).found == "this system has no systemd"


def test_a_systemd_that_does_not_answer_is_told(make_patient: Made, make_program: Callable[[str, str], Path]) -> None:
    make_program("systemctl", "echo 'System has not been booted with systemd as init system' >&2; exit 1")
    found = one(check_unit(make_patient(None)))
    assert (found.result, found.found) == ("skipped", "System has not been booted with systemd as init system")

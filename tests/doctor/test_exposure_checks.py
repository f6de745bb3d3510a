"""Privacy: who can read, hear and order."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_fer.doctor.exposure import (
    check_commands,
    check_encryption,
    check_metrics,
    check_recording,
    check_secret_files,
    is_loopback,
)
from edge_fer.doctor.finding import Finding
from edge_fer.doctor.patient import Patient

Made = Callable[..., Patient]
ALL_MAY_READ, GROUP_MAY_READ = 0o644, 0o640


def one(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


@pytest.mark.parametrize(
    ("url", "result"),
    [
        ("mqtts://broker.local", "ok"),
        ("wss://broker.local/mqtt", "ok"),
        ("mqtt://127.0.0.1", "ok"),
        ("mqtt://[::1]:1883", "ok"),
        ("mqtt://localhost", "ok"),
        ("mqtt://192.168.1.4", "warning"),
        ("ws://broker.local", "warning"),
    ],
)
def test_a_connection_in_clear_beyond_this_machine_is_a_warning(make_patient: Made, url: str, result: str) -> None:
    found = one(check_encryption(make_patient(f'[broker]\nurl = "{url}"\n')))
    assert found.result == result
    assert ("mqtts://" in found.cure or "wss://" in found.cure) == (result == "warning")


def test_without_a_broker_nothing_is_sent(make_patient: Made) -> None:
    assert one(check_encryption(make_patient(""))).result == "skipped"


def test_a_camera_password_in_a_file_for_all_is_a_warning_that_does_not_show_it(make_patient: Made) -> None:
    text = '[camera.hall]\nuri = "rtsp://me:s3cret@camera.local/x"\n'
    found = one(check_secret_files(make_patient(text, mode=ALL_MAY_READ)))
    assert found.result == "warning"
    assert "passwords of cameras" in found.found
    assert "chmod 640" in found.cure
    assert "s3cret" not in str(found)
    assert one(check_secret_files(make_patient(text, mode=GROUP_MAY_READ))).result == "ok"


def test_a_password_file_for_all_is_a_warning(make_patient: Made, open_folder: Path) -> None:
    file = open_folder / "password"
    file.write_text("s3cret")
    text = f'[broker]\nurl = "mqtt://me@127.0.0.1"\npassword_file = "{file}"\n'
    for mode, result in ((ALL_MAY_READ, "warning"), (GROUP_MAY_READ, "ok")):
        file.chmod(mode)
        assert one(check_secret_files(make_patient(text))).result == result
    file.chmod(ALL_MAY_READ)
    open_folder.chmod(0o700)  # nobody else comes as far as the file
    assert one(check_secret_files(make_patient(text))).result == "ok"


def test_a_configuration_without_secrets_may_be_read(make_patient: Made) -> None:
    assert one(check_secret_files(make_patient("", mode=ALL_MAY_READ))).found == "no secret is in a file"


@pytest.mark.parametrize(
    ("metrics", "result"),
    [
        ("", "ok"),
        ("[metrics]\nport = 9109\n", "ok"),
        ('[metrics]\nport = 9109\nhost = "::1"\n', "ok"),
        ('[metrics]\nport = 9109\nhost = "0.0.0.0"\n', "warning"),
        ('[metrics]\nhost = "0.0.0.0"\n', "ok"),  # nothing listens without a port
    ],
)
def test_metrics_for_the_whole_network_are_a_warning(make_patient: Made, metrics: str, result: str) -> None:
    assert one(check_metrics(make_patient(metrics))).result == result


@pytest.mark.parametrize(
    ("allow", "url", "result", "told"),
    [
        ("[]", "mqtt://192.168.1.4", "ok", "none is taken"),
        ('["pause"]', "", "ok", "nobody can give any"),
        ('["pause"]', "mqtts://me@broker.local", "ok", "pause"),
        ('["resume"]', "mqtts://me@broker.local", "ok", "opens cameras"),
        ('["resume"]', "mqtt://me@192.168.1.4", "warning", "not encrypted"),
        ('["pause"]', "mqtts://broker.local", "warning", "without a login"),
    ],
)
def test_who_may_give_commands(make_patient: Made, allow: str, url: str, result: str, told: str) -> None:
    broker = f'[broker]\nurl = "{url}"\n' if url else ""
    found = one(check_commands(make_patient(f"{broker}[commands]\nallow = {allow}\n")))
    assert (found.result, told in found.found) == (result, True)


HOLDS = """\
import sys
from pathlib import Path
from edge_fer.memory.state_folder import StateFolder
folder = StateFolder(Path(sys.argv[1]))
print(folder.problem, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(("options", "result"), [([], "ok"), (["--record-scores", "x.jsonl"], "warning")])
def test_a_daemon_that_records_is_pointed_out(
    make_patient: Made, tmp_path: Path, options: list[str], result: str
) -> None:
    command = [sys.executable, "-c", HOLDS, str(tmp_path / "state"), *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"\n"
        assert one(check_recording(make_patient(""))).result == result
    assert "no daemon of this node runs" in one(check_recording(make_patient(""))).found


def test_loopback_is_known_by_address_and_name() -> None:
    assert [is_loopback(host) for host in ("127.0.0.9", "::1", "localhost", "db.localhost")] == [True] * 4
    assert [is_loopback(host) for host in ("10.0.0.1", "localhost.example.org", "broker")] == [False] * 3

"""Cameras: what works, what does not, and what is left alone."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_fer.doctor.cameras import check_cameras, check_devices
from edge_fer.doctor.finding import Finding
from edge_fer.doctor.patient import Patient
from edge_fer.memory.pause_file import PAUSE_FILE, ask_pause, moment
from edge_fer.memory.state_folder import StateFolder
from edge_fer.sensors.machine import Machine

Made = Callable[..., Patient]


def looked(patient: Patient) -> dict[str, Finding]:
    return {finding.about: finding for finding in check_cameras(patient)}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[StateFolder]:
    """Holds the state folder as a daemon does."""
    folder = StateFolder(tmp_path / "state")
    yield folder
    folder.close()


@pytest.fixture
def hold() -> Iterator[Callable[[Path], int]]:
    """Lets another process have a file open; its number."""
    started: list[subprocess.Popen[bytes]] = []

    def open_it(path: Path) -> int:
        script = "import sys; file = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
        pipe = subprocess.PIPE
        child = subprocess.Popen([sys.executable, "-c", script, str(path)], stdin=pipe, stdout=pipe)
        started.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == b"open\n"
        return child.pid

    yield open_it
    for child in started:
        child.kill()
        child.wait()


def test_each_camera_has_its_own_line(make_patient: Made, tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(b"no picture")
    found = looked(
        make_patient(
            f"""
            [camera.good]
            uri = "sample:"
            [camera.gone]
            uri = "/nowhere/clip.mp4"
            [camera.odd]
            uri = "{tmp_path}/noise"
            [camera.off]
            uri = "/dev/video-none"
            enabled = false
            [camera.unplugged]
            uri = "/dev/video-none"
            """
        )
    )
    assert (found["good"].result, "640x360" in found["good"].found) == ("ok", True)
    assert (found["gone"].result, "no such file" in found["gone"].found) == ("failed", True)
    assert found["odd"].result == "failed"
    assert (found["off"].result, found["off"].found) == ("skipped", "enabled = false")
    assert (found["unplugged"].result, "no such device" in found["unplugged"].found) == ("failed", True)
    assert "plugged in" in found["unplugged"].cure


def test_a_stream_that_nobody_serves_is_told_without_its_password(make_patient: Made) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        found = looked(make_patient(f'[camera.hall]\nuri = "http://me:s3cret@127.0.0.1:{port}/x.mjpg"\n'))["hall"]
    assert found.result == "failed"
    assert "s3cret" not in str(found)
    assert "edge-fer cameras --probe" in found.cure


def test_a_device_that_another_program_has_is_not_opened(
    make_patient: Made, tmp_path: Path, hold: Callable[[Path], int]
) -> None:
    device = tmp_path / "video0"
    device.touch()
    pid = hold(device)
    patient = make_patient(f'[camera.desk]\nuri = "v4l2:{device}"\n', machine=Machine(path=""))
    found = looked(patient)["desk"]
    assert found.result == "warning"
    assert "in use by python" in found.found
    assert f"({pid})" in found.found


def test_a_device_that_the_daemon_has_is_well(
    make_patient: Made, tmp_path: Path, hold: Callable[[Path], int], daemon: StateFolder
) -> None:
    assert daemon.problem == ""
    device = tmp_path / "video0"
    device.touch()
    hold(device)
    found = looked(make_patient(f'[camera.desk]\nuri = "v4l2:{device}"\n', machine=Machine(path="")))["desk"]
    assert (found.result, "the daemon of this node runs" in found.found) == ("ok", True)


def test_cameras_of_a_running_daemon_are_left_to_it(make_patient: Made, tmp_path: Path, daemon: StateFolder) -> None:
    assert daemon.problem == ""
    ran = tmp_path / "ran"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        patient = make_patient(
            f"""
            [camera.program]
            uri = "exec:touch {ran}"
            [camera.stream]
            uri = "rtsp://127.0.0.1:{port}/live"
            [camera.csi]
            uri = "csi:0"
            [camera.plugged]
            uri = "/dev/null"
            [camera.udp]
            uri = "udp://127.0.0.1/x"
            """
        )
        found = looked(patient)
    assert {name: finding.result for name, finding in found.items()} == {
        "program": "skipped",
        "stream": "ok",
        "csi": "skipped",
        "plugged": "failed",
        "udp": "skipped",
    }
    assert "reachable; the running daemon reads it" in found["stream"].found
    assert not ran.exists()


def test_a_paused_camera_stays_closed(make_patient: Made, tmp_path: Path, state: Path) -> None:
    ran = tmp_path / "ran"
    patient = make_patient(f'[camera.bed]\nuri = "exec:touch {ran}"\n[camera.hall]\nuri = "sample:"\n')
    ask_pause(state, ["bed"], None, by="a test", known=None, now=moment())
    found = looked(patient)
    assert (found["bed"].result, found["hall"].result) == ("skipped", "ok")
    assert not ran.exists()


def test_a_damaged_pause_file_counts_as_a_pause_of_all(make_patient: Made, state: Path) -> None:
    (state / PAUSE_FILE).write_text("{}")
    assert looked(make_patient(""))["front"].found == "it is paused, and stays closed"


def test_a_program_that_writes_no_pictures_is_told(make_patient: Made) -> None:
    found = looked(make_patient("[camera.odd]\nuri = \"exec:sh -c 'echo it broke >&2; exit 3'\"\n"))["odd"]
    assert (found.result, "it broke" in found.found) == ("failed", True)


def test_devices_that_this_user_may_not_open_name_their_group(make_patient: Made, tmp_path: Path) -> None:
    dev = tmp_path / "dev"
    (dev / "dri").mkdir(parents=True)
    for name in ("video0", "vcio", "dri/renderD128"):
        (dev / name).touch()
    assert [finding.result for finding in check_devices(make_patient(None))] == ["ok"]
    closed = check_devices(make_patient(None, access=lambda path, _: path.name != "vcio"))
    assert [(finding.result, finding.about) for finding in closed] == [("warning", str(dev / "vcio"))]
    assert "needed by vcgencmd" in closed[0].found
    assert "it belongs to the group" in closed[0].found
    assert closed[0].cure.startswith("sudo usermod -aG ")
    assert "SupplementaryGroups=" in closed[0].cure


def test_a_machine_without_devices_says_so(make_patient: Made) -> None:
    assert [finding.result for finding in check_devices(make_patient(None))] == ["skipped"]

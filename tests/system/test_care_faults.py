"""The daemon under what users and machines do to it: kills, full disks, hanging peers, wrong addresses and files."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from daemonsite import LOOP, START_S, Site, open_files, retained, terminate
from realbrokers import wait_until
from streamservers import MjpegServer, RtspServer

pytestmark = pytest.mark.system

RULES = """
[rule.unhappy]
kind = "expression"
expressions = ["sadness", "fear", "anger"]
window_s = 3
share = 0.3
clear_after_s = 1
cooldown_s = 1
[rule.somebody]
kind = "faces"
max_faces = 0
for_s = 1
[rule.nobody]
kind = "nobody"
for_s = 1
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path, stack)


def test_kills_at_any_moment_leave_no_face_without_its_end(site: Site) -> None:
    chance = random.Random(5)  # noqa: S311 - no secret
    for boots in range(1, 7):
        daemon = site.start()
        site.wait_for_start(boots=boots)
        with pytest.raises(psutil.TimeoutExpired):
            daemon.wait(chance.random())
        daemon.kill()
        daemon.wait()
    last = site.start()
    site.wait_for_start(boots=7)
    assert terminate(last) == 0
    wait_until(lambda: site.events()[-1]["reason"] == "stopped")
    events = site.events()
    for boot in {event["boot_id"] for event in events}:
        seqs = [event["seq"] for event in events if event["boot_id"] == boot]
        assert seqs == list(range(1, len(seqs) + 1))
    ended = [(event["track_boot_id"] or event["boot_id"], event["track"]) for event in events if event["type"] == "end"]
    started = [(event["boot_id"], event["track"]) for event in events if event["type"] == "start"]
    assert sorted(ended) == sorted(started)


def test_a_killed_daemon_leaves_no_child_behind(site: Site) -> None:
    with MjpegServer(size="320x240", fps=8) as server:
        site.configure({"door": server.url, "hung": "exec:sleep 1000"})
        daemon = site.start()
        wait_until(lambda: any(body["state"] == "online" for body in site.bodies("camera/door/status")), START_S)
        children = daemon.children(recursive=True)
        assert children
        daemon.kill()
        daemon.wait()
        wait_until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))


def test_a_pause_closes_streams_whatever_state_they_are_in(site: Site) -> None:
    def is_told(camera: str, state: str) -> bool:
        return any(body["state"] == state for body in site.bodies(f"camera/{camera}/status"))

    with ExitStack() as stack:
        rtsp = stack.enter_context(RtspServer(size="320x240", fps=8))
        frozen = stack.enter_context(MjpegServer(size="320x240", fps=8, mode="freeze"))
        stalled = stack.enter_context(MjpegServer(size="320x240", fps=8))
        site.configure({"hall": rtsp.url, "frozen": frozen.url, "stalled": stalled.url, "away": "rtsp://127.0.0.1:9/x"})
        daemon = site.start()
        wait_until(lambda: is_told("frozen", "frozen") and is_told("stalled", "online"), START_S)
        stalled.mode("stall")
        wait_until(lambda: is_told("stalled", "stalled"), START_S)
        asked = site.command("pause", "--config", str(site.config))
        assert (asked.returncode, asked.stderr) == (0, "")
        assert daemon.children(recursive=True) == []
        for name in ("hall", "frozen", "stalled", "away"):
            assert retained(site, f"camera/{name}/status")["state"] == "disabled"
        assert retained(site, "privacy")["cameras"] == ["hall", "frozen", "stalled", "away"]
        assert site.command("resume", "--config", str(site.config)).returncode == 0
        wait_until(lambda: site.bodies("camera/hall/status")[-1]["state"] in ("online", "dark"), START_S)
        assert terminate(daemon) == 0


@pytest.mark.parametrize("hang", ["http", "rtsp", "without ffmpeg", "deaf child", "broker"])
def test_sigterm_ends_it_in_time_whatever_hangs(site: Site, tmp_path: Path, hang: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        peer = f"127.0.0.1:{silent.getsockname()[1]}/x"
        deaf = """exec:sh -c \\"trap '' TERM HUP INT; while :; do sleep 1; done\\" """
        address = {"http": f"http://{peer}", "deaf child": deaf}.get(hang, f"rtsp://{peer}")
        site.configure({"front": LOOP, "hung": address})
        (tmp_path / "bin").mkdir()
        path = str(tmp_path / "bin") if hang == "without ffmpeg" else os.environ["PATH"]
        daemon = site.start(env={**os.environ, "PATH": path})
        site.wait_for_start()
        children = daemon.children(recursive=True)
        if hang == "broker":
            assert site.broker.process
            site.broker.process.send_signal(signal.SIGSTOP)
        daemon.terminate()
        assert daemon.wait(2 + 10) == 0  # 2 s are promised; the machine may be busy
        wait_until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))
        assert "Traceback" not in site.log


def files_up_to(size: int) -> Callable[[], None]:
    """What is done in the child before the daemon starts: a disk on which no file can be larger."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    return limit


def problems(site: Site) -> dict[str, str]:
    return {problem["code"]: problem["text"] for body in site.bodies("health") for problem in body["problems"]}


@pytest.mark.parametrize(
    ("size", "codes"),
    [
        (30_000, {"recording", "store"}),
        (700, {"recording", "store"}),
        (50, {"recording", "state-folder", "pause"}),
    ],
)
def test_a_full_disk_is_told_in_health_and_faces_are_told_as_before(site: Site, size: int, codes: set[str]) -> None:
    site.configure(more=RULES)
    scores = site.config.with_name("scores.jsonl")
    # The log would be cut off too.
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    daemon = site.start("--record-scores", str(scores), preexec_fn=files_up_to(size), **quiet)
    site.wait_for_start()
    wait_until(lambda: set(problems(site)) >= codes, START_S)
    site.command("pause", "--config", str(site.config))
    wait_until(lambda: site.bodies("camera/front/status")[-1]["state"] == "disabled")
    assert not any("edge_fer/sample" in name for name in open_files(daemon))
    wait_until(lambda: site.events()[-1]["reason"] == "paused")
    assert terminate(daemon) == 0
    assert set(problems(site)) == codes
    assert scores.stat().st_size <= size
    if size > 1000:
        replayed = site.command("replay", str(scores), "--rules", str(site.config))
        assert replayed.returncode == 0
        assert "the last line is broken off" in replayed.stderr


def test_a_state_folder_that_is_a_file_is_told_and_lived_with(site: Site) -> None:
    site.state.write_text("no folder")
    daemon = site.start()
    site.wait_for_start()
    wait_until(lambda: "state-folder" in problems(site))
    assert "forgotten at a restart" in site.log
    asked = site.command("pause", "--config", str(site.config))
    assert (asked.returncode, "Traceback" in asked.stderr) == (69, False)
    assert terminate(daemon) == 0


@pytest.mark.parametrize("names", [["face_noface.mov"], ["head-pose-face-detection-female-and-male.gif"]])
def test_a_clip_gives_the_same_events_and_alerts_in_every_run_and_in_every_replay(
    media: Path, tmp_path: Path, names: list[str]
) -> None:
    cameras = "".join(f'[camera.{name[:4]}]\nuri = "{media / name}"\n' for name in names)
    runs = [_run_and_replay(tmp_path / str(number), cameras) for number in range(3)]
    assert runs[0] == runs[1] == runs[2]
    assert any(kind == "alert" for kind, *_ in runs[0])


def _run_and_replay(folder: Path, cameras: str) -> list[tuple[Any, ...]]:
    """Events and alerts of a run, without what differs between two runs; those of its replay are the same."""
    folder.mkdir()
    config, scores = folder / "lab.toml", folder / "scores.jsonl"
    config.write_text(f'node = "lab"\nstate_dir = "{folder / "state"}"\n{cameras}{RULES}')
    done = edge_fer("run", "--config", str(config), "--print", "--record-scores", str(scores))
    assert done.returncode == 0
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    replayed = edge_fer("replay", str(scores), "--rules", str(config), "--events", "--json")
    lines = [json.loads(line) for line in replayed.stdout.splitlines()]
    way = {"published_at": "", "replayed": False, "clock_synced": None}  # of the run alone
    assert [{**event, **way} for event in printed] == [line["event"] for line in lines if "event" in line]
    keys = ("rule", "state", "why", "value", "type", "track", "expression", "clip_ms", "duration_ms", "scores", "box")
    return [(kind, *(body.get(key) for key in keys)) for line in lines for kind, body in line.items()]


def edge_fer(*words: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": os.environ["PATH"] if path is None else path}
    command = [sys.executable, "-m", "edge_fer", *words]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=environment, timeout=120
    )


@pytest.mark.parametrize(
    ("address", "code", "told"),
    [
        ("ftp://u:secret@host/x", 78, "unknown kind of camera 'ftp:'"),
        ("/dev/video77", 69, "no such device"),
        ("/dev/null", 69, "not a video device"),
        ("/etc/hostname", 69, "not a video that can be read"),
        ("v4l2:/dev/video0?size=1x1", 78, "use at least 48 px"),
        ("v4l2:/dev/video0?size=99999x99999", 78, "at most 33 MP"),
        ("v4l2:/dev/video0?fps=0", 78, "fps=0; use a number from 0.1"),
        ("exec:printf 'YUV4MPEG2 W99999 H99999 F0:0\\nFRAME\\n'", 69, "the pictures are 99999x99999 px"),
        ("exec:cat /dev/urandom", 69, "no YUV4MPEG2 stream"),
        ("exec:nonesuch", 69, "nonesuch: no such program; install"),
        ("rtsp://user:secret word@host/x", 78, "is written %20"),
        ("rtsp://", 78, "use rtsp://"),
    ],
)
def test_a_wrong_address_ends_with_one_line_and_its_exit_code(address: str, code: int, told: str) -> None:
    done = edge_fer("run", "--node", "lab", "--print", "--camera", address)
    said = [line for line in done.stderr.splitlines() if line.startswith("edge-fer: ")]
    assert done.returncode == code
    assert len(said) == 1
    assert told in said[0]
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("address", "package"), [("rpicam:0", "rpicam-apps"), ("csi:0", "gstreamer1.0-tools"), ("rtsp://h/x", "ffmpeg")]
)
def test_the_package_of_a_missing_program_is_named(tmp_path: Path, address: str, package: str) -> None:
    done = edge_fer("run", "--node", "lab", "--print", "--seconds", "1", "--camera", address, path=str(tmp_path))
    assert f"install {package}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_device_of_another_group_names_the_group(tmp_path: Path) -> None:
    device = tmp_path / "video9"
    without_rights = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"]
    try:
        os.mknod(device, 0o660 | 0o020000, os.makedev(81, 9))
        os.chown(device, 65534, 44)
        device.chmod(0o660)
        tried = subprocess.run([*without_rights, "test", "-r", str(device)], check=False)
    except OSError as err:
        pytest.skip(f"no device of another group can be made here ({err}): run as root, with util-linux")
    if tried.returncode == 0:
        pytest.skip("rights cannot be dropped here")
    tmp_path.chmod(0o755)
    command = [*without_rights, sys.executable, "-m", "edge_fer", "run", "--node", "lab", "--print", "--camera"]
    done = subprocess.run([*command, f"v4l2:{device}"], capture_output=True, text=True, check=False)
    assert done.returncode == 69
    assert "permission denied; it belongs to the group" in done.stderr
    assert "usermod -aG" in done.stderr

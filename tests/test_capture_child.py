"""Programs that deliver pictures on a pipe: read, killed, reaped; and pictures in the two forms they come in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_capture import pictures

from edge_fer.capture.child import Child
from edge_fer.capture.open import open_source
from edge_fer.capture.raw import raw_pictures, y4m_pictures
from edge_fer.capture.uri import parse_camera_uri
from edge_fer.errors import CameraError

Script = Callable[..., Path]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Writes an executable Python script."""

    def write(body: str, name: str = "camera") -> Path:
        path = tmp_path / name
        path.write_text(f"#!{sys.executable}\nimport os, sys, time\nout = sys.stdout.buffer\n{body}\n")
        path.chmod(0o755)
        return path

    return write


def wait_until(condition: Callable[[], object], timeout_s: float = 30) -> None:
    until_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until_s, "waited in vain"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def from_bytes(data: bytes) -> Callable[[memoryview], bool]:
    rest = memoryview(data)

    def read_into(view: memoryview) -> bool:
        nonlocal rest
        if len(rest) < len(view):
            return False
        view[:], rest = rest[: len(view)], rest[len(view) :]
        return True

    return read_into


def i420(bgr: tuple[int, int, int], size: tuple[int, int] = (64, 48), *, full_range: bool = False) -> bytes:
    """A plain picture by the formulas of BT.601."""
    blue, green, red = bgr
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    levels = [luma, 128 + (blue - luma) / 1.772, 128 + (red - luma) / 1.402]
    if not full_range:
        levels = [16 + luma * 219 / 255, *(128 + (level - 128) * 224 / 255 for level in levels[1:])]
    pixels = size[0] * size[1]
    counts = (pixels, pixels // 4, pixels // 4)
    return b"".join(bytes([round(level)]) * count for level, count in zip(levels, counts, strict=True))


Y4M = b"YUV4MPEG2 W64 H48 F15:1 Ip A1:1 C420jpeg\n"
COLOUR = (40, 120, 200)


def test_y4m_tells_its_own_size_and_keeps_its_colours() -> None:
    frames = b"".join(b"FRAME\n" + i420((level, 120, 200)) for level in (40, 80))
    first, second = y4m_pictures(from_bytes(Y4M + frames))
    assert first.shape == (48, 64, 3)
    # One step of the stored 8 bit values is up to two steps of a colour.
    np.testing.assert_allclose(first[10, 10], COLOUR, atol=3)
    np.testing.assert_allclose(second[10, 10], (80, 120, 200), atol=3)


def test_y4m_with_all_256_levels_keeps_its_colours() -> None:
    header = Y4M.replace(b"\n", b" XCOLORRANGE=FULL\n")
    (picture,) = y4m_pictures(from_bytes(header + b"FRAME\n" + i420(COLOUR, full_range=True)))
    np.testing.assert_allclose(picture[10, 10], COLOUR, atol=3)


def test_y4m_frames_may_have_parameters() -> None:
    frames = [b"FRAME Ixyz\n" + i420(COLOUR), b"FRAME\n" + i420(COLOUR), b"FRAME X\n" + i420(COLOUR)]
    found = list(y4m_pictures(from_bytes(Y4M + b"".join(frames))))
    assert len(found) == 3
    for picture in found:
        np.testing.assert_allclose(picture, np.full((48, 64, 3), COLOUR), atol=3)


def test_half_a_frame_at_the_end_is_left_out() -> None:
    stream = Y4M + b"FRAME\n" + i420(COLOUR) + b"FRAME\n" + i420(COLOUR)[:-1]
    assert len(list(y4m_pictures(from_bytes(stream)))) == 1


@pytest.mark.parametrize(
    ("stream", "told"),
    [
        (b"usage: camera [-h]\n" * 20, "no YUV4MPEG2"),
        (b"YUV4MPEG2 F15:1\n", "tells no size"),
        (b"YUV4MPEG2 Wx Hy\n", "tells no size"),
        (b"YUV4MPEG2 W4 H4\n", "4x4 px"),
        (b"YUV4MPEG2 W99999 H99999\n", "at most 8K"),
        (b"YUV4MPEG2 W640 H480 C444\n", "yuv420p"),
        (b"YUV4MPEG2 W640 H480 C420p10\n", "yuv420p"),
        (b"YUV4MPEG2 W641 H481\n", "even sizes"),
        (Y4M + 10_000 * b"x", "no frame begins"),
    ],
)
def test_what_is_no_y4m_is_told(stream: bytes, told: str) -> None:
    with pytest.raises(CameraError, match=told):
        list(y4m_pictures(from_bytes(stream)))


@pytest.mark.parametrize(
    ("pixel_format", "frame", "expected"),
    [
        ("i420", i420(COLOUR), COLOUR),
        ("bgr24", bytes(COLOUR) * 64 * 48, COLOUR),
        ("gray8", b"\x55" * 64 * 48, (85, 85, 85)),
    ],
)
def test_bare_frames_of_each_kind(pixel_format: str, frame: bytes, expected: tuple[int, int, int]) -> None:
    found = list(raw_pictures(from_bytes(frame * 3 + frame[:-1]), (64, 48), pixel_format))
    assert len(found) == 3
    assert found[0].shape == (48, 64, 3)
    np.testing.assert_allclose(found[0][20, 30], expected, atol=3)
    assert not np.shares_memory(found[0], found[1])


def test_a_command_gives_pictures_without_a_shell(script: Script) -> None:
    camera = script(f"assert sys.argv[1] == '$HOME *'\nout.write({Y4M!r} + 3 * (b'FRAME\\n' + bytes([90]) * 4608))")
    source = open_source(parse_camera_uri(f"exec:{camera} '$HOME *'"))
    found = source.pictures()
    assert [picture.bgr.shape for picture in islice(found, 3)] == 3 * [(48, 64, 3)]
    with pytest.raises(CameraError, match="ended with exit code 0"):
        next(found)
    source.close()


def test_a_command_gives_bare_frames(script: Script) -> None:
    camera = script("out.write(bytes([77]) * 64 * 48 * 2)\nout.flush()\ntime.sleep(600)")
    found = pictures(f"exec:{camera}?size=64x48&format=gray8", at_most=2)
    assert [int(picture.bgr.mean()) for picture in found] == [77, 77]
    assert found[0].clip_ns is None


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("sys.exit('cannot open the lens: busy')", r"exit code 1: cannot open the lens: busy"),
        ("print('error: no lens', file=sys.stderr)\nprint('bye', file=sys.stderr)", r"exit code 0: error: no lens"),
        ("os.kill(os.getpid(), 9)", r"ended by signal 9"),
        ("sys.exit('failed: rtsp://u:s3cret@host/x')", r"rtsp://u:\*\*\*@host"),
    ],
)
def test_why_a_command_has_ended_is_told(script: Script, body: str, told: str) -> None:
    with pytest.raises(CameraError, match=told):
        pictures(f"exec:{script(body)}")


def test_a_missing_program_is_named() -> None:
    with pytest.raises(CameraError, match="no-such-camera-program: no such program; install"):
        open_source(parse_camera_uri("exec:no-such-camera-program -x"))


def test_a_program_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF but not really")
    broken.chmod(0o755)
    with pytest.raises(CameraError, match="broken"):
        pictures(f"exec:{broken}")


def test_a_child_that_talks_without_end_does_not_hold_up_its_pictures(script: Script) -> None:
    camera = script(
        "for _ in range(20):\n"
        "    sys.stderr.write('warning: ' + 1000 * 'x' + '\\n' * 3)\n"
        "    sys.stderr.write(100_000 * 'y')\n"
        "    out.write(bytes(64 * 48))\n"
        "    out.flush()\n"
        "time.sleep(600)"
    )
    assert len(pictures(f"exec:{camera}?size=64x48&format=gray8", at_most=20)) == 20


def test_an_abort_ends_a_reader_that_waits(script: Script) -> None:
    source = open_source(parse_camera_uri(f"exec:{script('time.sleep(600)')}"))
    timer = threading.Timer(0.3, source.abort)
    timer.start()
    assert list(source.pictures()) == []
    for _ in range(2):
        source.abort()
        source.close()
    source.abort()


def test_an_abort_before_the_first_look_counts(script: Script) -> None:
    source = open_source(parse_camera_uri(f"exec:{script('time.sleep(600)')}"))
    source.abort()
    assert list(source.pictures()) == []
    source.close()


def test_all_that_a_child_has_started_ends_with_it(script: Script, tmp_path: Path) -> None:
    note = tmp_path / "pids"
    camera = script(
        "import subprocess\n"
        "other = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(note)!r} + '.new', 'w').write(f'{{os.getpid()}} {{other.pid}}')\n"
        f"os.rename({str(note)!r} + '.new', {str(note)!r})\n"
        "time.sleep(600)"
    )
    source = open_source(parse_camera_uri(f"exec:{camera}"))
    wait_until(note.exists)
    pids = [int(word) for word in note.read_text().split()]
    assert all(is_alive(pid) for pid in pids)
    source.close()
    wait_until(lambda: not any(is_alive(pid) for pid in pids))
    assert not Path(f"/proc/{pids[0]}").exists(), "not reaped"


def test_an_abort_is_noticed_where_a_runaway_holds_the_pipe_open(script: Script, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    camera = script(
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        f"    open({str(note)!r} + '.new', 'w').write(str(os.getpid()))\n"
        f"    os.rename({str(note)!r} + '.new', {str(note)!r})\n"
        "    time.sleep(600)\n"
        "time.sleep(600)"
    )
    source = open_source(parse_camera_uri(f"exec:{camera}"))
    wait_until(note.exists)
    threading.Timer(0.1, source.abort).start()
    assert list(source.pictures()) == []
    source.close()
    os.kill(int(note.read_text()), signal.SIGKILL)


def test_a_child_does_not_see_the_secrets_of_the_daemon(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_FER_MQTT_PASSWORD", "s3cret")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    camera = script("sys.exit('error: ' + ' '.join(os.environ))")
    with pytest.raises(CameraError) as error:
        pictures(f"exec:{camera}")
    assert "PATH" in str(error.value)
    assert "EDGE_FER" not in str(error.value)
    assert "NOTIFY_SOCKET" not in str(error.value)


def test_many_children_leave_nothing_behind(script: Script) -> None:
    camera = script(f"out.write({Y4M!r} + b'FRAME\\n' + bytes(4608))\nout.flush()\ntime.sleep(600)")
    pictures(f"exec:{camera}", at_most=1)
    files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208
    for _ in range(10):
        assert len(pictures(f"exec:{camera}", at_most=1)) == 1
    assert len(os.listdir("/proc/self/fd")) == files  # noqa: PTH208
    assert threading.active_count() == threads
    assert children() == []


def children() -> list[str]:
    return Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()


DAEMON = """
import sys, time
from edge_fer.capture.child import Child
child = Child(["sleep", "600"], install="coreutils")
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def daemon() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", DAEMON], stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_a_daemon_that_is_killed_leaves_no_child(daemon: subprocess.Popen[str]) -> None:
    leash = subprocess.run(["setpriv", "--pdeathsig", "KILL", "true"], check=False).returncode
    if leash != 0:
        pytest.skip("setpriv without --pdeathsig (apt install util-linux, 2.33 or newer): NOT tested")
    assert daemon.stdout is not None
    pid = int(daemon.stdout.readline())
    wait_until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")  # setpriv has become what it starts
    daemon.send_signal(signal.SIGKILL)
    wait_until(lambda: not is_alive(pid))


def test_what_is_sent_arrives_and_never_stands_among_the_words(script: Script) -> None:
    camera = script("text = sys.stdin.read()\nsys.exit('error: ' + text.upper())")
    child = Child([str(camera)], install="nothing", send=b"s3cret words")
    words = Path(f"/proc/{child.pid}/cmdline").read_bytes()
    wait_until(lambda: child.exit_code() is not None)
    assert child.last_words() == ["error: S3CRET WORDS"]
    child.close()
    assert b"s3cret" not in words


def test_opencv_agrees_about_video_range() -> None:
    """The pictures' colours are OpenCV's own, so that a clip gives the same by either way."""
    bgr = np.full((48, 64, 3), COLOUR, np.uint8)
    planes = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420).tobytes()
    (picture,) = raw_pictures(from_bytes(planes), (64, 48), "i420")
    np.testing.assert_allclose(picture, bgr, atol=3)

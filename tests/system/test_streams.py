"""Network cameras that fail in all the ways they do: real servers over loopback, one source at a time."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice, pairwise
from pathlib import Path

import pytest
from streamservers import MjpegServer, RtspServer, free_port
from typing_extensions import Self

from edge_fer.capture.open import open_source
from edge_fer.capture.probe import probe
from edge_fer.capture.program import ChildVideo
from edge_fer.capture.source import Picture, Source
from edge_fer.capture.stream import FFmpeg, ffmpeg_video, find_ffmpeg
from edge_fer.capture.uri import parse_camera_uri
from edge_fer.errors import CameraError

pytestmark = pytest.mark.system

STOPPED_S = 30.0
RECONNECTS, WARM_UP = 200, 20
MAX_GROWTH_BYTES = 1_000_000
PATIENCE_S = 60.0

MakeRtsp = Callable[..., RtspServer]


@pytest.fixture(autouse=True)
def ffmpeg() -> str:
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("ffmpeg is not installed (apt install ffmpeg): streams NOT tested")
    return program


@pytest.fixture
def make_rtsp() -> Iterator[MakeRtsp]:
    made: list[RtspServer] = []

    def make(**options: object) -> RtspServer:
        made.append(RtspServer(**options))
        return made[-1].start()

    yield make
    for server in made:
        server.kill()


class Watched:
    """An open source whose blocked reads a timer ends, so that no test hangs."""

    def __init__(self, url: str, patience_s: float = PATIENCE_S) -> None:
        self.source: Source = open_source(parse_camera_uri(url))
        self.pictures: Iterator[Picture] = self.source.pictures()
        self._timer = threading.Timer(patience_s, self.source.abort)
        self._timer.start()

    def take(self, count: int) -> list[Picture]:
        return list(islice(self.pictures, count))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        self.source.close()


def sizes(pictures: list[Picture]) -> set[tuple[int, int]]:
    return {(picture.bgr.shape[1], picture.bgr.shape[0]) for picture in pictures}


def first_error(url: str) -> str:
    with Watched(url) as camera, pytest.raises(CameraError) as error:
        camera.take(1)
    return str(error.value)


@pytest.mark.parametrize("auth", ["basic", "digest"])
def test_rtsp_with_a_password(make_rtsp: MakeRtsp, auth: str) -> None:
    server = make_rtsp(user="carer", password="s3cret", auth=auth, size="320x240")  # noqa: S106 - of this test
    with Watched(server.url) as camera:
        assert sizes(camera.take(20)) == {(320, 240)}
        titles = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)]
        ours = [title for title in titles if b"rtsp_server" not in title]
        assert any(b"concat" in title for title in ours)
        assert not any(b"s3cret" in title for title in ours)
    refused = first_error(server.url.replace("s3cret", "wr0ng"))
    assert "check user name and password" in refused
    assert "wr0ng" not in refused
    assert "check the path" in first_error(server.url.replace("/stream", "/elsewhere"))


def test_a_password_full_of_signs_is_written_with_percent(make_rtsp: MakeRtsp) -> None:
    server = make_rtsp(user="carer", password="p@ss/w'o\"r d?#&%:")  # noqa: S106 - of this test
    url = f"rtsp://carer:p%40ss%2Fw%27o%22r%20d%3F%23%26%25%3A@127.0.0.1:{server.port}/stream"
    with Watched(url) as camera:
        assert len(camera.take(5)) == 5


def test_rtsp_keeps_the_cameras_pace_and_a_probe_tells_it(make_rtsp: MakeRtsp) -> None:
    server = make_rtsp(size="640x480", fps=15)
    found = probe(parse_camera_uri(server.url), timeout_s=PATIENCE_S, look_s=3.0)
    assert (found.width, found.height, found.problem) == (640, 480, "")
    assert found.fps == pytest.approx(15, abs=1)


@pytest.mark.parametrize(("version", "auth"), [((3, 4), "basic"), ((4, 4), "digest"), ((5, 0), "digest")])
def test_rtsp_goes_over_tcp_with_every_ffmpeg(
    make_rtsp: MakeRtsp, ffmpeg: str, version: tuple[int, int], auth: str
) -> None:
    """The words for old versions are taken by new ones too."""
    if (found := find_ffmpeg(ffmpeg)) is None or found.version < version:
        pytest.skip(f"{ffmpeg} is older than {version[0]}.{version[1]}")
    server = make_rtsp(size="320x240", user="carer", password="s3cret", auth=auth)  # noqa: S106 - of this test
    source = ffmpeg_video(FFmpeg(ffmpeg, version), parse_camera_uri(server.url))
    timer = threading.Timer(PATIENCE_S, source.abort)
    timer.start()
    assert sizes(list(islice(source.pictures(), 10))) == {(320, 240)}
    pid = source._child.pid
    links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]  # noqa: PTH115
    words = Path(f"/proc/{pid}/cmdline").read_bytes()
    timer.cancel()
    source.close()
    # Over UDP there would be two sockets more, for RTP and RTCP.
    assert len([link for link in links if link.startswith("socket:")]) == 1
    assert b"s3cret" not in words


def test_an_old_ffmpeg_that_is_refused_tells_why(make_rtsp: MakeRtsp, ffmpeg: str) -> None:
    server = make_rtsp(user="carer", password="s3cret")  # noqa: S106 - of this test
    source = ffmpeg_video(FFmpeg(ffmpeg, (4, 2)), parse_camera_uri(server.url.replace("s3cret", "wr0ng")))
    with pytest.raises(CameraError, match="check user name and password") as error:
        next(source.pictures())
    source.close()
    assert "wr0ng" not in str(error.value)


def test_a_killed_server_is_told_and_comes_back_with_another_size(make_rtsp: MakeRtsp) -> None:
    server = make_rtsp(size="640x480")
    with Watched(server.url) as camera:
        assert sizes(camera.take(10)) == {(640, 480)}
        server.kill()
        with pytest.raises(CameraError, match=r"the stream has|the connection was lost|has cut"):
            camera.take(1000)
    assert "connection refused" in first_error(server.url)
    server.start(size="320x240")
    with Watched(server.url) as camera:
        assert sizes(camera.take(10)) == {(320, 240)}


@pytest.mark.parametrize("kind", [RtspServer, MjpegServer])
def test_a_server_that_stands_still_for_30_s(kind: type[RtspServer | MjpegServer]) -> None:
    with kind(size="320x240") as server:
        with Watched(server.url, patience_s=PATIENCE_S + STOPPED_S) as camera:
            camera.take(10)
            server.sigstop()
            until_s = time.monotonic() + STOPPED_S
            camera.source.abort()
            camera.take(1000)  # what was on its way; then the end, without an error
        while time.monotonic() < until_s:
            with Watched(server.url, patience_s=3.0) as camera:
                assert camera.take(1) == [], "a server that stands still gives no picture"
        server.sigcont()
        with Watched(server.url) as camera:
            assert sizes(camera.take(10)) == {(320, 240)}


def test_a_server_that_stands_still_for_a_moment_goes_on_in_the_same_connection(make_rtsp: MakeRtsp) -> None:
    server = make_rtsp(size="320x240")
    with Watched(server.url) as camera:
        camera.take(10)
        server.sigstop()
        time.sleep(2)
        server.sigcont()
        assert len(camera.take(30)) == 30


def test_an_ffmpeg_that_is_killed_is_told(make_rtsp: MakeRtsp) -> None:
    server = make_rtsp(size="320x240")
    with Watched(server.url) as camera:
        camera.take(3)
        assert isinstance(camera.source, ChildVideo)
        os.kill(camera.source._child.pid, signal.SIGKILL)
        with pytest.raises(CameraError, match="ffmpeg was ended by signal 9"):
            camera.take(1000)


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_port_that_answers_with_noise(scheme: str) -> None:
    """Whatever a peer sends: an error, or nothing until the abort; never a picture, never a crash."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(os.urandom(100_000))

        threading.Thread(target=answer, daemon=True).start()
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/stream"
        with contextlib.suppress(CameraError), Watched(url, patience_s=10) as camera:
            assert camera.take(1) == []


@pytest.mark.parametrize("mode", ["garbage", "corrupt"])
def test_an_mjpeg_camera_goes_mad_and_recovers(mode: str) -> None:
    with MjpegServer(size="320x240") as server:
        with Watched(server.url, patience_s=5) as camera:
            camera.take(10)
            server.mode(mode)
            with contextlib.suppress(CameraError):
                for picture in camera.pictures:
                    assert picture.bgr.shape == (240, 320, 3)
        server.mode("normal")
        with Watched(server.url) as camera:
            assert sizes(camera.take(10)) == {(320, 240)}


@pytest.fixture
def hls(tmp_path: Path, ffmpeg: str) -> Iterator[str]:
    """A live HLS camera: ffmpeg writes segments of a second, the standard library's server hands them out."""
    words = [ffmpeg, "-nostdin", "-loglevel", "error", "-re", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=15"]
    words += ["-c:v", "libx264", "-preset", "ultrafast", "-g", "15", "-pix_fmt", "yuv420p"]
    words += ["-f", "hls", "-hls_time", "1", "-hls_list_size", "5", "-hls_flags", "delete_segments"]
    port = free_port()
    camera = subprocess.Popen([*words, str(tmp_path / "live.m3u8")], stdin=subprocess.DEVNULL)
    server = subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(tmp_path), str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until_s = time.monotonic() + PATIENCE_S
    while not (tmp_path / "live.m3u8").exists():
        assert time.monotonic() < until_s, "ffmpeg wrote no playlist"
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    for process in (camera, server):
        process.kill()
        process.wait()


def test_hls_comes_picture_by_picture(hls: str) -> None:
    with Watched(f"{hls}/live.m3u8") as camera:
        times_s = []
        for picture in islice(camera.pictures, 60):
            assert picture.bgr.shape == (240, 320, 3)
            times_s.append(time.monotonic())
    gaps_s = [later - earlier for earlier, later in pairwise(times_s)]
    # Played at its own pace, not a segment at once: then 14 of 15 gaps would be next to nothing.
    assert sum(gap_s > 0.02 for gap_s in gaps_s) > len(gaps_s) / 2


def test_a_playlist_cannot_read_files_of_this_machine(hls: str, tmp_path: Path, ffmpeg: str) -> None:
    secret = tmp_path.parent / f"{tmp_path.name}-secret.ts"
    words = [ffmpeg, "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=15:duration=2"]
    subprocess.run([*words, str(secret)], check=True)
    head = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n"
    (tmp_path / "evil.m3u8").write_text(f"{head}file://{secret}\n#EXT-X-ENDLIST\n")
    first_error(f"{hls}/evil.m3u8")


def test_a_missing_playlist_is_told(hls: str) -> None:
    assert "404" in first_error(f"{hls}/missing.m3u8")


def test_200_reconnects_leave_nothing_behind() -> None:
    """Memory, threads, files and zombies; every other time the reader is aborted while it waits."""
    with MjpegServer(size="320x240", fps=50) as server:
        measured = []
        for number in range(WARM_UP + RECONNECTS):
            if number == WARM_UP:
                measured.append(holdings())
            server.mode("stall" if number % 2 else "normal")
            with Watched(server.url) as camera:
                if number % 2:
                    threading.Timer(0.02, camera.source.abort).start()
                    camera.take(1000)
                else:
                    assert len(camera.take(2)) == 2
        measured.append(holdings())
    (memory, threads, files, children), (memory_later, *later) = measured
    assert later == [threads, files, children]
    assert children == 0
    assert memory_later - memory < MAX_GROWTH_BYTES, f"grew by {(memory_later - memory) / 1e3:.0f} kB"
    print(f"{RECONNECTS} reconnects: memory grew by {(memory_later - memory) / 1e3:.0f} kB")  # noqa: T201


def test_200_refused_connections_leave_nothing_behind() -> None:
    url = f"rtsp://carer:s3cret@127.0.0.1:{free_port()}/stream"
    measured = []
    for number in range(WARM_UP + RECONNECTS):
        if number == WARM_UP:
            measured.append(holdings())
        assert "connection refused" in first_error(url)
    measured.append(holdings())
    (memory, *before), (memory_later, *later) = measured
    assert later == before
    assert memory_later - memory < MAX_GROWTH_BYTES, f"grew by {(memory_later - memory) / 1e3:.0f} kB"


def holdings() -> tuple[int, int, int, int]:
    """Resident bytes, threads, open files and children (zombies too) of this process, its servers left out."""
    gc.collect()
    until_s = time.monotonic() + 10
    while threading.active_count() > 1 and time.monotonic() < until_s:  # timers that have just fired
        time.sleep(0.05)
    memory = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    tasks = Path("/proc/self/task").iterdir()
    pids = [pid for task in tasks for pid in (task / "children").read_text().split()]
    children = [pid for pid in pids if b"mjpeg_server" not in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return memory, threading.active_count(), files, len(children)


def test_8_cameras_are_read_at_once_and_one_that_hangs_disturbs_none() -> None:
    counts = [0] * 9
    with MjpegServer(size="640x360", fps=15) as server, MjpegServer(mode="stall") as hanging:
        sources = [open_source(parse_camera_uri(url)) for url in [server.url] * 8 + [hanging.url]]
        stop_s = time.monotonic() + 6

        def read(number: int, source: Source) -> None:
            for _ in source.pictures():
                counts[number] += 1
                if time.monotonic() > stop_s:
                    return

        threads = [threading.Thread(target=partial(read, *each)) for each in enumerate(sources)]
        for thread in threads:
            thread.start()
        for thread in threads[:8]:
            thread.join(PATIENCE_S)
        sources[8].abort()
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
        for source in sources:
            source.close()
    assert counts[8] == 0
    # The server shows each the same pictures; one that is starved would fall behind the others.
    assert min(counts[:8]) >= 0.8 * max(counts[:8]) > 0

"""Network cameras: how ffmpeg is called, and a real MJPEG camera on loopback. RTSP and HLS: tests/system."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from streamservers import MjpegServer, free_port
from test_capture import pictures

from edge_fer.capture.open import open_source
from edge_fer.capture.program import ChildVideo
from edge_fer.capture.redirect import Redirect, is_own_connection
from edge_fer.capture.snapshot import Snapshots, is_snapshot
from edge_fer.capture.stream import FFmpeg, command, explain, ffmpeg_version, find_ffmpeg, playlist
from edge_fer.capture.uri import parse_camera_uri
from edge_fer.errors import CameraError

OLD, NEW = FFmpeg("/usr/bin/ffmpeg", (3, 4)), FFmpeg("/usr/bin/ffmpeg", (7, 1))


@pytest.fixture(scope="module")
def camera() -> Iterator[MjpegServer]:
    with MjpegServer(size="321x241", fps=20, user="carer", password="s3cret") as server:  # noqa: S106 - of this test
        yield server


@pytest.fixture
def ffmpeg() -> str:
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("ffmpeg is not installed (apt install ffmpeg): streams by ffmpeg NOT tested")
    return program


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("ffmpeg version 3.4.11-0ubuntu0.1 Copyright (c) 2000-2022", (3, 4)),
        ("ffmpeg version 5.1.9-0+deb12u1 Copyright", (5, 1)),
        ("ffmpeg version n7.1 Copyright", (7, 1)),
        ("ffmpeg version N-117000-g1234abc Copyright", (99, 0)),
        ("ffmpeg version 8.0.1-static", (8, 0)),
    ],
)
def test_versions_of_ffmpeg_are_told_apart(text: str, version: tuple[int, int]) -> None:
    assert ffmpeg_version(text) == version


def test_an_old_ffmpeg_gets_only_what_it_knows() -> None:
    words = command(OLD, "rtsp://host/path")
    assert "-fps_mode" not in words
    assert words[words.index("-vsync") + 1] == "0"
    assert playlist(OLD, "http://u:p@host/path") == "ffconcat version 1.0\nfile 'http://u:p@host/path'\n"
    redirected = command(OLD, "rtsp://u:s3cret@host/path", "rtsp://127.0.0.1:40000/")
    assert redirected[redirected.index("-rtsp_transport") + 1] == "tcp"
    assert redirected[redirected.index("-i") + 1] == "rtsp://127.0.0.1:40000/"
    assert not any("s3cret" in word for word in redirected)


def test_a_new_ffmpeg_is_told_by_options() -> None:
    words = command(NEW, "rtsp://host/path")
    assert words[words.index("-fps_mode") + 1] == "passthrough"
    text = playlist(NEW, "rtsp://host/path")
    assert "file 'rtsp://host/path'\n" in text
    assert "option rtsp_transport tcp\n" in text
    assert "option allowed_media_types video\n" in text
    assert "rtsp_transport" not in playlist(NEW, "http://host/path")


def ask(address: str) -> bytes:
    port = int(address.rpartition(":")[2].strip("/"))
    with socket.create_connection(("127.0.0.1", port), timeout=30) as visitor:
        visitor.sendall(b"OPTIONS rtsp://127.0.0.1 RTSP/1.0\r\nCSeq: 7\r\n\r\n")
        return visitor.recv(4096)


def test_a_redirect_tells_the_address_once() -> None:
    redirect = Redirect("rtsp://carer:s3cret@host/path")
    assert ask(redirect.address) == (
        b"RTSP/1.0 302 Found\r\nCSeq: 7\r\nLocation: rtsp://carer:s3cret@host/path\r\n\r\n"
    )
    redirect.close()
    with pytest.raises(ConnectionRefusedError):
        ask(redirect.address)


def test_a_redirect_that_nobody_visits_is_closed_at_once() -> None:
    before = threading.active_count()
    redirect = Redirect("rtsp://host/path")
    redirect.close()
    redirect.close()
    assert threading.active_count() == before


def test_a_redirect_tells_nothing_to_other_users(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    table = tmp_path / "net" / "tcp"
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    row = "   0: 0100007F:9C40 0100007F:9C41 01 00000000:00000000 00:00000000 00000000 {}        0 12345 1\n"
    table.write_text(head + row.format(os.geteuid()))
    assert is_own_connection(40000, 40001, tmp_path)
    assert not is_own_connection(40001, 40000, tmp_path)
    table.write_text(head + row.format(os.geteuid() + 1))
    assert not is_own_connection(40000, 40001, tmp_path)
    table.write_text(head)
    assert not is_own_connection(40000, 40001, tmp_path)


def test_no_word_of_the_command_holds_the_address() -> None:
    assert not any("s3cret" in word or "host" in word for word in command(NEW, "rtsp://u:s3cret@host/path"))


def test_files_of_this_machine_are_out_of_reach_of_a_camera() -> None:
    words = command(NEW, "http://host/list.m3u8")
    assert "file" not in words[words.index("-protocol_whitelist") + 1].split(",")


@pytest.mark.parametrize(
    ("url", "paced"),
    [
        ("http://host/live/list.m3u8?token=1", True),
        ("https://host/clip.MP4", True),
        ("http://host/video.mjpg", False),
        ("http://host/stream", False),
        ("rtsp://host/clip.mp4/track1", False),
    ],
)
def test_what_can_be_fetched_ahead_is_played_at_its_own_pace(url: str, *, paced: bool) -> None:
    assert ("-re" in command(NEW, url)) is paced


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["[rtsp @ 0x55] method DESCRIBE failed: 401 Unauthorized", "pipe:0: x"], "check user name and password"),
        (["pipe:0: Server returned 404 Not Found"], "check the path"),
        (["[tcp @ 0x5] Connection to tcp://10.0.0.9:554?timeout=0 failed: Connection refused"], "connection refused"),
        (["[tcp @ 0x5] Failed to resolve hostname cam: Name or service not known"], "name is not known"),
        (["Stream map '0:v:0' matches no streams."], "no video stream"),
        (["[https @ 0x5] Protocol 'file' not on whitelist 'pipe,tcp'!"], "of a kind that is not read"),
        (["[concat @ 0x5] Impossible to open 'rtsp://u:p@h'", "[h264 @ 0x55d0] no frame!"], "no frame!"),
        (["[concat @ 0x5] Impossible to open 'rtsp://u:p@h'"], None),
        ([], None),
    ],
)
def test_what_ffmpeg_says_becomes_a_reason(words: list[str], told: str | None) -> None:
    reason = explain(words)
    assert told is None if reason is None else told is not None and told in reason


def test_an_mjpeg_camera_with_a_password(camera: MjpegServer, ffmpeg: str) -> None:
    found = pictures(camera.url, 5)
    # 4:2:0 knows only even sizes.
    assert [picture.bgr.shape for picture in found] == 5 * [(240, 320, 3)]
    assert found[0].clip_ns is None
    assert ffmpeg


def test_the_password_is_in_no_process_title(camera: MjpegServer, ffmpeg: str) -> None:
    source = open_source(parse_camera_uri(camera.url))
    assert isinstance(source, ChildVideo)
    next(source.pictures())
    titles = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)]
    source.close()
    assert any(title.startswith(ffmpeg.encode()) and b"concat" in title for title in titles)
    ours = [title for title in titles if b"mjpeg_server" not in title]
    assert not any(b"s3cret" in title for title in ours)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("s3cret", "wrong"), "401 Unauthorized: check user name and password"),
        (("/stream", "/elsewhere"), "404 Not Found: check the path"),
    ],
)
def test_what_a_camera_refuses_is_told_without_the_password(
    camera: MjpegServer, ffmpeg: str, change: tuple[str, str], told: str
) -> None:
    assert ffmpeg
    with pytest.raises(CameraError, match=told) as error:
        pictures(camera.url.replace(*change), 1)
    assert "wrong" not in str(error.value)
    assert "s3cret" not in str(error.value)


def test_nobody_there_is_told(ffmpeg: str) -> None:
    assert ffmpeg
    with pytest.raises(CameraError, match="connection refused"):
        pictures(f"rtsp://carer:s3cret@127.0.0.1:{free_port()}/stream", 1)


def test_a_camera_that_says_nothing_is_left_by_an_abort(ffmpeg: str) -> None:
    assert ffmpeg
    with MjpegServer(mode="stall") as server:
        source = open_source(parse_camera_uri(server.url))
        threading.Timer(0.5, source.abort).start()
        assert list(source.pictures()) == []
        source.close()


def test_garbage_is_told_and_the_camera_comes_back(ffmpeg: str) -> None:
    assert ffmpeg
    with MjpegServer(mode="garbage") as server:
        with pytest.raises(CameraError, match="no video stream"):
            pictures(server.url, 1)
        server.mode("normal")
        assert len(pictures(server.url, 3)) == 3


def test_without_ffmpeg_opencv_reads_and_the_log_says_so_once(
    camera: MjpegServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    find_ffmpeg.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert [picture.bgr.shape for picture in pictures(camera.url, 2)] == 2 * [(241, 321, 3)]
    assert caplog.text.count("install ffmpeg") == 1


def test_an_ffmpeg_that_does_not_run_counts_as_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = tmp_path / "ffmpeg"
    broken.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('error while loading shared libraries')\n")
    broken.chmod(0o755)
    assert find_ffmpeg(str(broken)) is None
    assert "does not run" in caplog.text


@pytest.mark.parametrize(
    ("url", "snapshot"),
    [
        ("http://host/snapshot.jpg", True),
        ("http://host/cgi-bin/snapshot.cgi?channel=1", True),
        ("http://host:8080/?action=snapshot", True),
        ("https://host/picture.PNG?x=1", True),
        ("http://host/video.mjpg", False),
        ("http://host/?action=stream", False),
        ("rtsp://host/snapshot", False),
    ],
)
def test_an_address_of_one_picture_is_known(url: str, *, snapshot: bool) -> None:
    assert is_snapshot(url) is snapshot


def test_a_snapshot_is_fetched_again_and_again(camera: MjpegServer) -> None:
    source = Snapshots(parse_camera_uri(camera.url.replace("/stream", "/snapshot.jpg")), period_s=0.01)
    shapes = [picture.bgr.shape for picture in islice(source.pictures(), 3)]
    assert shapes == 3 * [(241, 321, 3)]
    source.abort()
    assert list(source.pictures()) == []
    source.close()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [("s3cret", "wrong", "401.*check user name and password"), ("snapshot.jpg", "missing.jpg", "404")],
)
def test_a_snapshot_that_is_refused_is_told(camera: MjpegServer, old: str, new: str, told: str) -> None:
    url = camera.url.replace("/stream", "/snapshot.jpg").replace(old, new)
    with pytest.raises(CameraError, match=told) as error:
        pictures(url, 1)
    assert "s3cret" not in str(error.value)


def test_a_stream_at_the_address_of_a_snapshot_is_told(camera: MjpegServer) -> None:
    with pytest.raises(CameraError, match="gives a stream, not one picture"):
        pictures(camera.url.replace("/stream", "/stream/snapshot"), 1)


def test_a_snapshot_waits_between_pictures_but_not_after_an_abort(camera: MjpegServer) -> None:
    source = Snapshots(parse_camera_uri(camera.url.replace("/stream", "/snapshot.jpg")), period_s=3600)
    found = source.pictures()
    next(found)
    threading.Timer(0.2, source.abort).start()
    started_s = time.monotonic()
    assert list(found) == []
    assert time.monotonic() - started_s < 3000

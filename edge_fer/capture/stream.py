"""Network cameras: RTSP and HTTP (MJPEG, HLS) by an ffmpeg child, or by OpenCV where there is no ffmpeg.

A peer that hangs hangs the child, which is killed. The address with its password is sent to ffmpeg's standard input,
as a playlist of its concat demuxer, because the words of a command can be read by everyone on the machine. Playlists
before ffmpeg 5.0 cannot choose TCP for RTSP: there, a redirect on loopback tells the address.

When a stream opens, the pictures that ffmpeg has looked at to learn the format come in a burst, up to a second old: the
inbox, where the newest frame wins, passes over them.
"""

from __future__ import annotations

import functools
import logging
import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

from edge_fer.capture.child import Child
from edge_fer.capture.program import ChildVideo, without_origin
from edge_fer.capture.raw import y4m_pictures
from edge_fer.capture.redirect import Redirect
from edge_fer.capture.snapshot import Snapshots, is_snapshot
from edge_fer.capture.source import Source
from edge_fer.capture.uri import CameraUri
from edge_fer.capture.video import OpenCvStream
from edge_fer.errors import CameraError

log = logging.getLogger(__name__)

PROTOCOLS = "pipe,rtp,udp,tcp,tls,rtmp,http,https,httpproxy,crypto,data"
"""No `file`: a camera's playlist must not read this machine's files."""

LOOK_US = 1_000_000
"""How much of a stream is read, at most, to learn its format; 5 s by default."""

FPS_MODE_SINCE, OPTIONS_SINCE = (5, 1), (5, 0)
"""ffmpeg's versions that know -fps_mode, and `option` in a concat playlist."""

_AHEAD = re.compile(r"\.(m3u8|mp4|mov|mkv|webm|ts|avi)$", re.IGNORECASE)
"""What can be fetched faster than it was filmed, and is then played at its own pace."""

_CAUSES = {
    "401 Unauthorized": "401 Unauthorized: check user name and password",
    "authorization failed": "401 Unauthorized: check user name and password",
    "403 Forbidden": "403 Forbidden: this user may not see the stream",
    "404 Not Found": "404 Not Found: check the path of the address",
    "Connection refused": "connection refused: nothing listens at this host and port",
    "No route to host": "no route to the host: is the camera on, and in this network?",
    "Network is unreachable": "the network is unreachable",
    "Connection timed out": "the connection timed out: is the camera on, and in this network?",
    "Failed to resolve hostname": "the host's name is not known",
    "Connection reset by peer": "the camera has cut the connection",
    "not on whitelist": "the stream refers to an address of a kind that is not read",
    "matches no streams": "no video stream in it",
    "does not contain any stream": "no video stream in it",
    "Input/output error": "the connection was lost",
    "Invalid data found": "what comes is no video stream",
    "Protocol not found": "this ffmpeg does not know the address's protocol",
}
"""What ffmpeg says, and what it means to people; the first that occurs counts."""


class FFmpeg(NamedTuple):
    """An ffmpeg that runs."""

    program: str
    version: tuple[int, int]


def open_url(uri: CameraUri) -> Source:
    """The stream at an address, or the pictures of a snapshot address."""
    if is_snapshot(uri.target):
        return Snapshots(uri)
    ffmpeg = find_ffmpeg(shutil.which("ffmpeg"))
    if ffmpeg is None:
        return OpenCvStream(uri)
    return ffmpeg_video(ffmpeg, uri)


def ffmpeg_video(ffmpeg: FFmpeg, uri: CameraUri) -> ChildVideo:
    """The stream as this ffmpeg delivers it."""
    if uri.target.lower().startswith("rtsp://") and ffmpeg.version < OPTIONS_SINCE:
        redirect = Redirect(uri.target)
        send, source, on_close = b"", redirect.address, redirect.close
    else:
        send, source, on_close = playlist(ffmpeg, uri.target).encode(), None, None
    try:
        child = Child(command(ffmpeg, uri.target, source), install="ffmpeg", send=send)
    except CameraError:
        if on_close:
            on_close()
        raise
    return ChildVideo(str(uri), child, y4m_pictures, partial(_cause, child), on_close)


@functools.lru_cache(maxsize=4)
def find_ffmpeg(program: str | None) -> FFmpeg | None:
    """The ffmpeg with its version; None, with a line in the log, where it is missing or does not run."""
    if program is None:
        log.warning("ffmpeg is not installed: streams are read by OpenCV, which can hang longer; install ffmpeg")
        return None
    try:
        ran = subprocess.run(
            [program, "-version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError) as err:
        log.warning("%s does not run (%s): streams are read by OpenCV; install ffmpeg again", program, err)
        return None
    return FFmpeg(program, ffmpeg_version(ran.stdout))


def ffmpeg_version(text: str) -> tuple[int, int]:
    """Major and minor version in what `ffmpeg -version` says; builds from a repository count as new."""
    match = re.search(r"ffmpeg version n?(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (99, 0)


def command(ffmpeg: FFmpeg, url: str, rtsp_source: str | None = None) -> list[str]:
    """The words that turn a stream into YUV4MPEG2 on standard output.

    `url` is not among them: it comes by `playlist` on standard input, or from `rtsp_source`.
    """
    words = [ffmpeg.program, "-nostdin", "-hide_banner", "-loglevel", "error"]
    words += ["-re"] if _AHEAD.search(urlsplit(url).path) else []
    words += ["-threads", "1", "-analyzeduration", str(LOOK_US), "-fpsprobesize", "0"]
    if rtsp_source:
        words += ["-rtsp_transport", "tcp", "-allowed_media_types", "video", "-i", rtsp_source]
    else:
        words += ["-protocol_whitelist", PROTOCOLS, "-f", "concat", "-safe", "0", "-i", "pipe:0"]
    words += ["-map", "0:v:0", "-an", "-sn", "-dn", "-vf", "crop=trunc(iw/2)*2:trunc(ih/2)*2", "-threads", "1"]
    words += ["-fps_mode", "passthrough"] if ffmpeg.version >= FPS_MODE_SINCE else ["-vsync", "0"]
    return [*words, "-pix_fmt", "yuv420p", "-flush_packets", "1", "-f", "yuv4mpegpipe", "pipe:1"]


def playlist(ffmpeg: FFmpeg, url: str) -> str:
    """The address for ffmpeg's concat demuxer; an address holds no quotes, `parse_camera_uri` sees to it."""
    options = {"analyzeduration": str(LOOK_US), "fpsprobesize": "0"}
    if url.lower().startswith("rtsp"):
        options |= {"rtsp_transport": "tcp", "allowed_media_types": "video"}
    known = ffmpeg.version >= OPTIONS_SINCE
    lines = [f"option {name} {value}" for name, value in options.items()] if known else []
    return "\n".join(["ffconcat version 1.0", f"file '{url}'", *lines, ""])


def explain(words: Sequence[str]) -> str | None:
    """The cause in ffmpeg's last messages, if they tell one."""
    text = "\n".join(words)
    for said, meant in _CAUSES.items():
        if said in text:
            return meant
    useful = [line for line in words if "Impossible to open" not in line]
    return without_origin(useful[-1]) if useful else None


def _cause(child: Child, words: Sequence[str], *, seen: bool) -> str | None:
    cause = explain(words) or ("the stream has ended" if child.exit_code() == 0 else None)
    return "the stream has broken off" if seen and cause == _CAUSES["Invalid data found"] else cause

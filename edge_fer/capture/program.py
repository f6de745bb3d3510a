"""Cameras behind a program: CSI cameras of a Jetson or a Raspberry Pi, and whatever writes pictures to a pipe."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from typing import Protocol

from edge_fer.capture.child import FRAMES_FD, Child
from edge_fer.capture.raw import Image, ReadInto, raw_pictures, y4m_pictures
from edge_fer.capture.source import Picture, checked
from edge_fer.capture.uri import CameraUri
from edge_fer.errors import CameraError
from edge_fer.privacy import hide_password

CSI_SIZE, CSI_FPS = (1280, 720), 30.0
RPICAM_SIZE, RPICAM_FPS = (640, 480), 15.0

_COMPLAINT = re.compile(r"error|fail|cannot|could not|unable|denied|busy|not |no ", re.IGNORECASE)
_ORIGIN = re.compile(r"^(\[[^\]]*\]\s*)+|^(\d+:)+[\d.]+\s*|^(ERROR|WARNING|WARN|INFO):\s*")


class Explain(Protocol):
    """The cause in the last messages of a program, if it is there."""

    def __call__(self, words: Sequence[str], *, seen: bool) -> str | None:
        """`seen`: whether pictures have come before."""


class ChildVideo:
    """The pictures of a child process, until it ends, which a camera never should."""

    finite = False
    lossless = False

    def __init__(
        self,
        name: str,
        child: Child,
        decode: Callable[[ReadInto], Iterator[Image]],
        explain: Explain,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self._name, self._child, self._decode, self._explain = name, child, decode, explain
        self._on_close, self._seen = on_close, False

    def pictures(self) -> Iterator[Picture]:
        """Pictures as they come; after `abort` they just end."""
        try:
            for image in self._decode(self._child.read_into):
                self._child.forget_words()
                self._seen = True
                yield Picture(checked(image, self._name), None, None)
        except CameraError as err:
            raise CameraError(f"{self._name}: {err}") from err
        if not self._child.aborted:
            raise CameraError(f"{self._name}: {self._cause()}")

    def _cause(self) -> str:
        words = self._child.last_words()
        return hide_password(self._explain(words, seen=self._seen) or self._child.ending())

    def abort(self) -> None:
        """Kill the program."""
        self._child.abort()

    def close(self) -> None:
        """Kill and reap the program."""
        self._child.close()
        if self._on_close:
            self._on_close()


def open_command(uri: CameraUri) -> ChildVideo:
    """`exec:COMMAND`: started without a shell."""
    child = Child(shlex.split(uri.target), install="the package that has it, or give its whole path")
    size, pixel_format = uri.size(), uri.pixel_format()
    decode = partial(raw_pictures, size=size, pixel_format=pixel_format) if size and pixel_format else y4m_pictures
    return ChildVideo(str(uri), child, decode, partial(explain, child))


def open_csi(uri: CameraUri) -> ChildVideo:
    """`csi:N` on a Jetson. nvarguscamerasrc talks on standard output, so the frames have a descriptor of their own."""
    width, height = uri.size() or CSI_SIZE
    fps = Fraction(uri.number("fps", CSI_FPS)).limit_denominator(1001)
    shape = f"width={width},height={height},framerate={fps.numerator}/{fps.denominator}"
    command = ["gst-launch-1.0", "-q", "nvarguscamerasrc", f"sensor-id={uri.target}"]
    command += ["!", f"video/x-raw(memory:NVMM),{shape}"]
    command += ["!", "nvvidconv", "!", f"video/x-raw,format=I420,width={width},height={height}"]
    command += ["!", "fdsink", f"fd={FRAMES_FD}", "sync=false"]
    child = Child(command, install="gstreamer1.0-tools and, on JetPack, nvidia-l4t-gstreamer")
    decode = partial(raw_pictures, size=(width, height), pixel_format="i420")
    return ChildVideo(str(uri), child, decode, partial(_explain_gstreamer, child))


def open_rpicam(uri: CameraUri) -> ChildVideo:
    """`rpicam:N` on a Raspberry Pi. Its raw pictures use all 256 levels."""
    width, height = uri.size() or RPICAM_SIZE
    program = "rpicam-vid" if shutil.which("rpicam-vid") or not shutil.which("libcamera-vid") else "libcamera-vid"
    command = [program, "--camera", uri.target, "--codec", "yuv420", "--nopreview", "--timeout", "0", "--flush"]
    command += ["--width", str(width), "--height", str(height), "--framerate", f"{uri.number('fps', RPICAM_FPS):g}"]
    child = Child([*command, "--output", "-"], install="rpicam-apps (before Raspberry Pi OS 12: libcamera-apps)")
    decode = partial(raw_pictures, size=(width, height), pixel_format="i420", full_range=True)
    return ChildVideo(str(uri), child, decode, partial(explain, child))


def explain(child: Child, words: Sequence[str], *, seen: bool = False) -> str | None:  # noqa: ARG001 - as Explain
    """How the program has ended, with its last complaint, or else its last message."""
    if not words:
        return None
    complaint = next((line for line in reversed(words) if _COMPLAINT.search(line)), words[-1])
    return f"{child.ending()}: {without_origin(complaint)}"


def without_origin(line: str) -> str:
    """A message without the `[part @ 0x55d0]`, time or level before it."""
    return _ORIGIN.sub("", line).strip() or line


def _explain_gstreamer(child: Child, words: Sequence[str], *, seen: bool) -> str | None:
    for line in words:
        if match := re.search(r'no element "(\w+)"', line):
            package = "nvidia-l4t-gstreamer (JetPack)" if match[1].startswith("nv") else "gstreamer1.0-plugins-base"
            return f"GStreamer has no {match[1]}; install {package}"
    if any("No cameras available" in line for line in words):
        return "no such camera on the CSI connectors; is its ribbon cable seated, its device tree overlay chosen?"
    return explain(child, words, seen=seen)

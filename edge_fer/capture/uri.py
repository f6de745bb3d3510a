"""The syntax of a camera's address.

/dev/video0                        v4l2:/dev/v4l/by-id/NAME?size=640x480&fps=15
rtsp://, rtsps://, http://, https://
clip.mp4                           file:clip.mp4?loop=1&realtime=1
face.jpg, FOLDER                   images:FOLDER?fps=10&seconds=1
csi:0?size=1280x720&fps=15         a CSI camera of a Jetson
rpicam:0?size=640x480&fps=15       a CSI camera of a Raspberry Pi
exec:COMMAND                       any program that writes YUV4MPEG2 to its standard output,
exec:COMMAND?size=640x480&format=i420     or bare frames (i420, bgr24, gray8)
sample:                            the sample clip
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from edge_fer.capture.source import MAX_PIXELS, MIN_SIDE_PX
from edge_fer.errors import ConfigError
from edge_fer.privacy import hide_password

Scheme = Literal["v4l2", "file", "images", "csi", "rpicam", "exec", "sample", "url"]

OPTIONS: dict[Scheme, tuple[str, ...]] = {
    "v4l2": ("size", "fps"),
    "file": ("loop", "realtime"),
    "images": ("loop", "realtime", "fps", "seconds"),
    "csi": ("size", "fps"),
    "rpicam": ("size", "fps"),
    "exec": ("size", "format"),
    "sample": ("loop", "realtime"),
    "url": (),
}
"""What may stand after the question mark."""

LIMITS = {"fps": (0.1, 1000.0), "seconds": (0.001, 3600.0)}
"""Smallest and largest value of options that are numbers."""

SIZE_STEPS: dict[Scheme, tuple[int, int]] = {"csi": (8, 2), "rpicam": (64, 2)}
"""Width and height are multiples of these: the boards' programs write other pictures with padding in each row."""

FORMATS = ("i420", "bgr24", "gray8")
LIVE: tuple[Scheme, ...] = ("v4l2", "url", "csi", "rpicam", "exec")
STREAM = re.compile(r"^(rtsps?|https?|rtmp|udp|tcp)://", re.IGNORECASE)
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm")

MAX_URL_CHARS = 2000
MAX_SENSOR = 15

_SECRET_ARGUMENT = re.compile(r"(?<!\S)(--?(?:u|user|pass|passwd|password|pwd|token|key|secret|auth)[= ])\S+")


@dataclass(frozen=True, slots=True)
class CameraUri:
    """A camera's address, taken apart."""

    scheme: Scheme
    target: str = field(repr=False)  # may hold a password
    options: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """For people: without a password."""
        if self.scheme == "sample":
            return "sample clip"
        if self.scheme in ("csi", "rpicam", "exec"):
            return f"{self.scheme}:" + _SECRET_ARGUMENT.sub(r"\1***", hide_password(self.target))
        return hide_password(self.target)

    @property
    def live(self) -> bool:
        """Whether it is a camera, which may be away for a while, and not a file, which is right or wrong."""
        return self.scheme in LIVE

    def flag(self, name: str) -> bool:
        """An option that is 1 or 0, 0 by default."""
        value = self.options.get(name, "0")
        if value not in ("0", "1"):
            raise ConfigError(f"{self}: {name}={value}; use {name}=1 or {name}=0")
        return value == "1"

    def number(self, name: str, default: float) -> float:
        """An option that is a number within its limits."""
        text = self.options.get(name)
        if text is None:
            return default
        low, high = LIMITS[name]
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ConfigError(f"{self}: {name}={text}; use a number from {low:g} to {high:g}")
        return value

    def size(self) -> tuple[int, int] | None:
        """Width and height in pixels, from size=640x480."""
        text = self.options.get("size")
        if text is None:
            return None
        match = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", text)
        if not match:
            raise ConfigError(f"{self}: size={text}; use size=640x480")
        width, height = int(match[1]), int(match[2])
        if min(width, height) < MIN_SIDE_PX or width * height > MAX_PIXELS:
            raise ConfigError(
                f"{self}: size={text}; use at least {MIN_SIDE_PX} px on each side and at most "
                f"{MAX_PIXELS / 1e6:.0f} MP (8K)"
            )
        step_x, step_y = self._size_step()
        if width % step_x or height % step_y:
            near = f"{max(step_x, width - width % step_x)}x{max(step_y, height - height % step_y)}"
            raise ConfigError(
                f"{self}: size={text}; the width must be a multiple of {step_x}, the height of {step_y}: {near}"
            )
        return width, height

    def pixel_format(self) -> str | None:
        """What bare frames on a pipe hold: i420, bgr24 or gray8; None for YUV4MPEG2, which tells it itself."""
        text = self.options.get("format")
        if text is not None and text not in FORMATS:
            raise ConfigError(f"{self}: format={text}; use {', '.join(FORMATS)}")
        if (text is None) != ("size" not in self.options):
            raise ConfigError(
                f"{self}: size and format go together, for bare frames; without both, the command writes YUV4MPEG2"
            )
        return text

    def _size_step(self) -> tuple[int, int]:
        return (2, 2) if self.options.get("format") == "i420" else SIZE_STEPS.get(self.scheme, (1, 1))


def parse_camera_uri(text: str) -> CameraUri:
    """Take an address apart; ConfigError where it makes no sense. Nothing is opened."""
    if STREAM.match(text):
        return _checked_url(text)
    scheme: Scheme | None = next((name for name in OPTIONS if name != "url" and text.startswith(f"{name}:")), None)
    if scheme is None:
        if match := re.match(r"^[a-z][a-z0-9+.-]+:", text, re.IGNORECASE):
            known = ", ".join(f"{name}:" for name in OPTIONS if name != "url")
            raise ConfigError(
                f"{_without_login(text)}: unknown kind of camera {match[0]!r}; "
                f"known: {known}, rtsp://, rtsps://, http://, https://"
            )
        # A plain path is taken as it is, question marks and all.
        return CameraUri(_scheme_of_path(text), text)
    uri = _exec_uri(text) if scheme == "exec" else _uri_with_options(scheme, text)
    _check_target(uri)
    _check_options(uri)
    return uri


def _uri_with_options(scheme: Scheme, text: str) -> CameraUri:
    target, _, query = text.removeprefix(f"{scheme}:").partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in OPTIONS[scheme]:
            raise ConfigError(f"{text}: unknown option {name!r}; {scheme}: takes {', '.join(OPTIONS[scheme])}")
    return CameraUri(scheme, target, options)


def _exec_uri(text: str) -> CameraUri:
    """A command may hold question marks: what follows the last one is options only if every part of it is one."""
    command = text.removeprefix("exec:")
    before, mark, query = command.rpartition("?")
    options = dict(part.partition("=")[::2] for part in query.split("&"))
    if mark and "=" in query and all(name in OPTIONS["exec"] for name in options):
        return CameraUri("exec", before, options)
    return CameraUri("exec", command)


def _checked_url(text: str) -> CameraUri:
    shown = _without_login(text)
    if re.search(r"""[\s"'<>\\\x00-\x1f\x7f]""", text):
        raise ConfigError(f"{shown}: a space, quote or backslash in an address is written %20, %27, %22 or %5C")
    if len(text) > MAX_URL_CHARS:
        raise ConfigError(f"{shown[:100]}...: the address has {len(text)} characters; at most {MAX_URL_CHARS} are read")
    try:
        parts = urlsplit(text)
        complete = bool(parts.hostname) and parts.port != 0
    except ValueError:
        complete = False
    if not complete:
        raise ConfigError(
            f"{shown}: use rtsp://user:password@host:554/path; / ? # @ : in a password are written %2F ..."
        )
    return CameraUri("url", text)


def _without_login(text: str) -> str:
    """The text without all that stands before the last @: also where a stray quote would end a password early."""
    scheme, mark, rest = text.partition("://")
    hidden = f"{scheme}{mark}***@{rest.rpartition('@')[2]}" if mark and "@" in rest else text
    return hide_password(hidden)


def _check_target(uri: CameraUri) -> None:
    if uri.scheme in ("csi", "rpicam") and not (uri.target.isdecimal() and int(uri.target) <= MAX_SENSOR):
        raise ConfigError(f"{uri}: {uri.scheme}:0 is the first camera, {uri.scheme}:1 the second ...")
    if uri.scheme in ("v4l2", "file", "images") and not uri.target:
        raise ConfigError(f"{uri.scheme}: names nothing; use {uri.scheme}:PATH")
    if uri.scheme == "exec":
        try:
            words = shlex.split(uri.target)
        except ValueError as err:
            raise ConfigError(f"{uri}: the command cannot be taken apart ({str(err).lower()})") from err
        if not words:
            raise ConfigError("exec: names no command; use exec:PROGRAM ARGUMENTS")


def _check_options(uri: CameraUri) -> None:
    for name in uri.options:
        if name in LIMITS:
            uri.number(name, 0)
        elif name == "size":
            uri.size()
        elif name in ("loop", "realtime"):
            uri.flag(name)
    if uri.scheme == "exec":
        uri.pixel_format()


def _scheme_of_path(path: str) -> Scheme:
    # os.path.isdir, unlike Path.is_dir, does not raise where a folder on the way may not be entered.
    if path.startswith("/dev/"):
        return "v4l2"
    return "images" if path.lower().endswith(PICTURES) or os.path.isdir(path) else "file"  # noqa: PTH112

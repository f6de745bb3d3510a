"""The syntax of a camera: `/dev/video0`, `clip.mp4`, `file:clip.mp4?loop=1`, `images:FOLDER`, `sample:`, `rtsp://...`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl

from edge_fer.errors import ConfigError
from edge_fer.privacy import hide_password

Scheme = Literal["v4l2", "file", "images", "sample", "url"]

OPTIONS: dict[Scheme, tuple[str, ...]] = {
    "v4l2": ("size", "fps"),
    "file": ("loop", "realtime"),
    "images": ("loop", "realtime", "fps", "seconds"),
    "sample": ("loop", "realtime"),
    "url": (),
}
"""What may stand after the question mark."""

LIMITS = {"fps": (0.1, 1000.0), "seconds": (0.001, 3600.0)}
"""Smallest and largest value of options that are numbers."""

STREAM = re.compile(r"^(rtsps?|https?|rtmp|udp|tcp)://", re.IGNORECASE)
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm")


@dataclass(frozen=True, slots=True)
class CameraUri:
    """A camera's address, taken apart."""

    scheme: Scheme
    target: str
    options: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """For people: without a password."""
        return hide_password(self.target) if self.scheme != "sample" else "sample clip"

    @property
    def live(self) -> bool:
        """Whether it is a camera, which may be away for a while, and not a file, which is right or wrong."""
        return self.scheme in ("v4l2", "url")

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
        match = re.fullmatch(r"([1-9]\d{1,4})x([1-9]\d{1,4})", text)
        if not match:
            raise ConfigError(f"{self}: size={text}; use size=640x480")
        return int(match[1]), int(match[2])


def parse_camera_uri(text: str) -> CameraUri:
    """Take an address apart; ConfigError where it makes no sense. Nothing is opened."""
    if STREAM.match(text):
        return CameraUri("url", text)
    scheme: Scheme | None = next((name for name in OPTIONS if name != "url" and text.startswith(f"{name}:")), None)
    if scheme is None:
        if match := re.match(r"^[a-z][a-z0-9+.-]+:", text):
            raise ConfigError(
                f"{text}: unknown kind of camera {match[0]!r}; known: {', '.join(OPTIONS)}, rtsp://, http://"
            )
        # A plain path is taken as it is, question marks and all.
        return CameraUri(_scheme_of_path(text), text)
    target, _, query = text.removeprefix(f"{scheme}:").partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in OPTIONS[scheme]:
            raise ConfigError(f"{text}: unknown option {name!r}; {scheme}: takes {', '.join(OPTIONS[scheme])}")
    uri = CameraUri(scheme, target, options)
    _check_options(uri)
    return uri


def _check_options(uri: CameraUri) -> None:
    for name in uri.options:
        if name in LIMITS:
            uri.number(name, 0)
        elif name == "size":
            uri.size()
        else:
            uri.flag(name)


def _scheme_of_path(path: str) -> Scheme:
    # os.path.isdir, unlike Path.is_dir, does not raise where a folder on the way may not be entered.
    if path.startswith("/dev/"):
        return "v4l2"
    return "images" if path.lower().endswith(PICTURES) or os.path.isdir(path) else "file"  # noqa: PTH112

"""From an address to an open source."""

from __future__ import annotations

from pathlib import Path

from edge_fer.capture.device import V4l2Camera
from edge_fer.capture.images import ImageFolder
from edge_fer.capture.program import open_command, open_csi, open_rpicam
from edge_fer.capture.source import Source
from edge_fer.capture.stream import open_url
from edge_fer.capture.uri import CameraUri
from edge_fer.capture.video import VideoFile
from edge_fer.errors import CameraError

SAMPLE_CLIP = Path(__file__).parents[1] / "sample" / "WolfgangLanger_Pexels.mp4"
"""One woman whose expressions change, 640x360, 24 fps, 472 frames (Wolfgang Langer, Pexels licence)."""

IMAGE_FPS, IMAGE_SECONDS = 10.0, 1.0
"""How a still picture is shown, unless its address says otherwise."""

_LIVE = {"v4l2": V4l2Camera, "url": open_url, "csi": open_csi, "rpicam": open_rpicam, "exec": open_command}


def open_source(uri: CameraUri) -> Source:
    """The open camera, clip or folder; CameraError names it and what is wrong."""
    if uri.scheme in _LIVE:
        return _LIVE[uri.scheme](uri)
    loop, realtime = uri.flag("loop"), uri.flag("realtime")
    if uri.scheme == "images":
        return ImageFolder(
            Path(uri.target),
            fps=uri.number("fps", IMAGE_FPS),
            seconds=uri.number("seconds", IMAGE_SECONDS),
            loop=loop,
            realtime=realtime,
        )
    if uri.scheme == "sample" and not SAMPLE_CLIP.exists():
        raise CameraError(f"{SAMPLE_CLIP}: the sample clip is not installed; in a checkout: make models")
    return VideoFile(SAMPLE_CLIP if uri.scheme == "sample" else Path(uri.target), loop=loop, realtime=realtime)

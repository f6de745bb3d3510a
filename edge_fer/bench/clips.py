"""The clips of a diagnosis: they must end, and be there before minutes of measuring."""

from __future__ import annotations

from edge_fer.capture.uri import CameraUri, parse_camera_uri
from edge_fer.errors import UsageError


def finite(clip: str) -> CameraUri:
    """A clip's address; UsageError where it would never end."""
    uri = parse_camera_uri(clip)
    if uri.live or "loop" in uri.options or "?" in uri.target:
        raise UsageError(f"--clip {uri}: give a clip, a picture or a folder that ends, without options")
    return uri


def readable(clip: str) -> CameraUri:
    """As `finite`; CameraError where it holds no picture."""
    from edge_fer.capture.open import open_source  # OpenCV: a diagnosis of the sample clip begins without it

    uri = finite(clip)
    source = open_source(uri)
    try:
        next(iter(source.pictures()), None)
    finally:
        source.close()
    return uri


def address(uri: CameraUri, options: str = "") -> str:
    """The address of a clip as text, with other options."""
    return f"{uri.scheme}:{'' if uri.scheme == 'sample' else uri.target}{options and '?'}{options}"

"""Bytes on a pipe -> BGR pictures: YUV4MPEG2, which tells its own size, and bare frames."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import numpy.typing as npt

from edge_fer.capture.source import MAX_PIXELS, MIN_SIDE_PX
from edge_fer.errors import CameraError

Image = npt.NDArray[np.uint8]
ReadInto = Callable[[memoryview], bool]
"""Fills the view; False at the end."""

MAGIC, FRAME = b"YUV4MPEG2", b"FRAME\n"
MAX_HEADER_BYTES = 512


def y4m_pictures(read_into: ReadInto) -> Iterator[Image]:
    """BGR of each frame of a YUV4MPEG2 stream (4:2:0, 8 bit, even size); CameraError where it is something else."""
    header = _line(read_into, len(MAGIC))
    if header is None:
        return
    if not header.startswith(MAGIC):
        raise CameraError("what comes is no YUV4MPEG2 stream; with ffmpeg: -f yuv4mpegpipe -pix_fmt yuv420p -")
    width, height, full_range = _understood(header.decode("ascii", "replace"))
    buffer = np.empty(len(FRAME) + height * width * 3 // 2, np.uint8)
    view, planes = buffer.data, buffer[len(FRAME) :].reshape(height * 3 // 2, width)
    while read_into(view):
        if bytes(view[: len(FRAME)]) != FRAME and not _skip_parameters(view, read_into):
            return
        yield _bgr_of_i420(planes, full_range=full_range)


def raw_pictures(
    read_into: ReadInto, size: tuple[int, int], pixel_format: str, *, full_range: bool = False
) -> Iterator[Image]:
    """BGR of bare frames of a known size: i420 (video range, or full range), bgr24 or gray8."""
    width, height = size
    if pixel_format == "bgr24":
        while read_into((bgr := np.empty((height, width, 3), np.uint8)).data.cast("B")):
            yield bgr
    elif pixel_format == "gray8":
        grey = np.empty((height, width), np.uint8)
        while read_into(grey.data.cast("B")):
            yield np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)
    else:
        planes = np.empty((height * 3 // 2, width), np.uint8)
        while read_into(planes.data.cast("B")):
            yield _bgr_of_i420(planes, full_range=full_range)


def _understood(header: str) -> tuple[int, int, bool]:
    """Width, height and whether all 256 levels are used."""
    found = dict(re.findall(r" ([WHC])(\S+)", header))
    try:
        width, height = int(found["W"]), int(found["H"])
    except (KeyError, ValueError):
        raise CameraError("the YUV4MPEG2 header tells no size") from None
    if min(width, height) < MIN_SIDE_PX or width * height > MAX_PIXELS:
        raise CameraError(f"the pictures are {width}x{height} px; use {MIN_SIDE_PX} px a side or more and at most 8K")
    colours = found.get("C", "420")
    if not re.fullmatch(r"420(jpeg|mpeg2|paldv)?", colours) or width % 2 or height % 2:
        raise CameraError(f"the pictures are {width}x{height} px of kind {colours}; use even sizes and yuv420p")
    return width, height, "XCOLORRANGE=FULL" in header


def _line(read_into: ReadInto, least: int) -> bytes | None:
    """The bytes up to a newline, at least `least`; None at the end. Byte by byte: nothing of a frame may be taken."""
    line = bytearray(least)
    if not read_into(memoryview(line)):
        return None
    one = bytearray(1)
    while line.startswith(MAGIC) and len(line) < MAX_HEADER_BYTES and read_into(memoryview(one)):
        if one == b"\n":
            break
        line += one
    return bytes(line)


def _skip_parameters(view: memoryview, read_into: ReadInto) -> bool:
    """Move a frame whose FRAME line has parameters to its place; False at the end of the stream."""
    head = bytes(view[:MAX_HEADER_BYTES])
    end = head.find(b"\n")
    if not head.startswith(FRAME.strip() + b" ") or end < 0:
        raise CameraError("the YUV4MPEG2 stream is broken: no frame begins where one should")
    surplus = end + 1 - len(FRAME)
    kept = bytes(view[end + 1 :])
    view[len(FRAME) : len(FRAME) + len(kept)] = kept
    return read_into(view[-surplus:])


def _bgr_of_i420(planes: Image, *, full_range: bool) -> Image:
    """BGR of the stacked planes (height * 3/2, width); a new array, the planes may be overwritten."""
    if full_range:
        planes = _video_range(planes)
    return np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420), np.uint8)


def _video_range(planes: Image) -> Image:
    """BT.601 levels 0-255 as 16-235 (luma) and 16-240 (colours), which is all that OpenCV reads."""
    height = planes.shape[0] * 2 // 3
    out = np.empty_like(planes)
    cv2.LUT(planes[:height], _LUMA, dst=out[:height])
    cv2.LUT(planes[height:], _COLOUR, dst=out[height:])
    return out


_LEVELS = np.arange(256)
_LUMA = np.rint(16 + _LEVELS * 219 / 255).astype(np.uint8)
_COLOUR = np.rint(128 + (_LEVELS - 128) * 224 / 255).astype(np.uint8)

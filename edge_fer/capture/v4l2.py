"""What the kernel tells about a V4L2 device: its name, whether it captures, its pixel formats, sizes and frame rates.

The layouts and numbers are those of linux/videodev2.h, the same on all 64-bit and 32-bit machines.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

Ioctl = Callable[[int, int, bytearray], int]
"""(descriptor, request, argument that is read and written); OSError as of the kernel, EINVAL ends an enumeration."""

QUERYCAP, ENUM_FMT, ENUM_FRAMESIZES, ENUM_FRAMEINTERVALS = 0x80685600, 0xC0405602, 0xC02C564A, 0xC034564B

_CAPABILITY = struct.Struct("16s32s32sIII12x")
_FORMAT = struct.Struct("III32sI16x")
_FRAME_SIZE = struct.Struct("III6I8x")
_INTERVAL = struct.Struct("IIIII6I8x")

VIDEO_CAPTURE, VIDEO_CAPTURE_MPLANE, DEVICE_CAPS = 0x1, 0x1000, 0x80000000
CAPTURE_TYPES = {VIDEO_CAPTURE: 1, VIDEO_CAPTURE_MPLANE: 9}  # v4l2_buf_type

DISCRETE = 1
MAX_ENTRIES = 256  # a broken driver must not enumerate for ever
COMMON_SIZES = ((320, 240), (640, 480), (800, 600), (1280, 720), (1920, 1080))
"""What is told of a device that takes any size."""


@dataclass(frozen=True, slots=True)
class FrameSize:
    """A size that a camera delivers, in pixels, with its frame rates, highest first."""

    width: int
    height: int
    fps: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How a camera packs its pictures."""

    fourcc: str  # MJPG, YUYV ...
    sizes: tuple[FrameSize, ...]


@dataclass(frozen=True, slots=True)
class V4l2Device:
    """One /dev/video*."""

    name: str
    driver: str
    captures: bool  # pictures, not metadata or output
    formats: tuple[PixelFormat, ...]


def kernel_ioctl(fd: int, request: int, argument: bytearray) -> int:
    """The kernel's own."""
    return int(fcntl.ioctl(fd, request, argument, True))  # noqa: FBT003 - its signature


def read_device(path: Path, ioctl: Ioctl = kernel_ioctl) -> V4l2Device:
    """What the device tells; OSError where it cannot be opened, with ENOTTY where it is no video device."""
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        answer = bytearray(_CAPABILITY.size)
        ioctl(fd, QUERYCAP, answer)
        driver, card, _, _, capabilities, own = _CAPABILITY.unpack(answer)
        able = own if capabilities & DEVICE_CAPS else capabilities
        kind = next((kind for bit, kind in CAPTURE_TYPES.items() if able & bit), None)
        formats = tuple(_formats(fd, ioctl, kind)) if kind is not None else ()
        return V4l2Device(_text(card), _text(driver), kind is not None, formats)
    finally:
        os.close(fd)


def _formats(fd: int, ioctl: Ioctl, kind: int) -> Iterator[PixelFormat]:
    for index in range(MAX_ENTRIES):
        entry = bytearray(_FORMAT.pack(index, kind, 0, b"", 0))
        if not _enumerated(fd, ioctl, ENUM_FMT, entry):
            return
        code: int = _FORMAT.unpack(entry)[4]
        sizes = sorted(_sizes(fd, ioctl, code), key=lambda size: (size.width, size.height))
        yield PixelFormat(code.to_bytes(4, "little").decode("latin-1").strip(), tuple(sizes))


def _sizes(fd: int, ioctl: Ioctl, code: int) -> Iterator[FrameSize]:
    for index in range(MAX_ENTRIES):
        entry = bytearray(_FRAME_SIZE.pack(index, code, 0, *(0,) * 6))
        if not _enumerated(fd, ioctl, ENUM_FRAMESIZES, entry):
            return
        _, _, kind, *numbers = _FRAME_SIZE.unpack(entry)
        if kind == DISCRETE:
            width, height = numbers[:2]
            yield FrameSize(width, height, _rates(fd, ioctl, code, width, height))
            continue
        least_x, most_x, step_x, least_y, most_y, step_y = numbers
        common = {(most_x, most_y)} | {
            (x, y)
            for x, y in COMMON_SIZES
            if least_x <= x <= most_x and least_y <= y <= most_y
            if not (x - least_x) % max(1, step_x) and not (y - least_y) % max(1, step_y)
        }
        yield from (FrameSize(x, y, _rates(fd, ioctl, code, x, y)) for x, y in common)
        return


def _rates(fd: int, ioctl: Ioctl, code: int, width: int, height: int) -> tuple[float, ...]:
    """Frames per second, highest first; of a range its ends."""
    found: set[float] = set()
    for index in range(MAX_ENTRIES):
        entry = bytearray(_INTERVAL.pack(index, code, width, height, 0, *(0,) * 6))
        if not _enumerated(fd, ioctl, ENUM_FRAMEINTERVALS, entry):
            break
        _, _, _, _, kind, *numbers = _INTERVAL.unpack(entry)
        intervals = [numbers[:2]] if kind == DISCRETE else [numbers[:2], numbers[2:4]]
        found.update(round(below / above, 3) for above, below in intervals if above)
        if kind != DISCRETE:
            break
    return tuple(sorted(found, reverse=True))


def _enumerated(fd: int, ioctl: Ioctl, request: int, entry: bytearray) -> bool:
    """Whether there was such an entry."""
    try:
        ioctl(fd, request, entry)
    except OSError as err:
        if err.errno in (errno.EINVAL, errno.ENOTTY):  # the end, or a driver that does not tell
            return False
        raise
    return True


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode(errors="replace").strip()

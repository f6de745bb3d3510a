"""V4L2 cameras, read by OpenCV."""

from __future__ import annotations

import errno
import grp
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge_fer.capture.source import Picture, checked
from edge_fer.capture.uri import CameraUri
from edge_fer.capture.v4l2 import V4l2Device, read_device
from edge_fer.errors import CameraError

log = logging.getLogger(__name__)

READABLE = (
    "MJPG",
    "JPEG",
    "YUYV",
    "YVYU",
    "UYVY",
    "NV12",
    "NV21",
    "YU12",
    "YV12",
    "BGR3",
    "RGB3",
    "GREY",
    "Y16",
    "XR24",
)
"""Pixel formats that OpenCV turns into pictures; the others are mostly the raw data of a sensor."""

MJPG_ABOVE_PX = 640 * 480
"""Beyond it, pictures that are not compressed do not fit through USB 2 at the frame rates that are wanted."""

Access = Callable[[Path, int], bool]


def rows_of(image: npt.NDArray[np.uint8], get: Callable[[int], float]) -> npt.NDArray[np.uint8]:
    """The picture, (height, width, 3): OpenCV 4.11 hands over one of a camera that delivers BGR itself as a single row.

    `get` gives properties of the capture; what is no such row is returned as it is.
    """
    if len(image) != 1:
        return image
    width, height = int(get(cv2.CAP_PROP_FRAME_WIDTH)), int(get(cv2.CAP_PROP_FRAME_HEIGHT))
    return image.reshape(height, width, 3) if image.shape == (1, width * height * 3) else image


class V4l2Camera:
    """A V4L2 device. Its path is resolved when it is opened, so that a stable name finds the camera on another port."""

    finite = False
    lossless = False

    def __init__(self, uri: CameraUri) -> None:
        self._name, self._path = str(uri), Path(uri.target)
        self._size = uri.size()
        self._aborted = threading.Event()
        device = check_device(self._path)
        self._capture = cv2.VideoCapture(str(self._path.resolve()), cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise CameraError(f"{self._name}: {_busy(self._path) or 'cannot be opened as a camera'}")
        self._configure(device, uri.number("fps", 0))

    def _configure(self, device: V4l2Device, fps: float) -> None:
        if wants_mjpg(self._size, device):
            self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        if self._size:
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._size[0])
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._size[1])
        if fps:
            self._capture.set(cv2.CAP_PROP_FPS, fps)

    def pictures(self) -> Iterator[Picture]:
        """Frames as the camera delivers them; CameraError when it does not, which OpenCV tells after 10 s."""
        first = True
        while not self._aborted.is_set():
            read, image = self._capture.read()
            if self._aborted.is_set():
                return
            if not read:
                raise CameraError(f"{self._name}: {self._why_nothing()}")
            picture = checked(rows_of(np.asarray(image, np.uint8), self._capture.get), self._name)
            if first:
                self._compare(picture.shape[1], picture.shape[0])
                first = False
            yield Picture(picture, None, None)

    def _compare(self, width: int, height: int) -> None:
        if self._size and self._size != (width, height):
            log.warning(
                "%s delivers %dx%d, not the %dx%d asked for; edge-fer cameras lists its sizes",
                *(self._name, width, height, *self._size),
            )

    def _why_nothing(self) -> str:
        if not os.path.exists(self._path):  # noqa: PTH110 - never raises
            return "the camera was unplugged"
        return _busy(self._path) or "the camera delivers no pictures"

    def abort(self) -> None:
        """End after the picture that is waited for; OpenCV gives up after 10 s without one."""
        self._aborted.set()

    def close(self) -> None:
        """Give the device back."""
        self._capture.release()


def wants_mjpg(size: tuple[int, int] | None, device: V4l2Device) -> bool:
    """Whether compressed pictures are asked for: at more than VGA, where the camera has them."""
    return bool(size and size[0] * size[1] > MJPG_ABOVE_PX and any(found.fourcc == "MJPG" for found in device.formats))


def check_device(path: Path, access: Access = os.access) -> V4l2Device:
    """What the device tells; CameraError where it is missing, closed to this user, busy, or no camera."""
    if not os.path.exists(path):  # noqa: PTH110 - never raises
        raise CameraError(f"{path}: no such device; is the camera plugged in? edge-fer cameras lists what is")
    if not path.is_char_device():
        raise CameraError(f"{path}: not a video device")
    if not access(path, os.R_OK | os.W_OK):
        raise CameraError(f"{path}: {permission_hint(path)}")
    try:
        device = read_device(path)
    except OSError as err:
        raise CameraError(f"{path}: {_refusal(path, err)}") from err
    if problem := why_unusable(device):
        raise CameraError(f"{path}: {problem}")
    return device


def why_unusable(device: V4l2Device) -> str:
    """Why a V4L2 device gives no pictures, empty if it does."""
    if not device.captures:
        return "gives no pictures, only metadata or the like; the camera's other /dev/video* does"
    formats = [found.fourcc for found in device.formats]
    if formats and not set(formats) & set(READABLE):
        return (
            f"gives the raw data of a sensor ({', '.join(formats[:3])}); "
            "use csi:0 on a Jetson, rpicam:0 on a Raspberry Pi"
        )
    return ""


def permission_hint(path: Path) -> str:
    """Which group may use the device, and how to join it."""
    gid = path.stat().st_gid
    try:
        group = grp.getgrgid(gid).gr_name
    except KeyError:
        group = str(gid)
    return (
        f"permission denied; it belongs to the group {group!r}: sudo usermod -aG {group} USER and log in again, "
        f"or in a systemd unit SupplementaryGroups={group}"
    )


def holders(path: Path, proc_root: Path = Path("/proc")) -> list[str]:
    """`name (pid)` of the other processes that have the device open, as far as this user may see them."""
    device, found = os.path.realpath(path), []
    for process in sorted(proc_root.glob("[0-9]*"), key=lambda entry: int(entry.name)):
        if process.name == str(os.getpid()):
            continue
        try:
            if any(os.path.realpath(link) == device for link in process.joinpath("fd").iterdir()):
                found.append(f"{process.joinpath('comm').read_text().strip()} ({process.name})")
        except OSError:  # it has ended, or belongs to somebody else
            continue
    return found


def _busy(path: Path) -> str:
    """Who else has the device, empty if nobody is known to."""
    by = holders(path)
    return f"the device is busy: {', '.join(by)} has it open" if by else ""


def _refusal(path: Path, err: OSError) -> str:
    if err.errno == errno.ENOTTY:
        return "not a video device"
    if err.errno == errno.EBUSY:
        return _busy(path) or "the device is busy: another program has it open"
    if err.errno in (errno.ENODEV, errno.ENXIO):
        return "no such device; the camera was unplugged"
    if err.errno == errno.EACCES:
        return permission_hint(path)
    return f"cannot be opened ({err.strerror})"

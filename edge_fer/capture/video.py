"""Clips, V4L2 devices and streams, all read by OpenCV."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edge_fer.capture.source import Picture, checked, file_size
from edge_fer.capture.uri import CameraUri
from edge_fer.errors import CameraError

STREAM_TIMEOUT_MS = 5000
"""OpenCV's own defaults let a dead peer block a read for 30 s and more."""

DEFAULT_FPS = 25.0
"""Pace of a clip that does not tell its own."""


class VideoFile:
    """A clip, once or in a loop, as fast as it is read or in real time."""

    finite = True

    def __init__(self, path: Path, *, loop: bool = False, realtime: bool = False) -> None:
        self._path, self._loop, self._realtime = path, loop, realtime
        self.lossless = not realtime
        self._capture = _open_clip(path)
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self._period_ns = int(1e9 / (fps if 0 < fps <= 1000 else DEFAULT_FPS))  # noqa: PLR2004 - broken headers say 90000

    def pictures(self) -> Iterator[Picture]:
        """Every frame with its own time; CameraError if the clip holds none."""
        started_ns, offset_ns = time.monotonic_ns(), 0
        while True:
            last_ns = None
            while (picture := self._next(offset_ns, last_ns)) is not None:
                last_ns = picture.clip_ns or 0
                if self._realtime:
                    time.sleep(max(0.0, (started_ns + last_ns - time.monotonic_ns()) / 1e9))
                yield picture
            if last_ns is None:
                raise CameraError(f"{self._path}: the file opens as a video but holds no frame that can be decoded")
            if not self._loop:
                return
            offset_ns = last_ns + self._period_ns
            self._capture.release()
            self._capture = _open_clip(self._path)

    def _next(self, offset_ns: int, last_ns: int | None) -> Picture | None:
        read, image = self._capture.read()
        if not read:
            return None
        clip_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        clip_ns = offset_ns + round(clip_ms * 1e6)
        if last_ns is not None and clip_ns <= last_ns:  # no or broken timestamps
            clip_ns = last_ns + self._period_ns
            clip_ms = (clip_ns - offset_ns) / 1e6
        return Picture(checked(np.asarray(image, np.uint8), str(self._path)), clip_ns, clip_ms)

    def close(self) -> None:
        """Close the file."""
        self._capture.release()


class LiveVideo:
    """A V4L2 device or a network stream."""

    finite = False
    lossless = False

    def __init__(self, uri: CameraUri) -> None:
        self._name = str(uri)
        self._capture = _open_device(uri) if uri.scheme == "v4l2" else _open_stream(uri)

    def pictures(self) -> Iterator[Picture]:
        """Frames as the camera delivers them, until it does not."""
        while True:
            read, image = self._capture.read()
            if not read:
                return
            yield Picture(checked(np.asarray(image, np.uint8), self._name), None, None)

    def close(self) -> None:
        """Give the device back."""
        self._capture.release()


def _open_clip(path: Path) -> cv2.VideoCapture:
    size_bytes = file_size(path)
    if not path.is_file():
        raise CameraError(f"{path}: not a file")
    if not size_bytes:
        raise CameraError(f"{path}: the file is empty (0 bytes)")
    # One decoding thread: a second one costs more than it saves at camera sizes.
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    if not capture.isOpened():
        raise CameraError(f"{path}: not a video that can be read (MP4, MOV, MKV, AVI, GIF ...)")
    return capture


def _open_device(uri: CameraUri) -> cv2.VideoCapture:
    device = Path(uri.target)
    size, fps = uri.size(), uri.number("fps", 0)
    if not os.path.exists(device):  # noqa: PTH110 - never raises
        raise CameraError(f"{device}: no such device; is the camera plugged in?")
    if not device.is_char_device():
        raise CameraError(f"{device}: not a video device")
    if not os.access(device, os.R_OK | os.W_OK):
        raise CameraError(f"{device}: permission denied; add the user to the group 'video'")
    capture = cv2.VideoCapture(str(device.resolve()), cv2.CAP_V4L2)
    if not capture.isOpened():
        raise CameraError(f"{device}: cannot be opened as a camera; busy, or it does not deliver pictures")
    if size:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
    if fps:
        capture.set(cv2.CAP_PROP_FPS, fps)
    return capture


def _open_stream(uri: CameraUri) -> cv2.VideoCapture:
    limits = [
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, STREAM_TIMEOUT_MS),
        *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, STREAM_TIMEOUT_MS),
    ]
    capture = cv2.VideoCapture(uri.target, cv2.CAP_FFMPEG, limits)
    if not capture.isOpened():
        raise CameraError(f"{uri}: no video stream there; check address, user name and password")
    return capture

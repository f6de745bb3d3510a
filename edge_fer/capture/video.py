"""Clips, and streams where there is no ffmpeg: read by OpenCV."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edge_fer.capture.source import Picture, checked, file_size, opencv_name
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
        self._aborted = threading.Event()
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
                wait_s = (started_ns + last_ns - time.monotonic_ns()) / 1e9 if self._realtime else 0.0
                if self._aborted.wait(max(0.0, wait_s)):
                    return
                yield picture
            if last_ns is None:
                raise CameraError(f"{self._path}: the file opens as a video but holds no frame that can be decoded")
            if not self._loop or self._aborted.is_set():
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

    def abort(self) -> None:
        """End before the next picture."""
        self._aborted.set()

    def close(self) -> None:
        """Close the file."""
        self._capture.release()


class OpenCvStream:
    """A network stream by OpenCV, whose own limits of time are all there is against a peer that hangs."""

    finite = False
    lossless = False

    def __init__(self, uri: CameraUri) -> None:
        self._name = str(uri)
        self._aborted = threading.Event()
        limits = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, STREAM_TIMEOUT_MS),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, STREAM_TIMEOUT_MS),
        ]
        self._capture = cv2.VideoCapture(uri.target, cv2.CAP_FFMPEG, limits)
        if not self._capture.isOpened():
            raise CameraError(f"{uri}: no video stream there; check address, user name and password")

    def pictures(self) -> Iterator[Picture]:
        """Frames as the camera delivers them; CameraError when it does not."""
        while not self._aborted.is_set():
            read, image = self._capture.read()
            if self._aborted.is_set():
                return
            if not read:
                raise CameraError(f"{self._name}: the stream has ended, or no picture came for {STREAM_TIMEOUT_MS} ms")
            yield Picture(checked(np.asarray(image, np.uint8), self._name), None, None)

    def abort(self) -> None:
        """End after the read that waits, which OpenCV ends by its own limits."""
        self._aborted.set()

    def close(self) -> None:
        """Close the connection."""
        self._capture.release()


def _open_clip(path: Path) -> cv2.VideoCapture:
    size_bytes = file_size(path)
    if not path.is_file():
        raise CameraError(f"{path}: not a file")
    if not size_bytes:
        raise CameraError(f"{path}: the file is empty (0 bytes)")
    # One decoding thread: a second one costs more than it saves at camera sizes.
    capture = cv2.VideoCapture(opencv_name(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    if not capture.isOpened():
        raise CameraError(f"{path}: not a video that can be read (MP4, MOV, MKV, AVI, GIF ...)")
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # a telephone's clip upright; not every build does it by itself
    return capture

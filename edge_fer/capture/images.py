"""A picture, or a folder of pictures, shown one after the other as a camera would see them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge_fer.capture.source import Picture, checked, file_size, opencv_name
from edge_fer.capture.uri import PICTURES
from edge_fer.errors import CameraError

log = logging.getLogger(__name__)


class ImageFolder:
    """Pictures in the order of their names, each held for some seconds."""

    finite = True

    def __init__(self, path: Path, *, fps: float, seconds: float, loop: bool, realtime: bool) -> None:
        self._files = _picture_files(path)
        self._path, self._loop, self._realtime = path, loop, realtime
        self._repeats, self._period_ns = max(1, round(fps * seconds)), int(1e9 / fps)
        self.lossless = not realtime
        self._aborted = threading.Event()

    def pictures(self) -> Iterator[Picture]:
        """Each picture `fps` times a second; those that cannot be read are named in the log and passed over."""
        started_ns, count = time.monotonic_ns(), 0
        while True:
            shown = 0
            for file in self._files:
                image = self._read(file)
                if image is None:
                    continue
                shown += 1
                for _ in range(self._repeats):
                    clip_ns = count * self._period_ns
                    wait_s = (started_ns + clip_ns - time.monotonic_ns()) / 1e9 if self._realtime else 0.0
                    if self._aborted.wait(max(0.0, wait_s)):
                        return
                    yield Picture(image, clip_ns, clip_ns / 1e6)
                    count += 1
            if not shown:
                raise CameraError(f"{self._path}: none of its {len(self._files)} pictures can be read")
            if not self._loop:
                return

    def _read(self, file: Path) -> npt.NDArray[np.uint8] | None:
        """The picture; an alone one that cannot be used is an error, one of many is left out."""
        try:
            return _read_picture(file)
        except CameraError as err:
            if len(self._files) == 1:
                raise
            log.warning("left out: %s", err)
            return None

    def abort(self) -> None:
        """End before the next picture."""
        self._aborted.set()

    def close(self) -> None:
        """Nothing is held open."""


def _read_picture(file: Path) -> npt.NDArray[np.uint8]:
    try:
        image = cv2.imread(opencv_name(file), cv2.IMREAD_COLOR)
    except cv2.error as err:  # a size in its header that even OpenCV refuses
        raise CameraError(f"{file}: not a picture that can be read ({err.err})") from err
    if image is None:
        raise CameraError(f"{file}: not a picture that can be read")
    return checked(np.asarray(image, np.uint8), str(file))


def _picture_files(path: Path) -> list[Path]:
    size_bytes = file_size(path)
    if path.is_file():
        if not size_bytes:
            raise CameraError(f"{path}: the file is empty (0 bytes)")
        return [path]
    try:
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES and file.is_file())
    except OSError as err:
        raise CameraError(f"{path}: the folder cannot be read ({err.strerror})") from err
    if not files:
        raise CameraError(f"{path}: the folder holds no picture ({', '.join(PICTURES)})")
    return files

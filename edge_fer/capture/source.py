"""What every camera is to the rest, and the pictures and times that all of them obey."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from edge_fer.errors import CameraError

MIN_SIDE_PX = 48
"""Smaller pictures cannot hold a face of the network's input size."""

MAX_PIXELS = 7680 * 4320
"""8K UHD, 100 MB as BGR; larger pictures would not leave a small board its memory."""


class Picture(NamedTuple):
    """One image as a source delivers it."""

    bgr: npt.NDArray[np.uint8]  # (height, width, 3)
    clip_ns: int | None  # position on the clip's timeline, which goes on across loops; None if live
    clip_ms: float | None  # position in the file


class Source(Protocol):
    """A camera, clip or folder. Opened by its constructor, which raises CameraError.

    A source that a child process delivers opens at once; its first picture comes later, and what is wrong with it is
    told by `pictures`. How long to wait for a picture is decided outside, by whoever calls `abort`.
    """

    finite: bool
    """Ends by itself: the end is no fault."""

    lossless: bool
    """Waits for the pipeline, so that every picture is looked at; a camera never waits."""

    def pictures(self) -> Iterator[Picture]:
        """Blocks for the next picture; ends when the source does, or after `abort`; CameraError with the cause."""

    def abort(self) -> None:
        """Make a blocked `pictures` end, if that is possible; from any thread, at any time, any number of times.

        Kills a child process. A read of OpenCV cannot be interrupted: there, it ends after the picture it waits for.
        """

    def close(self) -> None:
        """Give the device back and reap children; by the thread that opened it, any number of times."""


def file_size(path: Path) -> int:
    """Bytes of a file or of a folder's entry; CameraError where it is not there or may not be read."""
    try:
        size = path.stat().st_size
    except OSError as err:
        problem = "no such file or folder" if isinstance(err, FileNotFoundError) else err.strerror
        raise CameraError(f"{path}: {problem}") from err
    if not os.access(path, os.R_OK):
        raise CameraError(f"{path}: permission denied")
    return size


def opencv_name(path: Path) -> str:
    """The path as OpenCV takes it; CameraError for a name that is no UTF-8, at which OpenCV ends the process."""
    name = str(path)
    try:
        name.encode()
    except UnicodeEncodeError as err:
        raise CameraError(f"{path}: its name is no UTF-8, rename it") from err
    return name


def checked(image: npt.NDArray[np.uint8], where: str) -> npt.NDArray[np.uint8]:
    """The image as BGR (height, width, 3): grey is widened, alpha dropped; CameraError where its size is absurd."""
    height, width = image.shape[:2]
    if min(height, width) < MIN_SIDE_PX:
        raise CameraError(f"{where}: the picture is {width}x{height} px; faces need at least {MIN_SIDE_PX} px")
    if height * width > MAX_PIXELS:
        raise CameraError(
            f"{where}: the picture is {width}x{height} px ({height * width / 1e6:.0f} MP); at most "
            f"{MAX_PIXELS / 1e6:.0f} MP (8K) are read: shrink it first"
        )
    if image.ndim == 2:  # noqa: PLR2004 - rows and columns, no colours
        image = image[:, :, None]
    if image.shape[2] == 1:
        return np.repeat(image, 3, axis=2)
    return image[:, :, :3]

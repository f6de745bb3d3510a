"""Is there a camera at an address? A look of about a second tells size and frame rate, or the problem."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_fer.capture.open import open_source
from edge_fer.capture.source import Picture, Source
from edge_fer.capture.uri import CameraUri
from edge_fer.errors import CameraError

LOOK_S = 1.0
GIVE_UP_S = 2.0
"""How long a source may take to end after it was aborted."""

MIN_INTERVALS = 3


@dataclass(frozen=True, slots=True)
class Probe:
    """What was found at an address; width, height and fps are None where no picture came."""

    address: str  # for people: without a password
    width: int | None
    height: int | None
    fps: float | None  # of the median interval, so that a burst at the start does not count; None for too few pictures
    first_picture_s: float | None  # from the opening to the first picture
    problem: str  # empty if pictures came


def probe(
    uri: CameraUri,
    timeout_s: float,
    *,
    look_s: float = LOOK_S,
    opener: Callable[[CameraUri], Source] = open_source,
) -> Probe:
    """Open the address and look, `timeout_s` for the first picture and `look_s` from then on. Raises nothing.

    Returns after timeout_s + look_s and a little, even where the source hangs; its thread is then left behind.
    """
    look = _Look(uri, opener, look_s)
    worker = threading.Thread(target=look.run, name="probe", daemon=True)
    worker.start()
    if look.has_first.wait(timeout_s):
        worker.join(look_s)
    look.abort()
    worker.join(GIVE_UP_S)
    if not look.times_s:
        problem = look.problem or f"no picture within {timeout_s:g} s"
        return Probe(str(uri), None, None, None, None, problem)
    height, width = look.shape
    return Probe(str(uri), width, height, look.fps(), round(look.times_s[0] - look.started_s, 2), "")


@dataclass
class _Look:
    uri: CameraUri
    opener: Callable[[CameraUri], Source]
    look_s: float
    has_first: threading.Event = field(default_factory=threading.Event)  # or has failed
    times_s: list[float] = field(default_factory=list)
    clip_s: list[float] = field(default_factory=list)
    shape: tuple[int, int] = (0, 0)
    problem: str = ""
    started_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._lock, self._aborted = threading.Lock(), False
        self._source: Source | None = None

    def run(self) -> None:
        """Thread body."""
        try:
            source = self.opener(self.uri)
        except CameraError as err:
            self._fail(err)
            return
        try:
            with self._lock:
                self._source = source
                if self._aborted:
                    return
            for picture in source.pictures():
                self._note(picture)
                if self._aborted or time.monotonic() - self.times_s[0] > self.look_s:
                    break
        except CameraError as err:
            self._fail(err)
        finally:
            source.close()
            self.has_first.set()

    def abort(self) -> None:
        with self._lock:
            self._aborted = True
            if self._source is not None:
                self._source.abort()

    def fps(self) -> float | None:
        times_s = self.clip_s if len(self.clip_s) == len(self.times_s) else self.times_s
        gaps_s = [later - earlier for earlier, later in zip(list(times_s), list(times_s)[1:], strict=False)]
        if len(gaps_s) < MIN_INTERVALS or not (gap_s := statistics.median(gaps_s)) > 0:
            return None
        return round(1 / gap_s, 1)

    def _note(self, picture: Picture) -> None:
        self.shape = picture.bgr.shape[0], picture.bgr.shape[1]
        if picture.clip_ns is not None:
            self.clip_s.append(picture.clip_ns / 1e9)
        self.times_s.append(time.monotonic())
        self.has_first.set()

    def _fail(self, err: CameraError) -> None:
        self.problem = str(err)
        self.has_first.set()

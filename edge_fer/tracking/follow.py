"""One camera's frames -> the faces in them, each with the id of its track, at the least cost that keeps them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from edge_fer.detect import distinct, same_face
from edge_fer.frame import Box, Face, Frame
from edge_fer.tracking.clothing import clothing
from edge_fer.tracking.search import DetectorSettings, SearchPlan
from edge_fer.tracking.track import Track, Tracker

log = logging.getLogger(__name__)

LOOK_AT_LEAST_MS = 200
"""A slow camera's faces are looked for in more than every n-th frame: after this long, they may be anywhere."""

COSTLY = 7.0
"""A search of the whole frame that costs more than this (in looks at a region) is made every `search_ms` at most."""

FollowStage = Literal["detect", "track and decide"]


class Search(Protocol):
    """Finds faces; see `edge_fer.tracking.search.FaceSearch`."""

    def plan(self, width_px: int, height_px: int) -> SearchPlan:
        """How frames of this size are searched."""

    def whole(self, bgr: npt.NDArray[np.uint8], plan: SearchPlan) -> list[Face]:
        """Faces of a frame (height, width, 3)."""

    def near(self, bgr: npt.NDArray[np.uint8], box: Box) -> list[Face]:
        """Faces of the frame around the place where one is expected."""


class LookRate(NamedTuple):
    """How often faces are looked for, where that is not left to the settings."""

    every_frames: int = 1  # at least; the settings' own number where that is larger
    every_ms: int = LOOK_AT_LEAST_MS  # but after this long in any case


AS_SET = LookRate()
EACH_FRAME_MS = 0
"""As `every_ms`: in each frame."""


class Seen(NamedTuple):
    """A face in a frame."""

    track: Track
    face: Face  # where it is in this frame


@dataclass(frozen=True, slots=True)
class Followed:
    """What is known after a frame."""

    found: tuple[Seen, ...]  # confirmed tracks that the newest look found, oldest first
    lost: tuple[Track, ...]  # confirmed tracks that have ended


def uncounted(_stage: FollowStage) -> AbstractContextManager[None]:
    """For those who do not count CPU by stage."""
    return nullcontext()


class FaceFollower:
    """Follows the faces of one camera.

    Without faces, the whole frame is searched every n-th frame. With faces, every n-th frame is looked at around each
    of them, or wholly where that costs less or `search_ms` are over. A face that was just missed, or found for the
    first time, is looked for in the very next frame. What costs less is known from the detectors' relative costs, so
    that the same frames give the same tracks on every machine.
    """

    def __init__(self, search: Search, settings: DetectorSettings | None = None) -> None:
        self._search, self._settings = search, settings or DetectorSettings()
        self._tracker = Tracker(self._settings.lost_after_ms)
        self._rate = AS_SET
        self._size: tuple[int, int] | None = None
        self._plan: SearchPlan | None = None
        self._frames_since_look = 0
        self._looked_ns: int | None = None
        self._searched_ns: int | None = None  # the whole frame

    @property
    def plan(self) -> SearchPlan | None:
        """How whole frames are searched; None before the first."""
        return self._plan

    @property
    def tracks(self) -> Sequence[Track]:
        """All that are not lost, found at the newest look or not."""
        return self._tracker.tracks

    def follow(
        self, frame: Frame, stage: Callable[[FollowStage], AbstractContextManager[None]] = uncounted
    ) -> Followed:
        """Take the next frame; `stage` is entered around the work that is to be counted as such."""
        resized = self._take_size(frame)
        with stage("track and decide"):
            around = self._wanted(frame.time_ns)
        if around is not None:
            with stage("detect"):
                faces = self._look(frame, around)
        with stage("track and decide"):
            if around is not None:
                clothes = [clothing(frame.bgr, face.box) for face in faces]
                self._tracker.update(faces, frame.time_ns, {track.id for track in around} or None, clothes)
            lost = [*resized, *self._tracker.drop_lost()]
            found = [track for track in self._tracker.tracks if track.confirmed and track.found]
            return Followed(
                tuple(Seen(track, track.at(frame.time_ns)) for track in found),
                tuple(track for track in lost if track.confirmed),
            )

    def use(self, search: Search, settings: DetectorSettings) -> None:
        """Search otherwise from the next frame on; all tracks stay."""
        self._search, self._settings = search, settings
        self._tracker.lost_after_ms = settings.lost_after_ms
        if self._size:
            self._plan = search.plan(*self._size)
        self.search_now()

    def look_every(self, rate: LookRate) -> None:
        """Look for faces this often from the next frame on; missed and new ones in the very next frame as ever."""
        self._rate = rate

    def search_now(self) -> None:
        """Search the whole next frame, whatever was searched before."""
        self._looked_ns = self._searched_ns = None

    def drop_all(self) -> list[Track]:
        """End every track and return the confirmed ones; their ids are not used again."""
        self.search_now()
        return [track for track in self._tracker.drop_all() if track.confirmed]

    def _take_size(self, frame: Frame) -> list[Track]:
        """Plan for frames of another size; the tracks that end, because their places mean nothing any more."""
        size = frame.width_px, frame.height_px
        if size == self._size:
            return []
        self._size, self._plan = size, self._search.plan(*size)
        log.info("camera %s, %dx%d: %s", frame.camera, *size, self._plan)
        return self.drop_all()

    def _wanted(self, time_ns: int) -> list[Track] | None:
        """Tracks to look around, none for the whole frame; None where this frame needs no look."""
        self._frames_since_look += 1
        tracks = self._tracker.tracks
        every_frames = max(self._settings.every_frames, self._rate.every_frames)
        regular = self._frames_since_look >= every_frames or _over(self._looked_ns, time_ns, self._rate.every_ms)
        cost = self._plan.cost if self._plan else 0.0
        search_due = _over(self._searched_ns, time_ns, self._settings.search_ms)
        if regular:
            self._frames_since_look, self._looked_ns = 0, time_ns
            if search_due or (not tracks and cost <= COSTLY):
                return []
        around = [track for track in tracks if regular or _urgent(track)]
        if not around:
            return None
        return around if len(around) <= cost else []

    def _look(self, frame: Frame, around: Sequence[Track]) -> list[Face]:
        if around:
            return distinct(self._near(frame, around))
        self._searched_ns = frame.time_ns
        if self._plan is None:
            raise RuntimeError("a frame is searched before its size is known")
        faces = self._search.whole(frame.bgr, self._plan)
        missed = [track for track in self._tracker.tracks if track.found and not _among(track, frame.time_ns, faces)]
        # The detector of regions sees faces larger, and finds some that the other does not.
        second = self._near(frame, missed[: round(self._plan.cost)])
        return distinct([*faces, *second]) if second else faces

    def _near(self, frame: Frame, tracks: Sequence[Track]) -> list[Face]:
        places = [track.at(frame.time_ns).box for track in tracks]
        return [face for place in places for face in self._search.near(frame.bgr, place)]


def _among(track: Track, time_ns: int, faces: Sequence[Face]) -> bool:
    """Whether a face is where the track should be."""
    place = track.at(time_ns).box
    return any(same_face(place, face.box) for face in faces)


def _urgent(track: Track) -> bool:
    """Whether the next frame should tell more: missed once, or found once."""
    return track.misses == 1 if track.confirmed else not track.misses


def _over(since_ns: int | None, now_ns: int, span_ms: int) -> bool:
    """Whether a span of time is over, or time has jumped back."""
    return since_ns is None or not 0 <= now_ns - since_ns < span_ms * 1_000_000

"""Faces over time -> tracks with ids that are never used again."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from edge_fer.frame import Face

MIN_IOU = 0.2
"""Overlap of a track with a face that may be the same person, three frames later."""

CONFIRM_HITS = 2
"""Detections before a track counts; a single one is often a false alarm."""

VELOCITY_GAIN = 0.5
"""Share of a new measurement in a track's velocity; detections jitter by a few pixels."""


@dataclass(slots=True)
class Track:
    """One person's face as far as it was followed."""

    id: int
    face: Face  # where it was last detected
    first_ns: int
    seen_ns: int  # when it was last detected
    hits: int = 1
    velocity_x: float = 0.0  # px per second
    velocity_y: float = 0.0
    found: bool = True  # at the newest detection; if not, what is at its place is no longer this face

    @property
    def confirmed(self) -> bool:
        """Whether it was detected often enough to be believed."""
        return self.hits >= CONFIRM_HITS

    def at(self, time_ns: int) -> Face:
        """Where the face probably is now."""
        seconds = (time_ns - self.seen_ns) / 1e9
        return self.face.moved(self.velocity_x * seconds, self.velocity_y * seconds)

    def follow(self, face: Face, time_ns: int) -> None:
        """Take a new detection of the same face."""
        seconds = (time_ns - self.seen_ns) / 1e9
        if seconds > 0:
            (x0, y0), (x1, y1) = self.face.box.centre, face.box.centre
            self.velocity_x += VELOCITY_GAIN * ((x1 - x0) / seconds - self.velocity_x)
            self.velocity_y += VELOCITY_GAIN * ((y1 - y0) / seconds - self.velocity_y)
        self.found = True
        self.face, self.seen_ns, self.hits = face, time_ns, self.hits + 1


class Tracker:
    """Tracks of one camera."""

    def __init__(self, lost_after_ms: int = 1000) -> None:
        self._lost_after_ns = lost_after_ms * 1_000_000
        self._ids = itertools.count(1)
        self.tracks: list[Track] = []

    def update(self, faces: Sequence[Face], time_ns: int) -> None:
        """Give each detected face to the track it overlaps most, best pairs first; the rest start tracks."""
        pairs = sorted(
            (
                (track.at(time_ns).box.iou(face.box), track_no, face_no)
                for track_no, track in enumerate(self.tracks)
                for face_no, face in enumerate(faces)
            ),
            reverse=True,
        )
        for track in self.tracks:
            track.found = False
        free_tracks, free_faces = set(range(len(self.tracks))), set(range(len(faces)))
        for iou, track_no, face_no in pairs:
            if iou >= MIN_IOU and track_no in free_tracks and face_no in free_faces:
                self.tracks[track_no].follow(faces[face_no], time_ns)
                free_tracks.remove(track_no)
                free_faces.remove(face_no)
        self.tracks += [Track(next(self._ids), faces[number], time_ns, time_ns) for number in sorted(free_faces)]

    def drop_lost(self, time_ns: int) -> list[Track]:
        """Remove and return the tracks that the newest detection missed and that were not found for too long.

        Both, because a slow camera, or one that stalled, may have looked away for longer than that.
        """
        lost = [track for track in self.tracks if not track.found and time_ns - track.seen_ns > self._lost_after_ns]
        self.tracks = [track for track in self.tracks if track not in lost]
        return lost

    def drop_all(self) -> list[Track]:
        """Remove and return every track."""
        dropped, self.tracks = self.tracks, []
        return dropped

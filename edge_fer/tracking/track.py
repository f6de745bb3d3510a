"""Faces over time -> tracks with ids that are never used again.

Optimal assignment of detections to tracks (Jonker and Volgenant 1987, the package `lap`) by how likely each fits what
the motion model expects, with heavy tails: heads jerk.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import lap
import numpy as np

from edge_fer.detect import same_face
from edge_fer.frame import Box, Face
from edge_fer.tracking.clothing import Colours, blended, unlike
from edge_fer.tracking.motion import MEASURED, Expected, Motion, side

CONFIRM_HITS = 2
"""Detections before a track counts; a single one is often a false alarm."""

UNCONFIRMED_MISSES = 2
"""Looks in vain after which a face that was seen only once was none."""

NEAR, FAR, SIGMAS = 0.7, 3.0, 4.0
"""A detection may be a track's within so many standard deviations, but at least and at most so many face sizes."""

MIN_RESIZED, MAX_RESIZED = math.log(1.3), math.log(1.8)
"""And so with the logarithm of its size: a part of a face is sometimes taken for a smaller one."""

PART = 0.75
"""A box up to this share of the expected size, within the expected place, is a part of the face that was there."""

TAIL = 4.0
"""Degrees of freedom of Student's t for the distance: 4 sigma cost 7, not 8, and 10 sigma 10, not 50."""

UNCONFIRMED_COST = 1.0
"""A face that was seen once gives way to one that is known."""

CLOTHING_COST, CLOTHING_SIGMA = 6.0, 0.5
"""Of entirely other clothing, and how uncertain (in sides) a place must be for it to count fully: as long as the
motion tells who is who, somebody who walks past below a face must not end its track."""

MAX_COST = 12.0
"""Of a pair, in nats above that of a perfect fit; beyond, one has left and another has come."""


@dataclass(slots=True)
class Track:
    """One person's face as far as it was followed."""

    id: int
    face: Face  # where it was last detected
    first_ns: int
    seen_ns: int  # when it was last detected
    motion: Motion
    colours: Colours | None = None  # of the clothing
    hits: int = 1
    misses: int = 0  # looks in vain since it was last detected
    missed_ns: int = 0  # when the first of them was
    gone_ns: int = 0  # how long after that the newest of them was

    @property
    def confirmed(self) -> bool:
        """Whether it was detected often enough to be believed."""
        return self.hits >= CONFIRM_HITS

    @property
    def found(self) -> bool:
        """Whether the newest look found it; if not, what is at its place is no longer this face."""
        return not self.misses

    def at(self, time_ns: int) -> Face:
        """Where the face probably is now."""
        return self.face.moved(*self.motion.shift(time_ns))

    def follow(self, face: Face, time_ns: int, colours: Colours | None = None) -> None:
        """Take a new detection of the same face."""
        self.colours = blended(self.colours, colours)
        self.motion.take(face.box, time_ns)
        self.face, self.seen_ns, self.misses = face, time_ns, 0
        self.hits += 1

    def miss(self, time_ns: int) -> None:
        """Note a look that did not find it."""
        if not self.misses:
            self.missed_ns = time_ns
        self.misses += 1
        self.gone_ns = max(0, time_ns - self.missed_ns)


@dataclass(slots=True)
class Tracker:
    """Tracks of one camera."""

    lost_after_ms: int = 1000
    tracks: list[Track] = field(default_factory=list)
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def update(
        self,
        faces: Sequence[Face],
        time_ns: int,
        looked_for: Collection[int] | None = None,
        clothes: Sequence[Colours | None] | None = None,
    ) -> None:
        """Take what a look has found, each face once, if known with its clothing.

        `looked_for`: the ids that the look had to find, None for all. Faces that fit no track start one, unless they
        are another box on a face that was found, or a part of one that is half hidden.
        """
        clothes = clothes or [None] * len(faces)
        pairs = self._assigned(faces, clothes, time_ns)
        for number, track in enumerate(self.tracks):
            if number in pairs:
                track.follow(faces[pairs[number]], time_ns, clothes[pairs[number]])
            elif looked_for is None or track.id in looked_for:
                track.miss(time_ns)
        found = [faces[number].box for number in pairs.values()]
        hidden = [track.at(time_ns).box for track in self.tracks if track.confirmed and track.misses]
        for number, face in enumerate(faces):
            known = any(same_face(face.box, box) for box in found) or any(_part(face.box, box) for box in hidden)
            if number not in pairs.values() and not known:
                motion = Motion.starting(face.box, time_ns)
                self.tracks.append(Track(next(self._ids), face, time_ns, time_ns, motion, clothes[number]))
                found.append(face.box)

    def drop_lost(self) -> list[Track]:
        """Remove and return the tracks that looks have missed for too long, or that were seen once by mistake.

        From the first look in vain to the newest one, so that a slow camera, or one that stalled, loses nobody.
        """
        lost_ns = self.lost_after_ms * 1_000_000
        lost = [
            track
            for track in self.tracks
            if track.misses and (track.gone_ns >= lost_ns if track.confirmed else track.misses >= UNCONFIRMED_MISSES)
        ]
        self.tracks = [track for track in self.tracks if track not in lost]
        return lost

    def drop_all(self) -> list[Track]:
        """Remove and return every track."""
        dropped, self.tracks = self.tracks, []
        return dropped

    def _assigned(self, faces: Sequence[Face], clothes: Sequence[Colours | None], time_ns: int) -> dict[int, int]:
        """Number of the track -> number of its face."""
        if not self.tracks or not faces:
            return {}
        costs = np.full((len(self.tracks), len(faces)), 2 * MAX_COST)
        for number, track in enumerate(self.tracks):
            expected = track.motion.expected(time_ns)
            extra = 0.0 if track.confirmed else UNCONFIRMED_COST
            weight = CLOTHING_COST * min(1.0, expected.sigma / expected.size / CLOTHING_SIGMA)
            costs[number] = [
                pair_cost(expected, face.box) + weight * (unlike(track.colours, colours)) + extra
                for face, colours in zip(faces, clothes, strict=True)
            ]
        if costs.size == 1:
            return {0: 0} if costs[0, 0] < MAX_COST else {}
        _, face_of, _ = lap.lapjv(costs, extend_cost=True, cost_limit=MAX_COST)
        return {track: int(face) for track, face in enumerate(face_of) if face >= 0}


def pair_cost(expected: Expected, box: Box) -> float:
    """Negative log-likelihood that a box is of this face, 0 for a perfect fit of a face that is known exactly.

    Twice MAX_COST where it is out of reach.
    """
    x, y = box.centre
    distance = math.hypot(x - expected.x, y - expected.y)
    reach = min(max(SIGMAS * expected.sigma, NEAR * expected.size), FAR * expected.size)
    ratio = abs(math.log(side(box) / expected.size))
    resized = min(max(SIGMAS * math.sqrt(expected.size_variance), MIN_RESIZED), MAX_RESIZED)
    if distance > reach or ratio > resized:
        return 2 * MAX_COST
    return (
        (TAIL + 2) / 2 * math.log1p((distance / expected.sigma) ** 2 / TAIL)
        + 2 * math.log(expected.sigma / (MEASURED * expected.size))
        + (TAIL + 1) / 2 * math.log1p(ratio**2 / (TAIL * expected.size_variance))
    )


def _part(box: Box, whole: Box) -> bool:
    """Whether a box is of the part of a face that can be seen: smaller, and where the whole should be."""
    return same_face(box, whole) and side(box) < PART * side(whole)

"""How good tracks are, against a known truth.

CLEAR MOT: Bernardin and Stiefelhagen, "Evaluating Multiple Object Tracking Performance: The CLEAR MOT Metrics",
EURASIP Journal on Image and Video Processing, 2008: section 2.1.3 for the correspondence, equations 1 and 2.
IDF1: Ristani et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking", 2016, equation 11.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import lap
import numpy as np

from edge_fer.frame import Box

SAME_IOU = 0.4
"""A track's box and a person's that share this much belong together."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What is to be seen in one frame."""

    visible: Mapping[str, Box]  # by person; each must be found
    hidden: Mapping[str, Box]  # may be found: more than half covered, small or cut off


@dataclass(frozen=True, slots=True)
class Figures:
    """Over one sequence."""

    mota: float  # 1 is perfect; equation 2
    motp: float  # mean IoU of what corresponds; equation 1 with an overlap for a distance
    idf1: float
    faces: int  # visible ones, in all frames
    misses: int
    false_positives: int
    switches: int  # a person whose track became another
    tracks: int  # ids that were given out

    def __str__(self) -> str:
        return (
            f"MOTA {self.mota:.3f}  IDF1 {self.idf1:.3f}  MOTP {self.motp:.2f}  faces {self.faces}  misses "
            f"{self.misses}  false {self.false_positives}  switches {self.switches}  tracks {self.tracks}"
        )


def measure(truths: Sequence[Truth], followed: Sequence[Mapping[int, Box]]) -> Figures:
    """Compare, frame by frame, people with the boxes of tracks."""
    before: dict[str, int] = {}  # the last track of each person
    together: Counter[tuple[str, int]] = Counter()
    misses = false_positives = switches = matched = faces = boxes = 0
    overlap = 0.0
    for truth, tracks in zip(truths, followed, strict=True):
        pairs = _correspondence(truth.visible, tracks, before)
        switches += sum(1 for person, track in pairs.items() if before.get(person, track) != track)
        before |= pairs
        together.update(pairs.items())
        matched += len(pairs)
        overlap += sum(truth.visible[person].iou(tracks[track]) for person, track in pairs.items())
        extra = [
            track
            for track in tracks.keys() - set(pairs.values())
            if not any(tracks[track].iou(box) >= SAME_IOU for box in truth.hidden.values())
        ]
        misses += len(truth.visible) - len(pairs)
        false_positives += len(extra)
        faces += len(truth.visible)
        boxes += len(pairs) + len(extra)
    return Figures(
        mota=1 - (misses + false_positives + switches) / max(1, faces),
        motp=overlap / max(1, matched),
        idf1=2 * _identified(together) / max(1, faces + boxes),
        faces=faces,
        misses=misses,
        false_positives=false_positives,
        switches=switches,
        tracks=len({track for tracks in followed for track in tracks}),
    )


def _correspondence(people: Mapping[str, Box], tracks: Mapping[int, Box], before: Mapping[str, int]) -> dict[str, int]:
    """Who is which track: as in the frame before where that still holds, the best assignment for the rest."""
    pairs = {
        person: before[person]
        for person, box in people.items()
        if before.get(person) in tracks and box.iou(tracks[before[person]]) >= SAME_IOU
    }
    free = [person for person in people if person not in pairs]
    spare = [track for track in tracks if track not in pairs.values()]
    if free and spare:
        costs = np.array([[1 - people[person].iou(tracks[track]) for track in spare] for person in free])
        _, best, _ = lap.lapjv(costs, extend_cost=True, cost_limit=1 - SAME_IOU + 1e-9)
        pairs |= {free[number]: spare[track] for number, track in enumerate(best) if track >= 0}
    return pairs


def _identified(together: Counter[tuple[str, int]]) -> int:
    """Frames in which a person was the track that is the person's over the whole sequence."""
    people, tracks = sorted({person for person, _ in together}), sorted({track for _, track in together})
    if not together:
        return 0
    gains = np.array([[float(together[person, track]) for track in tracks] for person in people])
    _, best, _ = lap.lapjv(-gains, extend_cost=True)
    return int(sum(gains[number, track] for number, track in enumerate(best) if track >= 0))

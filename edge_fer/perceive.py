"""Frame -> look: the faces of a frame are found, followed, judged and read. What comes after sees no pixel."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from edge_fer.align import crop_face
from edge_fer.frame import Frame
from edge_fer.look import FaceLook, Look
from edge_fer.quality import QualitySettings, assess
from edge_fer.readability import Quality
from edge_fer.tracking.follow import FaceFollower, LookRate, Search
from edge_fer.tracking.search import DetectorSettings
from edge_fer.tracking.turns import Turns

PerceptionStage = Literal["detect", "align", "classify", "track and decide"]
Stages = Callable[[PerceptionStage], AbstractContextManager[None]]
"""Entered around the work that is to be counted as such."""


class Reader(Protocol):
    """Faces -> probabilities."""

    def read_all(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Probability of each expression, (N, 8), of grey faces (N, 48, 48)."""


class Perception:
    """All that is done with the pictures of one camera."""

    def __init__(
        self, follower: FaceFollower, reader: Reader, quality: QualitySettings, max_faces_per_frame: int = 10
    ) -> None:
        """Of more faces than that, each is read in every second, third ... frame."""
        self._follower, self._reader, self._quality = follower, reader, quality
        self._turns = Turns(max_faces_per_frame)

    @property
    def follows(self) -> bool:
        """Whether a face is followed, in view or missed for a moment."""
        return any(track.confirmed for track in self._follower.tracks)

    @property
    def glimpses(self) -> bool:
        """Whether there is any trace of a face, such as one that was found for the first time."""
        return bool(self._follower.tracks)

    def look_every(self, rate: LookRate) -> None:
        """Look for faces this often from the next frame on."""
        self._follower.look_every(rate)

    def look(self, frame: Frame, stage: Stages) -> Look:
        """Look at the next frame; each face whose turn it is, is either read, or refused for its quality."""
        followed = self._follower.follow(frame, stage)
        seen_ids = [seen.track.id for seen in followed.found]
        lost = tuple(track.id for track in followed.lost)
        with stage("align"):
            chosen = self._turns.take(seen_ids)
            self._turns.forget(lost)
            found = [seen for seen in followed.found if seen.track.id in chosen]
            crops = [crop_face(frame.bgr, seen.face) for seen in found]
            qualities = [
                assess(crop, seen.face, frame.width_px, frame.height_px, self._quality)
                for crop, seen in zip(crops, found, strict=True)
            ]
        with stage("classify"):
            probabilities = self._read(crops, qualities)
        faces = tuple(
            FaceLook(seen.track.id, seen.face.box, quality, read)
            for seen, quality, read in zip(found, qualities, probabilities, strict=True)
        )
        return Look(
            camera=frame.camera,
            seq=frame.seq,
            time_ns=frame.time_ns,
            unix_ns=frame.captured_unix_ns,
            clip_ms=frame.clip_ms,
            age_ms=max(0.0, (time.time_ns() - frame.captured_unix_ns) / 1e6),
            width_px=frame.width_px,
            height_px=frame.height_px,
            faces=faces,
            lost=lost,
            waiting=tuple(number for number in seen_ids if number not in chosen),
        )

    def use(
        self,
        search: Search,
        detector: DetectorSettings,
        reader: Reader,
        quality: QualitySettings,
        max_faces_per_frame: int,
    ) -> None:
        """Look with other networks or settings from the next frame on; all tracks stay."""
        self._follower.use(search, detector)
        self._reader, self._quality = reader, quality
        self._turns.allow(max_faces_per_frame)

    def detect_now(self) -> None:
        """Search the whole next frame for faces."""
        self._follower.search_now()

    def forget(self) -> None:
        """The camera has looked away: whoever is there when it looks again is somebody new."""
        self._turns.forget([track.id for track in self._follower.drop_all()])

    def _read(self, crops: list[npt.NDArray[np.uint8]], qualities: list[Quality]) -> list[tuple[float, ...] | None]:
        """Probabilities of each face; None of a refused one."""
        wanted = [number for number, quality in enumerate(qualities) if quality.refusal is None]
        found: list[tuple[float, ...] | None] = [None] * len(crops)
        if wanted:
            rows = self._reader.read_all(np.stack([crops[number] for number in wanted]))
            for number, row, is_finite in zip(wanted, rows.tolist(), np.isfinite(rows).all(axis=1), strict=True):
                # Of a broken network, which the self-test reports: no number is no guess, and no JSON.
                found[number] = tuple(row) if is_finite else None
        return found

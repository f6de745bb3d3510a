"""Recordings of scores: a JSON line for each observation, never a pixel. A thread writes, so that no turn waits."""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import edge_fer
from edge_fer.decide import DecideSettings
from edge_fer.errors import UnavailableError, UsageError
from edge_fer.labels import EXPRESSIONS
from edge_fer.look import CameraNews, FaceLook, Look, Observation, Tick
from edge_fer.privacy import hide_password

log = logging.getLogger(__name__)

FORMAT = "edge-fer scores"
FORMAT_VERSION = 1

FLUSH_S = 1.0
"""What a power cut may take."""

WAITING = 10_000
"""Observations that may wait for a slow disk, minutes of several cameras; more are dropped and counted."""

CLOSE_S = 2.0
"""How long the end of the daemon waits for the disk."""


class ScoreRecorder:
    """Writes observations to a file as they are put; one that cannot be written ends the recording, not the daemon."""

    def __init__(self, out: TextIO, header: Mapping[str, Any], *, waiting: int = WAITING) -> None:
        """`out` is closed at the end; `header` as `recording_header` makes it. `start` begins to write."""
        self._out, self._name = out, str(out.name)
        self._waiting = queue.Queue[Observation | None](maxsize=waiting)  # None: the end
        self._thread = threading.Thread(target=self._run, name="score-recorder", daemon=True)
        self._header = header
        self._closing = False
        self._noted = 0  # drops that stand in the file
        self.dropped = 0  # observations that the disk was too slow for
        self.problem: str | None = None  # why nothing is recorded any more

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, seen: Observation) -> None:
        """Leave an observation; never blocks."""
        if self.problem:
            return
        try:
            self._waiting.put_nowait(seen)
        except queue.Full:
            self.dropped += 1

    @property
    def alive(self) -> bool:
        """Whether it writes, or has ended as it should; false after an error that nobody expected."""
        return self._thread.is_alive() or self._closing or self.problem is not None

    def close(self) -> None:
        """Write what waits, and end; a disk that hangs is waited for CLOSE_S."""
        self._closing = True
        if self._thread.ident is None:
            self._out.close()
            return
        if self.problem:
            return
        until_s = time.monotonic() + CLOSE_S
        try:
            self._waiting.put(None, timeout=CLOSE_S)
        except queue.Full:
            return
        self._thread.join(max(0.0, until_s - time.monotonic()))

    def _run(self) -> None:
        try:
            with self._out:
                self._write_all()
        except OSError as err:
            self.problem = f"{self._name}: scores are recorded no more ({err.strerror})"
            log.error("%s", self.problem)  # noqa: TRY400 - expected of a disk; a traceback tells nobody anything

    def _write_all(self) -> None:
        self._write(self._header)
        self._out.flush()
        flushed_s = time.monotonic()
        while True:
            try:
                seen = self._waiting.get(timeout=FLUSH_S)
                if seen is None:
                    break
                self._write(as_line(seen))
            except queue.Empty:
                pass
            if time.monotonic() - flushed_s >= FLUSH_S:
                self._note_dropped()
                self._out.flush()
                flushed_s = time.monotonic()
        self._note_dropped()

    def _note_dropped(self) -> None:
        dropped = self.dropped
        if dropped > self._noted:
            self._write({"kind": "dropped", "count": dropped - self._noted})
            self._noted = dropped

    def _write(self, line: Mapping[str, Any]) -> None:
        self._out.write(json.dumps(line, separators=(",", ":")) + "\n")


def open_recording(path: Path) -> TextIO:
    """A new file that only its owner may read: scores tell of people.

    UsageError where it exists; UnavailableError where it cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError as err:
        raise UsageError(f"{path}: exists already; recordings are never overwritten, give another name") from err
    except OSError as err:
        raise UnavailableError(f"{path}: cannot be written ({err.strerror})") from err
    os.close(descriptor)
    return path.open("w", encoding="utf-8")


def recording_header(
    *, node: str, boot_id: str, cameras: Sequence[str], decide: DecideSettings, started_unix_ns: int, first_seq: int = 1
) -> dict[str, Any]:
    """The first line; `decide` with the threshold in use, `first_seq` of the first event that is decided from it."""
    return {
        "kind": "header",
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "edge_fer": edge_fer.__version__,
        "node": node,
        "boot_id": boot_id,
        "started_unix_ns": started_unix_ns,
        "first_seq": first_seq,
        "cameras": list(cameras),
        "labels": list(EXPRESSIONS),
        "decide": decide.model_dump(),
    }


def as_line(seen: Observation) -> dict[str, Any]:
    """An observation as it is written, and as decisions see it: see `Look.rounded`."""
    times = {"time_ns": seen.time_ns, "unix_ns": seen.unix_ns}
    if isinstance(seen, Look):
        return _look_line(seen.rounded(), times)
    if isinstance(seen, CameraNews):
        reason = hide_password(seen.reason)
        return {"kind": "camera", **times, "camera": seen.camera, "state": seen.state, "reason": reason}
    if isinstance(seen, Tick):
        return {"kind": "tick", **times}
    return {"kind": "stop", **times, "reason": seen.reason}


def _look_line(look: Look, times: Mapping[str, int]) -> dict[str, Any]:
    return {
        "kind": "look",
        **times,
        "camera": look.camera,
        "seq": look.seq,
        "clip_ms": look.clip_ms,
        "age_ms": look.age_ms,
        "width_px": look.width_px,
        "height_px": look.height_px,
        "faces": [_face_line(face) for face in look.faces],
        "lost": look.lost,
        "waiting": look.waiting,
    }


def _face_line(face: FaceLook) -> dict[str, Any]:
    return {
        "track": face.track,
        "box": face.box,
        "quality": asdict(face.quality),
        "probabilities": face.probabilities,
    }

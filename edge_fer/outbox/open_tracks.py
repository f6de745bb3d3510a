"""Tracks that a restart left open: what their `end` is made of, and how they are read back."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from edge_fer.events import ExpressionEvent
from edge_fer.memory.state_folder import read_file

log = logging.getLogger(__name__)

OLD_FILE = "open-tracks.json"
"""Where versions before the store had them."""

_CAMERA = re.compile(r"[a-z0-9-]{1,63}")


class TrackKey(NamedTuple):
    """What tells one track from every other of a node."""

    boot_id: str
    camera: str
    track: int


@dataclass(frozen=True, slots=True)
class OpenTrack:
    """A track of an earlier boot whose end was never told."""

    event: ExpressionEvent  # the last one about it
    last_known_at: str  # when the daemon last wrote that it was open

    def end(self, *, event_id: str, seq: int, boot_id: str) -> ExpressionEvent:
        """Its end, reason "restart", numbered by this boot; `track_boot_id` and `track` lead to its start.

        It happened when the track was last known, not now. Nothing is known of the time since the last event, so peak
        and mean are the confidence that this event gave.
        """
        last = self.event
        known_ms = max(0, _unix_ms(self.last_known_at) - _unix_ms(last.occurred_at))
        return replace(
            last,
            id=event_id,
            seq=seq,
            boot_id=boot_id,
            type="end",
            reason="restart",
            track_boot_id=last.boot_id,
            occurred_at=self.last_known_at if known_ms else last.occurred_at,
            duration_ms=last.duration_ms + known_ms,
            expression_ms=known_ms,
            peak=last.confidence,
            mean=last.confidence,
            previous=None,
            clip_ms=None,
            quality=None,
            frame_age_ms=0,
        )


class TrackChange(NamedTuple):
    """What an event does to the set of open tracks."""

    key: TrackKey
    body: Mapping[str, Any] | None  # the last event about it; None: it is over


_ENTRY = TypeAdapter(OpenTrack)
_ENTRIES = TypeAdapter(list[OpenTrack])


def track_change(body: Mapping[str, Any]) -> TrackChange:
    """Of the body of an expression event; the end of a track of an earlier boot is about that boot's track."""
    key = TrackKey(body["track_boot_id"] or body["boot_id"], body["camera"], body["track"])
    return TrackChange(key, None if body["type"] == "end" else body)


def key_of(track: OpenTrack) -> TrackKey:
    """Under which it is kept."""
    return TrackKey(track.event.boot_id, track.event.camera, track.event.track)


def track_json(body: Mapping[str, Any]) -> str:
    """The event as it is kept."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def parse_track(event_json: str, last_known_at: str) -> OpenTrack | None:
    """None for whatever this version could not have written: it would be published."""
    try:
        event = json.loads(event_json)
        return _checked(_ENTRY.validate_json(json.dumps({"event": event, "last_known_at": last_known_at}), strict=True))
    except (ValueError, TypeError, RecursionError):
        return None


def read_old_file(folder: Path) -> tuple[list[OpenTrack], str]:
    """What a version before the store left open, and what is wrong with the file; a damaged one is set aside."""
    path = folder / OLD_FILE
    try:
        return [_checked(track) for track in _ENTRIES.validate_json(read_file(path), strict=True)], ""
    except FileNotFoundError:
        return [], ""
    except (OSError, ValueError) as err:  # a ValidationError is a ValueError
        why = err.strerror if isinstance(err, OSError) else "damaged"
    problem = f"{path}: {why}; what was open before this start gets no end"
    log.warning("%s", problem)
    try:
        path.replace(path.with_name(path.name + ".damaged"))
    except OSError as err:
        log.warning("%s: cannot be set aside (%s)", path, err.strerror)
    return [], problem


def _checked(track: OpenTrack) -> OpenTrack:
    if not _CAMERA.fullmatch(track.event.camera):
        raise ValueError("not a camera")
    track.end(event_id="", seq=0, boot_id="")  # its times make sense
    json.dumps(asdict(track), allow_nan=False, ensure_ascii=False).encode()
    if not -(2**63) <= track.event.track < 2**63:
        raise ValueError("not a track")
    return track


def _unix_ms(text: str) -> int:
    """ValueError for anything but a time with its zone."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError(f"{text}: a time without its zone")
    return round(moment.timestamp() * 1000)

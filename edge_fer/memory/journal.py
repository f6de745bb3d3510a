"""Which tracks are open, on disk: what a restart left open still gets its end."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from edge_fer.events import ExpressionEvent, rfc3339
from edge_fer.memory.state_folder import read_file, replace_file

log = logging.getLogger(__name__)

JOURNAL_FILE = "open-tracks.json"

_CAMERA = re.compile(r"[a-z0-9-]{1,63}")
_Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class JournalPace:
    """How often the journal is written."""

    at_most_every_s: float = 0.25
    """Between two writes. What a crash can lose: the starts of this time."""

    ends_after_s: float = 1.0
    """Ends and updates are not urgent: without them there is an end twice, or with an older expression."""

    alive_every_s: float = 30.0
    """While tracks are open, so that the time at which they were last known is not older than this."""


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


_ENTRIES = TypeAdapter(list[OpenTrack])


class Journal:
    """Keeps the set of open tracks in the state folder, from a thread of its own: no turn ever waits for the disk.

    Guarantee: after a crash, a kill or a power cut the file is whole, and holds a set of tracks that was open at some
    moment of the last seconds. A start is written at once, or `at_most_every_s` after the write before; so a daemon
    that dies within about that time (plus that of one write) of publishing a start leaves this start without an end,
    and one that dies soon after publishing an end will tell that end again. For what falls through, subscribers have
    the rule that a new `boot_id` in the node's `info` ends every track of the boot before.

    What was left open stays in the file until `forget_left_open`, so that an end is not lost by a second crash either.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        pace: JournalPace | None = None,
        unix_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`folder` exists; None remembers nothing."""
        self._path = None if folder is None else folder / JOURNAL_FILE
        self._pace = pace or JournalPace()
        self._unix_ns = unix_ns
        self._changed = threading.Condition()
        self._open: dict[_Key, ExpressionEvent] = {}
        self._left: list[OpenTrack] = []
        self._due_s = float("inf")  # of time.monotonic()
        self._not_before_s = 0.0
        self._noted = self._written = 0  # changes; written says which of them the file holds
        self._file_is_empty = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self.problem = ""
        """Why the file is not what it should be; "" where it is."""

    @property
    def alive(self) -> bool:
        """Whether the thread runs; False after start() and before stop() means that it crashed."""
        return self._thread.is_alive()

    def left_open(self) -> list[OpenTrack]:
        """What the boot before left open; call once, before start(). A damaged file is set aside, and a problem."""
        if self._path is None:
            return []
        try:
            self._left = _parsed(read_file(self._path))
            self._file_is_empty = not self._left
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as err:
            why = err.strerror if isinstance(err, OSError) else "damaged"
            self.problem = f"{self._path}: {why}; what was open before this start gets no end"
            log.warning("%s", self.problem)
            self._set_aside(self._path)
        return list(self._left)

    def start(self) -> None:
        """Begin to write; once."""
        if self._path is not None:
            self._thread.start()

    def note(self, event: ExpressionEvent) -> None:
        """Take note of an event that was published; never blocks on the disk."""
        key = (event.boot_id, event.camera, event.track)
        with self._changed:
            urgent = event.type != "end" and key not in self._open
            if event.type == "end":
                self._open.pop(key, None)
            else:
                self._open[key] = event
            self._due(0 if urgent else self._pace.ends_after_s)

    def forget_left_open(self) -> None:
        """The ends of what was left open are with the publisher (better: with the broker)."""
        with self._changed:
            if self._left:
                self._left = []
                self._due(0)

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was noted is on disk; returns whether it is."""
        if self._path is None:
            return True
        with self._changed:
            self._due_s = 0.0
            self._changed.notify_all()
            noted = self._noted
            return self._changed.wait_for(lambda: self._written >= noted or not self.alive, timeout_s) and self.alive

    def stop(self, timeout_s: float = 0.3) -> None:
        """Write what is open now and end; a disk that hangs ends with the process."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _due(self, within_s: float) -> None:
        self._noted += 1
        self._due_s = min(self._due_s, time.monotonic() + within_s)
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._stopping and (left_s := max(self._due_s, self._not_before_s) - time.monotonic()) > 0:
                    self._changed.wait(min(left_s, threading.TIMEOUT_MAX))
                stopping, noted = self._stopping, self._noted
                now = rfc3339(self._unix_ns())
                entries = [*self._left, *(OpenTrack(event, now) for event in self._open.values())]
                self._due_s = float("inf")
            written = self._write(entries)
            with self._changed:
                if written:
                    self._written = noted
                if entries or not written:
                    self._due_s = min(self._due_s, time.monotonic() + self._pace.alive_every_s)
                self._not_before_s = time.monotonic() + self._pace.at_most_every_s
                self._changed.notify_all()
            if stopping:
                return

    def _write(self, entries: list[OpenTrack]) -> bool:
        if self._path is None or (not entries and self._file_is_empty):
            return True  # a track that was opened and closed between two writes costs nothing
        content = json.dumps([asdict(entry) for entry in entries], ensure_ascii=False).encode()
        try:
            replace_file(self._path, content)
        except OSError as err:
            if not self.problem:
                log.warning("%s: cannot be written (%s)", self._path, err.strerror)
            self.problem = f"{self._path}: cannot be written ({err.strerror}); open tracks get no end after a restart"
            return False
        self._file_is_empty = not entries
        self.problem = ""
        return True

    @staticmethod
    def _set_aside(path: Path) -> None:
        try:
            path.replace(path.with_name(path.name + ".damaged"))
        except OSError as err:  # it is overwritten by the next write, or cannot be, which is then told
            log.warning("%s: cannot be set aside (%s)", path, err.strerror)


def _parsed(content: bytes) -> list[OpenTrack]:
    """ValueError for whatever this version could not have written: it would be published."""
    try:
        entries = _ENTRIES.validate_json(content, strict=True)
    except ValidationError as err:
        raise ValueError("not a journal") from err
    for entry in entries:
        if not _CAMERA.fullmatch(entry.event.camera):
            raise ValueError("not a camera")
        entry.end(event_id="", seq=0, boot_id="")  # its times make sense
        json.dumps(asdict(entry), allow_nan=False, ensure_ascii=False).encode()
    return entries


def _unix_ms(text: str) -> int:
    """ValueError for anything but a time with its zone."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError(f"{text}: a time without its zone")
    return round(moment.timestamp() * 1000)

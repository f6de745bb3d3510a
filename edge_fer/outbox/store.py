"""The thread that owns the database: what is handed to it is on disk a moment later, and nobody waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from edge_fer.events import rfc3339
from edge_fer.outbox.database import Database
from edge_fer.outbox.database_file import DatabaseFile
from edge_fer.outbox.faults import DamagedError, DiskError, disk_cure, writable_beside
from edge_fer.outbox.open_tracks import OpenTrack, TrackChange
from edge_fer.outbox.rows import Changes, Contents, Loaded, WaitingEvent
from edge_fer.outbox.unwritten import Unwritten

log = logging.getLogger(__name__)

_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class StorePace:
    """How often the disk is written."""

    at_most_every_s: float = 0.02
    """Between two transactions with events: those that come in this time share one, for the sake of the card."""

    removals_after_s: float = 0.5
    """Without new events: what was delivered is removed this much later; a crash before delivers it twice."""

    alive_every_s: float = 30.0
    """While tracks are open, so that the time at which they were last known is not older than this."""

    retry_s: float = 2.0
    """After the disk has failed."""

    hangs_after_s: float = 5.0
    """A disk that has not answered for this long is taken for one that fails."""


class Listener(Protocol):
    """Who hands events to the store; called from its thread."""

    def on_stored(self, events: list[WaitingEvent]) -> None:
        """These are safe now."""

    def on_loaded(self, topic: str, loaded: Loaded) -> None:
        """The answer to load()."""

    def on_trouble(self) -> None:
        """The disk fails: events cannot wait for it."""

    def on_fresh_file(self) -> None:
        """The file was damaged: all that was only there is lost."""


class _Wish(NamedTuple):
    after: int
    limit: int


class Store:
    """Keeps events and open tracks in the state folder, from a thread of its own.

    Guarantee: what a transaction has written (`on_stored`) outlives a kill and a power cut. An event and what it does
    to the set of open tracks are in the same transaction, so that whoever was told a start is told one end.

    A disk that is full, read-only or broken is a `problem`: what is handed over stays in memory, and is written as soon
    as it can be. A damaged file is set aside, and a fresh one made.
    """

    def __init__(
        self, folder: Path, *, pace: StorePace | None = None, unix_ns: Callable[[], int] = time.time_ns
    ) -> None:
        """Open the file in a folder that exists; what it holds is in `contents`."""
        self._file, self._pace, self._unix_ns = DatabaseFile(folder, self._begin_afresh), pace or StorePace(), unix_ns
        self._lock = threading.Condition()
        self._wishes: dict[str, _Wish] = {}
        self._removals_due_s = self._beat_due_s = self._shrink_due_s = _NEVER  # of time.monotonic()
        self._not_before_s = 0.0
        self._busy_since_s = _NEVER
        self._stopping = False
        self._failures = 0  # in a row
        self._trouble = ""
        self._listener: Listener | None = None
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self.committed = 0  # transactions
        self._unwritten = Unwritten({})
        self.contents = self._first_contents()
        self._unwritten = Unwritten(self.contents.losses)
        self.last_number = self.contents.last_number
        self._first_number = self.last_number + 1
        self._offset_ns, self._shift_ns = unix_ns() - time.monotonic_ns(), 0

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    @property
    def left_open(self) -> tuple[OpenTrack, ...]:
        """Tracks of earlier runs; each is forgotten in the transaction that makes its `end` safe."""
        return self.contents.open_tracks

    @property
    def alive(self) -> bool:
        """Whether the thread runs; False after start() and before stop() means that it crashed."""
        return self._thread.is_alive()

    @property
    def failing(self) -> bool:
        """Whether events had better not wait for the disk."""
        return bool(self._trouble) or self._hangs_s > 0

    @property
    def unwritten(self) -> int:
        """Events that are in memory only."""
        return len(self._unwritten.events)

    @property
    def losses(self) -> dict[str, int]:
        """Events lost since the file was made, by reason."""
        return dict(self._unwritten.losses)

    @property
    def problem(self) -> str:
        """Why what is kept would not outlive a restart, or what was lost; "" where all is well."""
        if hangs_s := self._hangs_s:
            # In steps, or the text would change with each look.
            return f"{self.path}: the disk has not answered for {hangs_s // 10 * 10:.0f} s or more; {_IN_MEMORY}"
        return self._trouble or self._file.damage

    def start(self, listener: Listener) -> None:
        """Begin to write; once."""
        self._listener = listener
        self._thread.start()

    def add(self, event: WaitingEvent | None, track: TrackChange | None) -> None:
        """Keep an event, and what it does to the open tracks; never blocks on the disk."""
        with self._lock:
            # Where something waits already, the thread knows when to write: woken for nothing, it would hold the lock
            # when the next event comes.
            is_known = self._unwritten.news
            self._unwritten.add(event, track)
            if not is_known:
                self._lock.notify_all()

    def remove(self, event: WaitingEvent) -> None:
        """Forget an event: it is delivered, or lost. One that was not written yet never is."""
        with self._lock:
            if self._unwritten.remove(event) and self._removals_due_s == _NEVER:
                self._removals_due_s = time.monotonic() + self._pace.removals_after_s
                self._lock.notify_all()

    def count_loss(self, reason: str, events: int) -> None:
        """Events that nobody will be told; the sums outlive a restart."""
        with self._lock:
            self._unwritten.count_loss(reason, events)
            self._lock.notify_all()

    def load(self, topic: str, after: int, limit: int) -> None:
        """Ask for events of a topic: the oldest with a number above `after`."""
        with self._lock:
            self._wishes[topic] = _Wish(after, limit)
            self._lock.notify_all()

    def oldest_unwritten(self, limit: int) -> list[WaitingEvent]:
        """Of those that are in memory only."""
        with self._lock:
            return self._unwritten.oldest(limit)

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was handed over is on disk; returns whether it is."""
        with self._lock:
            self._removals_due_s = min(self._removals_due_s, 0.0) if self._unwritten.removed else _NEVER
            self._lock.notify_all()
            return self._lock.wait_for(lambda: not self._unwritten.any or not self.alive, timeout_s) and self.alive

    def stop(self, timeout_s: float = 0.5) -> None:
        """Write what there is and end; a disk that hangs ends with the process."""
        with self._lock:
            self._stopping = True
            self._lock.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        else:
            self._file.close()

    @property
    def _hangs_s(self) -> float:
        """How long a disk has not answered; 0 for one that has, or may still."""
        busy_s = time.monotonic() - self._busy_since_s
        return busy_s if busy_s > self._pace.hangs_after_s else 0.0

    def _first_contents(self) -> Contents:
        try:
            return self._file.open()
        except DiskError as err:
            self._fails(err)
            # What is in a file that cannot be read now must not meet other events of the same number later.
            return Contents(last_number=time.time_ns())

    def _due_s(self) -> float:
        """When there is something to do, of time.monotonic()."""
        due_s = min(self._removals_due_s, self._beat_due_s, self._shrink_due_s)
        if self._unwritten.urgent:
            due_s = 0.0
        if self._trouble:
            return self._not_before_s
        return 0.0 if self._wishes else max(due_s, self._not_before_s)

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._stopping and (left_s := self._due_s() - time.monotonic()) > 0:
                    self._lock.wait(min(left_s, threading.TIMEOUT_MAX))
                stopping = self._stopping
                still_open = time.monotonic() >= self._beat_due_s
                changes, wishes = self._unwritten.take(still_open=still_open), dict(self._wishes)
                self._busy_since_s = time.monotonic()
            self._turn(changes, wishes)
            with self._lock:
                self._busy_since_s = _NEVER
                pause_s = self._pace.retry_s if self._trouble else self._pace.at_most_every_s
                self._not_before_s = time.monotonic() + pause_s
                self._lock.notify_all()
            if stopping:
                self._file.close()
                return

    def _turn(self, changes: Changes, wishes: Mapping[str, _Wish]) -> None:
        try:
            self._carry_out(changes, wishes)
        except DiskError as err:
            self._file.close()
            self._fails(err)
            self._suspect_file(err)
        except DamagedError as err:
            try:
                self._file.begin_afresh(err)
            except DiskError as cannot:
                self._fails(cannot)
        else:
            self._failures = 0
            if self._trouble:
                log.info("%s: can be written again", self.path)
                self._trouble = ""
            return
        with self._lock:
            self._unwritten.failed()
        if self._listener and self._trouble:
            self._listener.on_trouble()

    def _carry_out(self, changes: Changes, wishes: Mapping[str, _Wish]) -> None:
        if self._file.database is None:
            found = self._file.open().losses
            with self._lock:
                self._unwritten.found_losses(found)
        database = self._file.database
        if database is None:
            return
        self._load(database, wishes)
        if any((changes.events, changes.removed, changes.tracks, changes.still_open, changes.losses)):
            self._watch_clock(database)
            database.write(changes, rfc3339(self._unix_ns()), shift_ns=self._shift_ns)
            self.committed += 1
            self._written(changes)
        elif time.monotonic() >= self._shrink_due_s:
            self._shrink_due_s = time.monotonic() + _SHRINK_PAUSE_S if database.shrink() else _NEVER

    def _load(self, database: Database, wishes: Mapping[str, _Wish]) -> None:
        """Before anything is written: a full disk can still be read."""
        for topic, wish in wishes.items():
            loaded = database.load(topic, wish.after, wish.limit)
            for event in loaded.events:
                if event.number >= self._first_number:
                    event.put_ns -= self._shift_ns
            with self._lock:
                self._wishes.pop(topic, None)  # not there where the file was set aside just now
            if self._listener:
                self._listener.on_loaded(topic, loaded)

    def _watch_clock(self, database: Database) -> None:
        """A time server has set the clock: after a restart, what was put before must not look older than it is."""
        by_ns = self._unix_ns() - time.monotonic_ns() - self._offset_ns - self._shift_ns
        if abs(by_ns) > _JUMP_NS:
            database.shift(self._first_number, by_ns)
            self._shift_ns += by_ns

    def _written(self, changes: Changes) -> None:
        with self._lock:
            self._unwritten.written(changes)
            now_s = time.monotonic()
            self._removals_due_s = now_s + self._pace.removals_after_s if self._unwritten.removed else _NEVER
            if changes.removed and self._shrink_due_s == _NEVER:
                # Not put off by the next: a busy node is never without removals for long.
                self._shrink_due_s = now_s + _SHRINK_PAUSE_S
            self._beat_due_s = now_s + self._pace.alive_every_s if self._unwritten.has_open_tracks else _NEVER
        if self._listener and changes.events:
            self._listener.on_stored(list(changes.events))

    def _begin_afresh(self) -> None:
        """The file is gone. What is still in memory is to be written again: events, open tracks, sums of losses."""
        with self._lock:
            self._unwritten.begin_afresh()
            self._wishes.clear()
        if self._listener:
            self._listener.on_fresh_file()

    def _suspect_file(self, err: DiskError) -> None:
        """Some damage looks like a disk that fails; a transient failure is over before the patience is."""
        self._failures += 1
        blamed = str(err).startswith(("disk I/O error", "attempt to write a readonly"))
        if not (blamed and self._failures > _PATIENCE and writable_beside(self.path)):
            return
        try:
            self._file.begin_afresh(DamagedError(str(err)))
        except DiskError as cannot:
            self._fails(cannot)

    def _fails(self, err: DiskError) -> None:
        if not self._trouble:
            log.error("%s: cannot be written (%s); %s", self.path, err, _IN_MEMORY)
        self._trouble = f"{self.path}: cannot be written ({err}); {_IN_MEMORY}; {disk_cure(str(err))}"


_IN_MEMORY = "events are held in memory, and lost at a restart or power cut"
_PATIENCE = 3  # attempts at a file that fails on a disk that does not
_JUMP_NS = 60_000_000_000
_SHRINK_PAUSE_S = 1.0

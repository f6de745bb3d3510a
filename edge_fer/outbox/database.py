"""The file that keeps events until the broker has them, and the tracks that are open: one sqlite database."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_fer.outbox.faults import BUSY_S, DamagedError, NewerError, told_apart
from edge_fer.outbox.open_tracks import (
    OLD_FILE,
    OpenTrack,
    key_of,
    parse_track,
    read_old_file,
    track_json,
)
from edge_fer.outbox.rows import Changes, Contents, Loaded, Rows, event_from, event_row

log = logging.getLogger(__name__)

DATABASE_FILE = "edge-fer.db"

_VERSION = 1
_WAL_BYTES = 4_000_000  # what it is cut back to after a checkpoint
_FREE_PAGES, _PAGES_AT_ONCE = 64, 1000  # given back to the file system; a few at a time, so that events do not wait

_SCHEMA = f"""
CREATE TABLE event (
  number INTEGER PRIMARY KEY,  -- of the order in which they were decided
  topic TEXT NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL, expiry_s INTEGER,
  put_ns INTEGER NOT NULL, size INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE INDEX event_of_topic ON event (topic, number, size, put_ns);
CREATE TABLE open_track (
  boot_id TEXT NOT NULL, camera TEXT NOT NULL, track INTEGER NOT NULL,
  event TEXT NOT NULL, last_known_at TEXT NOT NULL, PRIMARY KEY (boot_id, camera, track)
);
CREATE TABLE loss (reason TEXT PRIMARY KEY, events INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {_VERSION};
"""


class Database:
    """The file, used by one thread. All methods: DiskError where the disk fails, DamagedError where the file is bad."""

    def __init__(self, folder: Path) -> None:
        """Open or make it, 0600, in a folder that exists."""
        self.path = folder / DATABASE_FILE
        self.notes: list[str] = []  # what became of a file of an older version
        with told_apart():
            if not self.path.exists():
                os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            self._connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        with ExitStack() as unless_ready:
            unless_ready.callback(self.close)
            with told_apart():
                self._prepare()
                self._take_over_old_file(folder)
            unless_ready.pop_all()

    def close(self) -> None:
        """Let go of the file; what was written stays."""
        try:
            self._connection.close()
        except sqlite3.Error as err:
            log.info("%s: not closed in good order (%s); it is checked when it is opened again", self.path, err)

    def contents(self) -> Contents:
        """What it holds, without reading any event."""
        with told_apart():
            topics = {
                str(topic): Rows(int(events), int(size), int(oldest_ns))
                for topic, events, size, oldest_ns in self._all(
                    "SELECT topic, count(*), sum(size), min(put_ns) FROM event GROUP BY topic"
                )
            }
            (last,) = self._all("SELECT coalesce(max(number), 0) FROM event")[0]
            losses = {str(reason): int(events) for reason, events in self._all("SELECT reason, events FROM loss")}
            return Contents(topics, int(last), tuple(self._open_tracks()), losses)

    def write(self, changes: Changes, now: str, *, shift_ns: int = 0) -> None:
        """All of it or nothing, and safe on disk when this returns; `now` is when open tracks were last known.

        `shift_ns` is what the wall clock was found to be wrong by when these events were put.
        """
        with told_apart(), self._transaction() as run:
            run.executemany(
                "INSERT OR REPLACE INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (event_row(event, shift_ns) for event in changes.events),
            )
            run.executemany("DELETE FROM event WHERE number = ?", ((number,) for number in changes.removed))
            known = ((now, boot_id) for boot_id in changes.still_open)
            run.executemany("UPDATE open_track SET last_known_at = ? WHERE boot_id = ?", known)
            for key, body in changes.tracks.items():
                if body is None:
                    run.execute("DELETE FROM open_track WHERE boot_id = ? AND camera = ? AND track = ?", key)
                else:
                    row = (*key, track_json(body), now)
                    run.execute("INSERT OR REPLACE INTO open_track VALUES (?, ?, ?, ?, ?)", row)
            run.executemany("INSERT OR REPLACE INTO loss VALUES (?, ?)", changes.losses.items())

    def load(self, topic: str, after: int, limit: int) -> Loaded:
        """The oldest events of a topic with a number above `after`."""
        loaded = Loaded([], [])
        with told_apart():
            for row in self._all(
                "SELECT number, qos, retain, expiry_s, put_ns, size, crc, body FROM event"
                " WHERE topic = ? AND number > ? ORDER BY number LIMIT ?",
                (topic, after, limit),
            ):
                if event := event_from(topic, *row):
                    loaded.events.append(event)
                else:
                    loaded.damaged.append((int(row[0]), int(row[5])))
        return loaded

    def shift(self, first_number: int, by_ns: int) -> None:
        """The wall clock was wrong when these events and all later ones were put."""
        with told_apart(), self._transaction() as run:
            run.execute("UPDATE event SET put_ns = put_ns + ? WHERE number >= ?", (by_ns, first_number))

    def shrink(self) -> bool:
        """Give some unused pages back to the file system; returns whether there are more.

        Only where most of the file is unused: pages in use have to move, which a backlog that is drained would do all
        along.
        """
        with told_apart():
            (free,), (pages,) = self._all("PRAGMA freelist_count")[0], self._all("PRAGMA page_count")[0]
            if free < max(_FREE_PAGES, pages // 2):
                return False
            # Not execute(), which makes one step, and so frees one page.
            self._connection.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")
            if free > _PAGES_AT_ONCE:
                return True
            self._all("PRAGMA wal_checkpoint(TRUNCATE)")
            return False

    def _prepare(self) -> None:
        (version,) = self._all("PRAGMA user_version")[0]
        if version > _VERSION:
            raise NewerError(f"it was written by a newer edge-fer (format {version}, this one knows {_VERSION})")
        if version == 0:
            if self._all("SELECT name FROM sqlite_master LIMIT 1"):
                raise DamagedError("it is a database of something else")
            self._all("PRAGMA auto_vacuum = INCREMENTAL")
        self.path.chmod(0o600)
        self._all("PRAGMA journal_mode = WAL")
        self._all("PRAGMA synchronous = FULL")
        self._all(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        if version == 0:
            with self._transaction() as run:
                for statement in _SCHEMA.split(";\n"):
                    run.execute(statement)

    def _take_over_old_file(self, folder: Path) -> None:
        """The open tracks of a version before this file; once."""
        tracks, problem = read_old_file(folder)
        if problem:
            self.notes.append(problem)
        if tracks:
            with self._transaction() as run:
                for track in tracks:
                    row = (*key_of(track), track_json(asdict(track.event)), track.last_known_at)
                    run.execute("INSERT OR IGNORE INTO open_track VALUES (?, ?, ?, ?, ?)", row)
        with suppress(FileNotFoundError):
            (folder / OLD_FILE).unlink()

    def _open_tracks(self) -> Iterator[OpenTrack]:
        for row, event, last_known_at in self._all("SELECT rowid, event, last_known_at FROM open_track ORDER BY rowid"):
            if track := parse_track(event, last_known_at):
                yield track
            else:
                self.notes.append(f"{self.path}: an open track is damaged; it gets no end")
                self._all("DELETE FROM open_track WHERE rowid = ?", (row,))

    def _all(self, statement: str, values: Sequence[object] = ()) -> list[Any]:
        return self._connection.execute(statement, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:  # not committed; after some failures SQLite has undone it itself
                self._roll_back()

    def _roll_back(self) -> None:
        try:
            self._connection.execute("ROLLBACK")
        except sqlite3.Error as err:  # the failure before it is the one to raise
            log.warning("%s: a transaction that failed cannot be rolled back (%s)", self.path, err)

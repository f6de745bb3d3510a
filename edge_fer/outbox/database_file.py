"""The database as it can be had now: a file that is of no use is set aside, and a fresh one made."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from edge_fer.outbox.database import DATABASE_FILE, Database
from edge_fer.outbox.faults import DamagedError, DiskError, NewerError, set_aside
from edge_fer.outbox.rows import Contents

log = logging.getLogger(__name__)


class DatabaseFile:
    """The database in a folder that exists, used by one thread."""

    def __init__(self, folder: Path, on_set_aside: Callable[[], None]) -> None:
        """Nothing is opened yet. `on_set_aside` is called whenever a file has gone, and before another is made."""
        self._folder, self._on_set_aside = folder, on_set_aside
        self.path = folder / DATABASE_FILE
        self.database: Database | None = None
        self.damage = ""
        """What was lost with a damaged file, for people; "" where nothing was."""

    def open(self) -> Contents:
        """Open the file, or make a fresh one in place of what is none; DiskError where neither can be done."""
        try:
            database, contents = self._opened()
        except DamagedError as err:
            self._set_aside(err)
            try:
                database, contents = self._opened()
            except DamagedError as again:
                raise DiskError(str(again)) from again
        if database.notes:
            self.damage = database.notes[0]
        return contents

    def begin_afresh(self, err: DamagedError) -> None:
        """Set the file aside and make a fresh one; DiskError where that cannot be done."""
        self._set_aside(err)
        self.open()

    def close(self) -> None:
        """Let go of the file until open()."""
        if self.database:
            self.database.close()
            self.database = None

    def _opened(self) -> tuple[Database, Contents]:
        self.database = Database(self._folder)
        return self.database, self.database.contents()

    def _set_aside(self, err: DamagedError) -> None:
        self.close()
        why = "newer" if isinstance(err, NewerError) else "damaged"
        try:
            aside = set_aside(self.path, why)
        except OSError as cannot:
            raise DiskError(f"{err}, and it cannot be set aside: {cannot.strerror}") from cannot
        self.damage = (
            f"{self.path}: not usable ({err}); set aside as {aside.name}, and a fresh one begun: events that only it "
            "held are not delivered"
        )
        log.error("%s", self.damage)
        self._on_set_aside()

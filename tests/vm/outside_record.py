"""What a broker outside of the machine was told, kept by a program of others; and what must be true of it."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

Event = tuple[str, dict[str, Any]]
"""Topic and body."""


def why_there_is_no_record() -> str | None:
    """What this machine lacks, with the cure."""
    return None if shutil.which("mosquitto_sub") else "apt-get install mosquitto-clients"


class Record:
    """A mosquitto_sub with a session of its own writes down all that is published below edge-fer/, one line each."""

    def __init__(self, port: int, file: Path) -> None:
        self._file = file
        session = ("-i", "record", "-V", "mqttv5", "-c", "-x", "86400", "-q", "1")
        where = ("-h", "127.0.0.1", "-p", str(port), "-t", "edge-fer/#", "-F", "%t %p")
        with file.open("wb") as out:
            self._writer = subprocess.Popen(["mosquitto_sub", *session, *where], stdin=subprocess.DEVNULL, stdout=out)

    def lines(self) -> list[list[str]]:
        """Topic and payload, as they came; a line that is being written is left out."""
        assert self._writer.poll() is None, "the record has ended: nothing outside knows what was published"
        whole, _, _ = self._file.read_text(errors="replace").rpartition("\n")
        return [line.split(" ", 1) for line in whole.splitlines() if " " in line]

    def payloads(self, topic: str) -> list[str]:
        return [payload for told, payload in self.lines() if told == topic]

    def bodies(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(payload) for payload in self.payloads(topic)]

    def events(self) -> list[Event]:
        """All events as they came; repetitions too."""
        return [(topic, json.loads(payload)) for topic, payload in self.lines() if topic.endswith("/events")]

    def ids(self) -> set[str]:
        return {body["id"] for _, body in self.events()}

    def close(self) -> None:
        self._writer.kill()
        self._writer.wait()


def stored_ids(folder: Path) -> set[str]:
    """Ids of the events that wait in the database of a state folder; it must be whole, and the daemon's first.

    `folder` is a copy: looking changes it.
    """
    names = sorted(path.name for path in folder.rglob("*"))
    (database,) = (path for path in folder.rglob("edge-fer.db*") if path.suffix == ".db")
    assert not [name for name in names if "damaged" in name], f"a database was set aside: {names}"
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        bodies = connection.execute("SELECT body FROM event WHERE topic LIKE '%/events'")
        return {json.loads(body)["id"] for (body,) in bodies}


def told_differently(events: Iterable[Event]) -> set[str]:
    """Ids that came with another event than at first; when it was published, and whether it waited, may differ."""
    kept: dict[str, tuple[str, dict[str, Any]]] = {}
    wrong = set()
    for topic, body in events:
        told = topic, {key: value for key, value in body.items() if key not in ("published_at", "replayed")}
        if kept.setdefault(body["id"], told) != told:
            wrong.add(body["id"])
    return wrong


def gaps(events: Iterable[Event]) -> dict[str, set[int]]:
    """By boot of the daemon, the numbers that are missing below the highest that came: events that were lost."""
    numbers: dict[str, set[int]] = {}
    for _, body in events:
        numbers.setdefault(body["boot_id"], set()).add(body["seq"])
    missing = {boot: set(range(1, max(came))) - came for boot, came in numbers.items()}
    return {boot: lost for boot, lost in missing.items() if lost}


def out_of_order(events: Iterable[Event]) -> set[str]:
    """Ids that came, for the first time, after a later event of their boot and topic."""
    newest: dict[tuple[str, str], int] = {}
    seen: set[str] = set()
    wrong = set()
    for topic, body in events:
        key = topic, body["boot_id"]
        if body["id"] not in seen and body["seq"] < newest.get(key, 0):
            wrong.add(body["id"])
        seen.add(body["id"])
        newest[key] = max(body["seq"], newest.get(key, 0))
    return wrong

"""The checks of a record can fail: each finds what it is there for."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from outside_record import Event, gaps, out_of_order, stored_ids, told_differently

pytestmark = pytest.mark.vm


def event(seq: int, boot: str = "a", **more: Any) -> Event:
    return "edge-fer/vm/camera/face/events", {"id": f"{boot}-{seq}", "seq": seq, "boot_id": boot, **more}


def test_a_gap_is_found_in_its_boot() -> None:
    assert gaps([event(1), event(2), event(1, "b"), event(3, "b")]) == {"b": {2}}
    assert gaps([event(2), event(1), event(1)]) == {}


def test_an_event_that_changes_when_it_is_repeated_is_found() -> None:
    again = event(1, type="start", replayed=True, published_at="later")
    assert told_differently([event(1, type="start", replayed=False, published_at="now"), again]) == set()
    assert told_differently([event(1, type="start"), event(1, type="end")]) == {"a-1"}


def test_an_order_that_is_wrong_is_found_and_a_repetition_is_not() -> None:
    assert out_of_order([event(1), event(2), event(1), event(1, "b")]) == set()
    assert out_of_order([event(2), event(1)]) == {"a-1"}


def test_a_damaged_database_is_found(tmp_path: Path) -> None:
    path = tmp_path / "edge-fer.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE event (topic TEXT, body BLOB)")
        rows = [("x/events", f'{{"id": "a-{number}", "text": "{"x" * 200}"}}') for number in range(200)]
        database.executemany("INSERT INTO event VALUES (?, ?)", rows)
        database.execute("INSERT INTO event VALUES ('x/status', '{}')")
        database.commit()
    assert len(stored_ids(tmp_path)) == 200
    content = bytearray(path.read_bytes())
    content[8200:8300] = bytes(100)
    path.write_bytes(content)
    with pytest.raises((AssertionError, sqlite3.DatabaseError)):
        stored_ids(tmp_path)

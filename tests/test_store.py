from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_open_tracks import LATER, START, event

from edge_fer.events import ExpressionEvent
from edge_fer.messages import Message, message
from edge_fer.outbox.database import DATABASE_FILE
from edge_fer.outbox.open_tracks import OLD_FILE, OpenTrack, track_change
from edge_fer.outbox.rows import Loaded, WaitingEvent, event_of
from edge_fer.outbox.store import Store, StorePace

WAIT_S = 60.0
QUICK = StorePace(at_most_every_s=0, removals_after_s=0, retry_s=0.02)


class Owner:
    """Hands events to a store, and remembers what it says."""

    def __init__(self, folder: Path, pace: StorePace = QUICK) -> None:
        self.store = Store(folder, pace=pace, unix_ns=lambda: 1_767_261_930_000_000_000)
        self.number = self.store.last_number
        self.stored: list[int] = []
        self.loaded: list[WaitingEvent] = []
        self.damaged = 0
        self.troubles = self.fresh_files = 0
        self.store.start(self)

    def put(self, told: Message) -> WaitingEvent:
        self.number += 1
        kept = event_of(told, self.number, self.number, late=False)
        self.store.add(kept, track_change(told.body) if told.tells_expression else None)
        return kept

    def tell(self, *events: ExpressionEvent) -> None:
        for told in events:
            self.put(message(told, "lab", told.camera))

    def all_of(self, topic: str) -> list[WaitingEvent]:
        """All events of a topic; what cannot be read is counted."""
        after = 0
        while True:
            before, damaged = len(self.loaded), self.damaged
            self.seen = threading.Event()
            self.store.load(topic, after, 50)
            assert self.seen.wait(WAIT_S)
            if (len(self.loaded), self.damaged) == (before, damaged):
                return self.loaded
            after = max([*(kept.number for kept in self.loaded[before:]), *self.damaged_numbers, after])

    damaged_numbers: tuple[int, ...] = ()

    def on_stored(self, events: list[WaitingEvent]) -> None:
        self.stored += [kept.number for kept in events]

    def on_loaded(self, _topic: str, loaded: Loaded) -> None:
        self.loaded += loaded.events
        self.damaged += len(loaded.damaged)
        self.damaged_numbers = tuple(number for number, _ in loaded.damaged)
        self.seen.set()

    def on_trouble(self) -> None:
        self.troubles += 1

    def on_fresh_file(self) -> None:
        self.fresh_files += 1


@contextmanager
def owner(folder: Path, pace: StorePace = QUICK) -> Iterator[Owner]:
    made = Owner(folder, pace)
    yield made
    assert made.store.alive, "the thread has crashed"
    made.store.stop(WAIT_S)
    assert not made.store.alive


def note(number: int) -> Message:
    return Message("edge-fer/lab/self-test", 1, retain=False, body={"id": f"b-{number}", "text": "ä"}, kept="every")


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(6000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def left_by(folder: Path) -> list[tuple[str, int]]:
    store = Store(folder)
    assert store.problem == ""
    store.stop()
    return sorted((track.event.camera, track.event.track) for track in store.left_open)


def numbers_in(folder: Path) -> list[int]:
    with closing(sqlite3.connect(folder / DATABASE_FILE)) as database:
        return [number for (number,) in database.execute("SELECT number FROM event ORDER BY number")]


def test_what_was_open_at_the_end_is_found_and_the_rest_is_not(tmp_path: Path) -> None:
    with owner(tmp_path) as first:
        first.tell(event("start", 1), event("start", 2), event("start", 2, "hall"), event("update", 2), event("end"))
    assert left_by(tmp_path) == [("front", 2), ("hall", 2)]
    assert (tmp_path / DATABASE_FILE).stat().st_mode & 0o777 == 0o600


def test_a_first_start_has_nothing_left_open(tmp_path: Path) -> None:
    assert left_by(tmp_path) == []


def test_the_end_after_a_restart_and_its_forgetting_are_one_transaction(tmp_path: Path) -> None:
    with owner(tmp_path) as crashed:
        crashed.tell(START)
    with owner(tmp_path) as second:
        (track,) = second.store.left_open
        assert track == OpenTrack(START, LATER)
    assert left_by(tmp_path) == [("front", 1)]  # its end was never put
    with owner(tmp_path) as third:
        (track,) = third.store.left_open
        third.tell(track.end(event_id="new-1", seq=1, boot_id="new"))
    assert left_by(tmp_path) == []
    with owner(tmp_path) as fourth:
        told = [kept.message.body for kept in fourth.all_of("edge-fer/lab/camera/front/events")]
    assert [(body["id"], body["type"]) for body in told] == [("old-1", "start"), ("new-1", "end")]


def test_while_a_track_is_open_the_time_goes_on(tmp_path: Path) -> None:
    times = iter(range(10**18, 2 * 10**18, 10**12))
    store = Store(tmp_path, pace=StorePace(0, 0, alive_every_s=0.01), unix_ns=lambda: next(times))
    quiet = Owner.__new__(Owner)
    quiet.stored = []
    store.start(quiet)
    store.add(None, track_change(asdict(START)))
    wait_until(lambda: store.committed > 3)
    store.stop(WAIT_S)
    (track,) = Store(tmp_path).left_open
    assert track.last_known_at > "2001-09-09T01:46:40.000Z"


def test_events_come_back_in_order_and_what_was_removed_does_not(tmp_path: Path) -> None:
    with owner(tmp_path) as first:
        kept = [first.put(note(number)) for number in range(1, 201)]
        wait_until(lambda: len(first.stored) == 200)
        for delivered in kept[:50]:
            first.store.remove(delivered)
        assert first.store.flush(WAIT_S)
        assert first.stored == list(range(1, 201))
    with owner(tmp_path) as second:
        rows = second.store.contents.topics["edge-fer/lab/self-test"]
        assert (rows.events, rows.size, rows.oldest_ns) == (150, sum(event.size for event in kept[50:]), 51)
        back = second.all_of("edge-fer/lab/self-test")
        assert [event.message for event in back] == [event.message for event in kept[50:]]
        assert second.put(note(201)).number == 201


def test_events_that_were_put_before_the_clock_was_set_do_not_look_old_after_a_restart(tmp_path: Path) -> None:
    days_ns = 10 * 86_400 * 10**9
    wrong_ns, set_by_ns = time.time_ns() - days_ns, [0]
    store = Store(tmp_path, pace=QUICK, unix_ns=lambda: wrong_ns + set_by_ns[0])
    heard = Owner.__new__(Owner)
    heard.stored, heard.loaded, heard.damaged, heard.seen = [], [], 0, threading.Event()
    store.start(heard)
    store.add(event_of(note(1), 1, wrong_ns, late=False), None)
    wait_until(lambda: heard.stored == [1])
    set_by_ns[0] = days_ns
    store.add(event_of(note(2), 2, wrong_ns + 5, late=False), None)
    wait_until(lambda: heard.stored == [1, 2])
    store.load("edge-fer/lab/self-test", 0, 10)
    assert heard.seen.wait(WAIT_S)
    assert [kept.put_ns for kept in heard.loaded] == [wrong_ns, wrong_ns + 5]  # as this run counts
    store.stop(WAIT_S)
    (rows,) = Store(tmp_path).contents.topics.values()
    assert abs(rows.oldest_ns - wrong_ns - days_ns) < 60 * 10**9


def test_sums_of_losses_outlive_a_restart(tmp_path: Path) -> None:
    for runs in (1, 2):
        with owner(tmp_path) as run:
            run.store.count_loss("too old", 3)
            assert run.store.losses == {"too old": 3 * runs}


def test_the_file_of_an_older_version_is_taken_over_once(tmp_path: Path) -> None:
    (tmp_path / OLD_FILE).write_text(json.dumps([asdict(OpenTrack(START, LATER))]))
    assert left_by(tmp_path) == [("front", 1)]
    assert not (tmp_path / OLD_FILE).exists()
    assert left_by(tmp_path) == [("front", 1)]


def test_a_file_of_a_newer_version_is_kept_and_a_fresh_one_begun(tmp_path: Path) -> None:
    path = tmp_path / DATABASE_FILE
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
    content = path.read_bytes()
    with owner(tmp_path) as older:
        assert "written by a newer edge-fer (format 99" in older.store.problem
        older.put(note(1))
        assert older.store.flush(WAIT_S)
    (aside,) = tmp_path.glob(f"{DATABASE_FILE}.newer-*")
    assert aside.read_bytes() == content
    assert numbers_in(tmp_path) == [1]


def test_a_full_disk_is_a_problem_until_there_is_space_and_then_all_is_written(tmp_path: Path) -> None:
    code = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_store import Owner, Path, note, wait_until
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
full = Owner(Path({str(tmp_path)!r}))
full.put(note(1))
assert full.store.flush(60)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
for number in range(2, 100):
    full.put(note(number))
wait_until(lambda: full.troubles > 1)
print(full.store.problem, full.store.unwritten, full.store.failing)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert full.store.flush(60)
print(repr(full.store.problem), full.store.failing, full.store.alive)
full.store.stop(60)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=200)
    first, second = done.stdout.splitlines()
    assert first.startswith(f"{tmp_path / DATABASE_FILE}: cannot be written (")
    assert first.endswith(" 98 True")
    assert second == "'' False True"
    assert numbers_in(tmp_path) == list(range(1, 100))


def test_a_folder_that_vanishes_is_a_problem_and_a_disk_that_can_never_be_written_is_no_crash(tmp_path: Path) -> None:
    (tmp_path / DATABASE_FILE).mkdir()
    with owner(tmp_path) as without:
        without.tell(START)
        wait_until(lambda: without.troubles > 2)
        assert "unable to open database file" in without.store.problem
        (tmp_path / DATABASE_FILE).rmdir()
        assert without.store.flush(WAIT_S)
        assert without.store.problem == ""
    assert left_by(tmp_path) == [("front", 1)]


def test_a_file_that_is_damaged_under_a_running_daemon_is_set_aside_and_what_is_in_memory_written_again(
    tmp_path: Path,
) -> None:
    with owner(tmp_path) as before:
        for number in range(3000):
            before.put(replace(note(number), body={"id": f"b-{number}", "text": "x" * 1000}))
    with owner(tmp_path) as running:
        running.tell(START, event("start", 2))
        assert running.store.flush(WAIT_S)
        with (tmp_path / DATABASE_FILE).open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(20_000)
            file.write(b"not a page" * ((size - 20_000) // 10))
        running.store.load("edge-fer/lab/self-test", 0, 3000)
        running.put(note(3000))
        wait_until(lambda: bool(running.fresh_files))
        assert running.store.flush(WAIT_S)
        assert "set aside as edge-fer.db.damaged-" in running.store.problem
    assert left_by(tmp_path) == [("front", 1), ("front", 2)]
    assert numbers_in(tmp_path)[-1] == 3003


def test_damage_that_is_found_after_a_failure_is_set_aside_too_and_what_is_open_is_written_again(
    tmp_path: Path,
) -> None:
    with owner(tmp_path) as running:
        running.tell(START)
        assert running.store.flush(WAIT_S)
        path = tmp_path / DATABASE_FILE
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            other.execute("BEGIN IMMEDIATE")
            running.put(note(2))
            wait_until(lambda: bool(running.troubles))
            path.write_bytes(b"not a database" * 1000)
            # Locked until then: an attempt that had opened the sound file would still write to it.
            wait_until(lambda: bool(running.fresh_files))
        assert running.store.flush(WAIT_S)
        assert "set aside" in running.store.problem
    assert left_by(tmp_path) == [("front", 1)]
    assert numbers_in(tmp_path) == [2]


def test_a_bit_that_the_card_lost_is_not_published(tmp_path: Path) -> None:
    with owner(tmp_path) as first:
        for number in range(1, 4):
            first.put(note(number))
    with closing(sqlite3.connect(tmp_path / DATABASE_FILE)) as card:
        card.execute("UPDATE event SET body = replace(body, 'b-2', 'b-3') WHERE number = 2")
        card.commit()
    with owner(tmp_path) as second:
        back = second.all_of("edge-fer/lab/self-test")
        assert [kept.message.body["id"] for kept in back] == ["b-1", "b-3"]
        assert second.damaged == 1


@pytest.fixture(scope="module")
def good_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("good")
    with owner(folder) as first:
        first.tell(START)
        for number in range(100):
            first.put(note(number))
    return (folder / DATABASE_FILE).read_bytes()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_no_damage_to_the_file_stops_the_daemon(data: st.DataObject, good_file: bytes, tmp_path: Path) -> None:
    content = bytearray(good_file)
    for _ in range(data.draw(st.integers(1, 20))):
        at = data.draw(st.one_of(st.integers(0, 200), st.integers(0, len(content) - 1)))
        content[at] = data.draw(st.integers(0, 255))
    del content[data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content)))) :]
    for left in tmp_path.glob(f"{DATABASE_FILE}*"):
        left.unlink()
    (tmp_path / DATABASE_FILE).write_bytes(content)
    (tmp_path / f"{DATABASE_FILE}-wal").write_bytes(data.draw(st.binary(max_size=100)))
    with owner(tmp_path) as run:
        run.put(note(1000))
        wait_until(lambda: run.number in run.stored)
        for track in run.store.left_open:
            message(track.end(event_id="n-1", seq=1, boot_id="n"), "lab", track.event.camera).to_json()


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(content=st.binary(min_size=600, max_size=3000))
def test_any_bytes_in_place_of_the_file_are_set_aside(content: bytes, tmp_path: Path) -> None:
    for left in tmp_path.glob(f"{DATABASE_FILE}*"):
        left.unlink()
    (tmp_path / DATABASE_FILE).write_bytes(content)
    with owner(tmp_path) as run:
        run.put(note(1))
        assert run.store.flush(WAIT_S)
        assert "set aside" in run.store.problem
    (aside,) = (path for path in tmp_path.glob(f"{DATABASE_FILE}.damaged-*") if path.suffix != "-wal")
    assert aside.read_bytes() == content


def test_the_file_shrinks_when_a_backlog_was_delivered(tmp_path: Path) -> None:
    long = replace(note(1), body={"id": "b", "text": "x" * 5000})
    with owner(tmp_path) as run:
        kept = [run.put(long) for _ in range(2000)]
        wait_until(lambda: len(run.stored) == 2000)
        for delivered in kept:
            run.store.remove(delivered)
        assert run.store.flush(WAIT_S)
        size = sum(path.stat().st_size for path in tmp_path.iterdir())
        assert size > 10_000_000
        wait_until(lambda: sum(path.stat().st_size for path in tmp_path.iterdir()) < 1_000_000)


def test_the_file_shrinks_although_events_come_and_go(tmp_path: Path) -> None:
    long = replace(note(1), body={"id": "b", "text": "x" * 5000})
    with owner(tmp_path) as run:
        kept = [run.put(long) for _ in range(2000)]
        wait_until(lambda: len(run.stored) == 2000)
        assert run.store.flush(WAIT_S)

        def come_and_go() -> bool:
            run.store.remove(kept.pop())
            kept.append(run.put(note(2)))
            return (tmp_path / DATABASE_FILE).stat().st_size < 1_000_000

        for delivered in kept[:-1]:
            run.store.remove(delivered)
        del kept[:-1]
        assert not come_and_go()
        wait_until(come_and_go)


def killed_at_once(folder: Path, out: int) -> None:
    """A child that puts for ever, and writes which numbers are safe."""
    run = Owner(folder, StorePace())
    told = 0
    while True:
        for _ in range(5):
            run.put(note(run.number))
            run.tell(event("start", run.number))
        run.store.flush(0.01)
        for number in run.stored[told:]:
            os.write(out, b"%d\n" % number)
        told = len(run.stored)


KILLED = """
import os, random, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_store import killed_at_once, left_by, numbers_in

folder, chance, safe = Path(sys.argv[1]), random.Random(1), []
for _ in range(25):
    source, out = os.pipe()
    if not (child := os.fork()):
        os.close(source)
        killed_at_once(folder, out)
    os.close(out)
    wanted = len(safe) + chance.randrange(1, 200)
    with os.fdopen(source) as told:
        for line in told:
            safe.append(int(line))
            if len(safe) >= wanted:
                os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    found = numbers_in(folder)
    assert set(safe) <= set(found), sorted(set(safe) - set(found))
    # An event of a track and the track itself are there together, or neither is.
    assert len(left_by(folder)) == len(found) // 2, (len(left_by(folder)), len(found))
print(len(safe))
"""


def test_what_was_said_to_be_safe_is_there_after_kills_at_any_moment(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.stderr == ""
    assert int(done.stdout) > 25

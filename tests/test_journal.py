from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_fer.events import BoxPx, ExpressionEvent, message
from edge_fer.memory.journal import JOURNAL_FILE, Journal, JournalPace, OpenTrack
from edge_fer.quality import Quality

START = ExpressionEvent(
    id="old-1",
    seq=1,
    boot_id="old",
    type="start",
    camera="front",
    track=1,
    expression="sadness",
    confidence=0.7,
    scores={"sadness": 0.7, "neutral": 0.3},
    box=BoxPx(1, 2, 3, 4),
    frame_width_px=640,
    frame_height_px=360,
    duration_ms=250,
    occurred_at="2026-01-01T10:00:00.000Z",
    quality=Quality(size_px=80, brightness=120, sharpness=0.5, yaw_deg=3, roll_deg=-2),
    frame_age_ms=40,
)
LATER_NS = 1_767_261_930_000_000_000  # 2026-01-01T10:05:30Z
WAIT_S = 60.0


def event(kind: str, track: int = 1, camera: str = "front", boot_id: str = "old") -> ExpressionEvent:
    return replace(START, type=kind, track=track, camera=camera, boot_id=boot_id)  # type: ignore[arg-type]


def journal(folder: Path | None, pace: JournalPace | None = None) -> Journal:
    return Journal(folder, pace=pace or JournalPace(at_most_every_s=0), unix_ns=lambda: LATER_NS)


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(6000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def left_by(folder: Path) -> list[tuple[str, int]]:
    return [(track.event.camera, track.event.track) for track in journal(folder).left_open()]


def write(folder: Path, events: list[ExpressionEvent]) -> None:
    """As a daemon that is then killed: its journal is never stopped."""
    writer = journal(folder)
    writer.start()
    for noted in events:
        writer.note(noted)
    assert writer.flush(WAIT_S)


def test_what_was_open_at_a_crash_is_found_and_the_rest_is_not(tmp_path: Path) -> None:
    write(tmp_path, [event("start", 1), event("start", 2), event("start", 2, "hall"), event("update", 2), event("end")])
    assert left_by(tmp_path) == [("front", 2), ("hall", 2)]


def test_a_first_start_has_nothing_left_open(tmp_path: Path) -> None:
    first = journal(tmp_path)
    assert first.left_open() == []
    assert first.problem == ""


def test_its_end_tells_which_start_it_belongs_to_and_when_it_was_last_known(tmp_path: Path) -> None:
    write(tmp_path, [START])
    (track,) = journal(tmp_path).left_open()
    end = track.end(event_id="new-1", seq=1, boot_id="new")
    assert (end.id, end.seq, end.boot_id, end.type, end.reason) == ("new-1", 1, "new", "end", "restart")
    assert (end.track_boot_id, end.track, end.camera, end.expression) == ("old", 1, "front", "sadness")
    assert end.occurred_at == "2026-01-01T10:05:30.000Z"
    assert (end.duration_ms, end.expression_ms) == (330_250, 330_000)
    assert (end.peak, end.mean, end.quality, end.frame_age_ms) == (0.7, 0.7, None, 0)
    assert json.loads(message(end, "lab", end.camera).to_json())["track_boot_id"] == "old"


def test_a_clock_that_was_set_back_makes_no_negative_duration() -> None:
    end = OpenTrack(START, "2026-01-01T09:00:00.000Z").end(event_id="new-1", seq=1, boot_id="new")
    assert (end.duration_ms, end.expression_ms) == (250, 0)
    assert end.occurred_at == START.occurred_at


def test_an_update_is_what_the_end_then_tells(tmp_path: Path) -> None:
    write(tmp_path, [START, replace(event("update"), expression="fear", confidence=0.6, peak=0.9, previous="sadness")])
    (track,) = journal(tmp_path).left_open()
    end = track.end(event_id="new-1", seq=1, boot_id="new")
    assert (end.expression, end.peak, end.previous) == ("fear", 0.6, None)


def test_what_was_left_open_stays_until_its_ends_were_told_even_if_it_crashes_again(tmp_path: Path) -> None:
    write(tmp_path, [event("start", 1)])
    second = journal(tmp_path)
    assert len(second.left_open()) == 1
    second.start()
    second.note(event("start", 1, boot_id="second"))
    assert second.flush(WAIT_S)
    assert left_by(tmp_path) == [("front", 1), ("front", 1)]
    second.forget_left_open()
    assert second.flush(WAIT_S)
    (track,) = journal(tmp_path).left_open()
    assert track.event.boot_id == "second"


def test_an_orderly_end_leaves_nothing_open(tmp_path: Path) -> None:
    last = journal(tmp_path, JournalPace(ends_after_s=1000))
    last.start()
    last.note(START)
    assert last.flush(WAIT_S)
    last.note(event("end"))
    last.stop(WAIT_S)
    assert not last.alive
    assert left_by(tmp_path) == []


def test_a_start_is_written_without_being_asked_for_and_an_end_may_wait(tmp_path: Path) -> None:
    eager = journal(tmp_path, JournalPace(at_most_every_s=0, ends_after_s=1000))
    eager.start()
    eager.note(START)
    wait_until(lambda: left_by(tmp_path) == [("front", 1)])
    eager.note(event("end"))
    eager.stop(WAIT_S)
    assert left_by(tmp_path) == []


def test_a_track_that_opens_and_closes_between_two_writes_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_FILE
    path.write_bytes(b"[]")
    before = path.stat()
    busy = journal(tmp_path)
    busy.left_open()
    for track in range(100):
        busy.note(event("start", track))
        busy.note(event("end", track))
    busy.start()  # the thread sees all of that at once
    assert busy.flush(WAIT_S)
    busy.stop(WAIT_S)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_what_is_empty_on_disk_is_not_written_again(tmp_path: Path) -> None:
    idle = journal(tmp_path)
    idle.note(START)
    idle.note(event("end"))
    idle.start()
    assert idle.flush(WAIT_S)
    before = (tmp_path / JOURNAL_FILE).stat()
    idle.stop(WAIT_S)
    after = (tmp_path / JOURNAL_FILE).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_while_a_track_is_open_the_time_goes_on(tmp_path: Path) -> None:
    times = iter(range(LATER_NS, LATER_NS + 10**15, 10**12))
    alive = Journal(tmp_path, pace=JournalPace(0, 0, alive_every_s=0), unix_ns=lambda: next(times))
    alive.start()
    alive.note(START)
    assert alive.flush(WAIT_S)
    (first,) = journal(tmp_path).left_open()
    wait_until(lambda: journal(tmp_path).left_open()[0].last_known_at > first.last_known_at)
    alive.stop(WAIT_S)


def test_without_a_folder_nothing_is_remembered_and_nothing_breaks() -> None:
    none = journal(None)
    none.start()
    none.note(START)
    assert none.flush(0)
    assert none.left_open() == []
    none.stop()
    assert none.problem == ""


def test_a_folder_that_vanishes_is_a_problem_until_it_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    folder.mkdir()
    lost = journal(folder)
    lost.start()
    folder.rmdir()
    lost.note(START)
    wait_until(lambda: bool(lost.problem))
    assert "cannot be written (No such file or directory)" in lost.problem
    folder.mkdir()
    lost.note(event("start", 2))
    assert lost.flush(WAIT_S)
    assert lost.problem == ""
    assert left_by(folder) == [("front", 1), ("front", 2)]
    lost.stop(WAIT_S)


def test_on_a_full_disk_the_last_whole_journal_stays(tmp_path: Path) -> None:
    write(tmp_path, [START])
    code = f"""
import resource, sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_journal import Path, event, journal
full = journal(Path({str(tmp_path)!r}))
full.start()
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
full.note(event("start", 2))
while not full.problem:
    time.sleep(0.01)
print(full.problem, full.alive)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "cannot be written (File too large)" in done.stdout
    assert done.stdout.endswith("True\n")
    assert left_by(tmp_path) == [("front", 1)]


def damaged(content: bytes, folder: Path) -> None:
    path = folder / JOURNAL_FILE
    path.write_bytes(content)
    broken = journal(folder)
    if broken.left_open() == [] and content.strip() != b"[]":
        assert f"{path}: damaged" in broken.problem
        assert not path.exists()
        assert path.with_name(f"{JOURNAL_FILE}.damaged").read_bytes() == content
        assert journal(folder).problem == ""


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300))
def test_any_bytes_in_place_of_a_journal_are_set_aside(content: bytes, tmp_path: Path) -> None:
    damaged(content, tmp_path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 2000), byte=st.integers(0, 255))
def test_a_journal_with_one_wrong_byte_is_set_aside_or_can_be_told(at: int, byte: int, tmp_path: Path) -> None:
    content = bytearray(json.dumps([asdict(OpenTrack(START, START.occurred_at))]).encode())
    content[at % len(content)] = byte
    damaged(bytes(content), tmp_path)
    (tmp_path / JOURNAL_FILE).write_bytes(content)
    for track in journal(tmp_path).left_open():
        message(track.end(event_id="n-1", seq=1, boot_id="n"), "lab", track.event.camera).to_json()


@pytest.mark.parametrize(
    "wrong",
    [
        {"camera": "#"},
        {"camera": "a/b"},
        {"confidence": float("nan")},
        {"track": "1"},
        {"occurred_at": "yesterday"},
        {"occurred_at": "2026-01-01T10:00:00"},
        {"type": "begin"},
        {"expression": "\ud800"},
        {"seq": 10**5000},
    ],
)
def test_what_could_not_be_published_is_no_journal(wrong: dict[str, object], tmp_path: Path) -> None:
    limit = sys.get_int_max_str_digits() if hasattr(sys, "get_int_max_str_digits") else None
    if limit is not None:
        sys.set_int_max_str_digits(0)
    content = json.dumps([{"event": {**asdict(START), **wrong}, "last_known_at": START.occurred_at}]).encode()
    if limit is not None:
        sys.set_int_max_str_digits(limit)
    damaged(content, tmp_path)
    assert not (tmp_path / JOURNAL_FILE).exists()


def test_a_journal_of_a_newer_version_with_more_keys_is_read(tmp_path: Path) -> None:
    entry = {"event": {**asdict(START), "mood": 3}, "last_known_at": START.occurred_at, "colour": "red"}
    (tmp_path / JOURNAL_FILE).write_text(json.dumps([entry]))
    assert left_by(tmp_path) == [("front", 1)]


KILLED = """
import json, os, random, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from edge_fer.memory.journal import Journal, JournalPace
from test_journal import event

folder, chance = Path(sys.argv[1]), random.Random(1)

def work(out):
    # Tells each set of tracks before it is noted, and "flushed" when all told sets are on disk.
    journal = Journal(folder, pace=JournalPace(0.002, 0.004, 0.01))
    journal.left_open()
    journal.forget_left_open()
    journal.start()
    tracks, luck = set(), random.Random(os.getpid())
    os.write(out, b"[]\\n")
    for track in range(10**6):
        if tracks and luck.random() < 0.5:
            number, kind = tracks.pop(), "end"
        else:
            number, kind = track, "start"
            tracks.add(track)
        os.write(out, json.dumps(sorted(tracks)).encode() + b"\\n")
        journal.note(event(kind, number))
        if luck.random() < 0.02 and journal.flush(60):
            os.write(out, b"flushed\\n")

found = 0
for _ in range(30):
    source, out = os.pipe()
    if not (child := os.fork()):
        os.close(source)
        work(out)
    os.close(out)
    lines, wanted = [], chance.randrange(20, 400)
    with os.fdopen(source) as told:
        for line in told:
            lines.append(line.strip())
            if len(lines) == wanted:
                os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    after = Journal(folder)
    tracks = sorted(track.event.track for track in after.left_open())
    assert not after.problem, after.problem
    last_sure = max((number for number, line in enumerate(lines) if line == "flushed"), default=0)
    # What was true at the last flush, or later; what was told last may not have been noted.
    sets = [json.loads(line) for line in lines[max(0, last_sure - 1):] if line.startswith("[")]
    if last_sure:
        assert tracks in sets, (tracks, sets)
        found += 1
print(found)
"""


def test_a_journal_survives_kills_at_any_moment(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.stderr == ""
    assert int(done.stdout) > 20  # the others were killed before their first flush

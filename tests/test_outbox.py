from __future__ import annotations

import itertools
import json
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from test_open_tracks import START

from edge_fer.channels import WINDOW
from edge_fer.messages import Message, message
from edge_fer.outbox.backlog import MEMORY_EVENTS
from edge_fer.outbox.database import DATABASE_FILE
from edge_fer.outbox.lane import AHEAD
from edge_fer.outbox.outbox import Outbox, Sent
from edge_fer.outbox.settings import OutboxSettings
from edge_fer.outbox.store import Store, StorePace

WAIT_S = 60.0
QUICK = StorePace(at_most_every_s=0, removals_after_s=0, retry_s=0.02)
FAST = OutboxSettings(drain_per_s=10_000)


def note(number: int, source: str = "front") -> Message:
    body = {"id": f"{source}-{number}", "seq": number}
    return Message(f"edge-fer/lab/camera/{source}/self-test", 1, retain=False, body=body, kept="every")


def state(topic: str, value: int, *, clears: bool = False) -> Message:
    return Message(topic, 1, retain=True, body={"value": value}, kept="newest", clears=clears)


SAMPLE = Message("edge-fer/lab/telemetry", 0, retain=False, body={}, kept="live")


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(6000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("waited in vain")


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Broker:
    """Takes what an outbox gives, and acknowledges."""

    def __init__(self) -> None:
        self.number = 0
        self.got: list[Message] = []

    def take(self, outbox: Outbox, window: int = WINDOW) -> int | None:
        """One message; its id, None where there is nothing to send."""
        if (what := outbox.next(window)) is None:
            return None
        told, event = what
        self.got.append(told)
        self.number += 1
        if told.qos:
            outbox.sent(self.number, Sent(told.topic, event))
        return self.number

    def take_all(self, outbox: Outbox) -> None:
        """Whatever can be sent now, acknowledged at once."""
        while (number := self.take(outbox)) is not None:
            outbox.acknowledged(number)

    def drain(self, outbox: Outbox) -> None:
        """Until nothing is left."""

        def done() -> bool:
            self.take_all(outbox)
            return not outbox.pending

        wait_until(done)

    @property
    def ids(self) -> list[str]:
        return [told.body["id"] for told in self.got if "id" in told.body]


@contextmanager
def durable(folder: Path, configured: OutboxSettings = FAST, pace: StorePace = QUICK) -> Iterator[Outbox]:
    store = Store(folder, pace=pace)
    outbox = Outbox(configured, store)
    outbox.start()
    yield outbox
    assert outbox.alive, "the thread of the store has crashed"
    outbox.stop(WAIT_S)


def test_an_event_is_sent_only_when_it_is_safe(tmp_path: Path) -> None:
    with durable(tmp_path) as outbox:
        ready = threading.Event()
        outbox.on_ready = ready.set
        outbox.opened()
        with closing(sqlite3.connect(tmp_path / DATABASE_FILE, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            outbox.put(note(1))
            assert outbox.next(WINDOW) is None
            assert (outbox.pending, outbox.idle, ready.is_set()) == (1, False, False)
            other.execute("ROLLBACK")
        assert ready.wait(WAIT_S)
        broker = Broker()
        broker.take_all(outbox)
        assert (broker.ids, broker.got[0].body["replayed"], outbox.pending) == (["front-1"], False, 0)


def test_putting_never_waits_for_a_disk_that_hangs_and_after_a_while_it_is_sent_all_the_same(tmp_path: Path) -> None:
    with durable(tmp_path, pace=replace(QUICK, hangs_after_s=0.2)) as outbox:
        outbox.opened()
        broker = Broker()
        with closing(sqlite3.connect(tmp_path / DATABASE_FILE, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for number in range(MEMORY_EVENTS):
                outbox.put(note(number))
            assert (outbox.pending, outbox.dropped) == (MEMORY_EVENTS, 0)
            wait_until(lambda: bool(outbox.problem))
            assert str(tmp_path / DATABASE_FILE) in outbox.problem
            assert not outbox.durable
            broker.drain(outbox)
            for number in range(MEMORY_EVENTS, 2 * MEMORY_EVENTS + 5):
                outbox.put(note(number))
            wait_until(lambda: outbox.dropped == 5)
            other.execute("ROLLBACK")
        wait_until(lambda: not outbox.problem)
        broker.drain(outbox)
    assert broker.ids == [f"front-{number}" for number in range(2 * MEMORY_EVENTS + 5) if not 0 <= number - 10000 < 5]
    store = Store(tmp_path)
    assert (store.contents.topics, store.losses) == ({}, {"disk failed": 5})


def test_what_a_restart_finds_is_marked_in_order_and_before_what_is_new(tmp_path: Path) -> None:
    with durable(tmp_path) as first:
        first.opened()
        for number in range(3 * AHEAD):
            first.put(note(number))
    broker = Broker()
    with durable(tmp_path) as second:
        assert second.pending == 3 * AHEAD
        second.opened()
        second.put(note(3 * AHEAD))
        broker.drain(second)
        assert (second.bytes, second.oldest_s, second.acknowledged_events) == (0, 0, 3 * AHEAD + 1)
    assert broker.ids == [f"front-{number}" for number in range(3 * AHEAD + 1)]
    assert [told.body["replayed"] for told in broker.got] == [True] * (3 * AHEAD) + [False]
    assert Store(tmp_path).contents.topics == {}


def test_a_burst_that_went_over_the_disk_is_not_late_unless_the_connection_broke(tmp_path: Path) -> None:
    broker = Broker()
    with durable(tmp_path) as outbox:
        outbox.opened()
        for number in range(5 * AHEAD):
            outbox.put(note(number))
        broker.drain(outbox)
        assert not any(told.body["replayed"] for told in broker.got)
        for number in range(5 * AHEAD, 10 * AHEAD):
            outbox.put(note(number))
        outbox.closed()
        outbox.opened()
        broker.drain(outbox)
        assert all(told.body["replayed"] for told in broker.got[5 * AHEAD :])


def test_a_long_backlog_is_counted_and_does_not_sit_in_memory(tmp_path: Path) -> None:
    with durable(tmp_path) as first:
        for number in range(20_000):
            first.put(note(number, source=f"camera-{number % 4}"))
            if number % 5000 == 0:
                wait_until(lambda: not (first._store and first._store.unwritten))
        size = first.bytes
    with durable(tmp_path) as second:
        assert (second.pending, second.bytes, second.dropped) == (20_000, size, 0)
        assert second.oldest_s > 0
        wait_until(lambda: all(lane.head for lane in second._backlog.lanes.values()))
        assert sum(len(lane.head) + len(lane.fresh) for lane in second._backlog.lanes.values()) <= 4 * AHEAD


def test_over_the_bound_the_oldest_go_and_are_counted_over_restarts(tmp_path: Path) -> None:
    few = OutboxSettings(max_events=300, drain_per_s=10_000)
    broker = Broker()
    with durable(tmp_path, few) as first:
        for number in range(1000):
            first.put(note(number))
        wait_until(lambda: first.pending == 300)
        assert first.dropped == 700
    fewer = OutboxSettings(max_events=100, drain_per_s=10_000)
    with durable(tmp_path, fewer) as second:
        wait_until(lambda: second.pending == 100)
        assert second.dropped == 200
        second.opened()
        broker.drain(second)
    assert broker.ids == [f"front-{number}" for number in range(900, 1000)]
    assert Store(tmp_path).losses == {"too many": 900}


def test_too_many_bytes_and_too_old_events_go_too() -> None:
    clock = Clock()
    outbox = Outbox(OutboxSettings(max_mb=1, max_age_h=1), clock_s=clock)
    long = replace(note(1), body={"text": "x" * 300_000})
    for _ in range(4):
        outbox.put(long)
    assert (outbox.pending, outbox.dropped) == (3, 1)
    clock.now_s += 3000
    outbox.put(note(2))
    assert outbox.oldest_s == 3000
    clock.now_s += 1000
    outbox.opened()
    assert (outbox.pending, outbox.dropped, outbox.oldest_s) == (1, 4, 1000)


def test_what_a_run_with_a_wrong_clock_left_is_not_lost_as_too_old(tmp_path: Path) -> None:
    """A board without a clock of its own decides in 1970, without a network; the network is back at the next start."""
    store = Store(tmp_path, pace=QUICK, unix_ns=lambda: 0)
    first = Outbox(FAST, store, unix_ns=lambda: 0)
    first.start()
    for number, is_synced in enumerate([None, True, False]):
        told = note(number)
        first.put(replace(told, body={**told.body, "clock_synced": is_synced}))
    first.stop(WAIT_S)
    broker = Broker()
    with durable(tmp_path) as second:
        second.opened()
        broker.drain(second)
        assert second.losses == {"too old": 2}
    assert broker.ids == ["front-2"]


def test_without_a_store_all_is_in_memory_and_bounded() -> None:
    outbox, broker = Outbox(OutboxSettings(max_events=10)), Broker()
    for number in range(25):
        outbox.put(note(number))
    assert (outbox.pending, outbox.dropped, outbox.problem, outbox.durable) == (10, 15, "", False)
    outbox.opened()
    broker.take_all(outbox)
    assert broker.ids == [f"front-{number}" for number in range(15, 25)]
    assert outbox.idle


def test_late_events_leave_at_a_limited_rate_and_a_camera_without_backlog_does_not_wait() -> None:
    clock = Clock()
    outbox, broker = Outbox(OutboxSettings(drain_per_s=50), clock_s=clock), Broker()
    for number in range(1000):
        outbox.put(note(number))
    outbox.opened()
    broker.take_all(outbox)
    assert len(broker.got) == 50
    assert 0 < outbox.next_in_s() <= 0.02
    outbox.put(note(1, "hall"))
    assert outbox.next_in_s() == 0
    broker.take_all(outbox)
    assert broker.ids[50:] == ["hall-1"]
    outbox.put(note(1000))  # live, but order is the contract
    clock.now_s += 0.5
    broker.take_all(outbox)
    assert broker.ids[51:] == [f"front-{number}" for number in range(50, 75)]
    while outbox.pending:
        clock.now_s += 1
        broker.take_all(outbox)
    assert (broker.ids[-1], broker.got[-1].body["replayed"], broker.got[-2].body["replayed"]) == (
        *("front-1000", False, True),
    )
    assert outbox.next_in_s() == float("inf")


def test_topics_take_turns_and_states_go_first() -> None:
    outbox, broker = Outbox(), Broker()
    for number in range(3):
        for source in ("front", "hall"):
            outbox.put(note(number, source))
    outbox.put(state("a", 1))
    outbox.put(state("a", 2))
    outbox.opened()
    broker.take_all(outbox)
    assert broker.got[0].body == {"value": 2}
    assert broker.ids == ["front-0", "hall-0", "front-1", "hall-1", "front-2", "hall-2"]


def test_what_was_on_its_way_goes_back_in_its_place() -> None:
    outbox, broker = Outbox(), Broker()
    outbox.opened()
    for number in range(10):
        outbox.put(note(number))
    numbers = [broker.take(outbox) for _ in range(5)]
    assert numbers[2]
    outbox.acknowledged(numbers[2])
    assert outbox.next(window=4) is None
    assert outbox.next_in_s() == float("inf")
    assert outbox.next(window=20)  # handed over, but the connection ends before it is sent
    outbox.closed()
    outbox.opened()
    broker.got.clear()
    broker.take_all(outbox)
    assert broker.ids == [f"front-{number}" for number in (0, 1, 3, 4, 5, 6, 7, 8, 9)]
    assert all(told.body["replayed"] for told in broker.got)


def test_what_the_broker_does_not_take_now_waits_and_the_other_topics_do_not() -> None:
    clock = Clock()
    outbox, broker = Outbox(clock_s=clock), Broker()
    outbox.opened()
    for source in ("front", "hall"):
        for number in range(2):
            outbox.put(note(number, source))
    refused = broker.take(outbox)
    assert refused
    outbox.returned(refused, 60)
    broker.take_all(outbox)
    assert broker.ids == ["front-0", "hall-0", "hall-1"]
    assert outbox.next_in_s() == 60
    clock.now_s += 60
    broker.take_all(outbox)
    assert broker.ids[3:] == ["front-0", "front-1"]


def test_what_was_refused_is_tried_again_only_when_all_that_were_on_their_way_are_answered() -> None:
    clock = Clock()
    outbox, broker = Outbox(clock_s=clock), Broker()
    outbox.opened()
    for number in range(8):
        outbox.put(note(number))
    first = [broker.take(outbox) or 0 for _ in range(5)]
    outbox.returned(first[0], 5)
    clock.now_s += 10
    assert (broker.take(outbox), outbox.next_in_s(), outbox.idle) == (None, float("inf"), False)
    for number in first[1:]:
        outbox.returned(number, 5)
    clock.now_s += 5
    again = broker.take(outbox)
    assert again
    clock.now_s += 60
    assert broker.take(outbox) is None  # one at a time
    outbox.acknowledged(again)
    broker.take_all(outbox)
    assert broker.ids[5:] == [f"front-{number}" for number in range(8)]
    assert [told.body["replayed"] for told in broker.got[5:]] == [True] * 5 + [False] * 3
    assert outbox.idle


def test_what_the_broker_refuses_does_not_keep_anybody_waiting_for_the_end() -> None:
    outbox, broker = Outbox(), Broker()
    outbox.opened()
    outbox.put(note(1))
    outbox.put(state("a", 1))
    for _ in range(2):
        outbox.returned(broker.take(outbox) or 0, 60)
    assert (outbox.idle, outbox.pending) == (True, 1)
    outbox.closed()
    outbox.opened()
    broker.got.clear()
    broker.take_all(outbox)
    assert [told.topic for told in broker.got] == ["a", note(1).topic]


def test_a_topic_is_taken_back_even_if_the_state_before_is_acknowledged_meanwhile() -> None:
    outbox, broker = Outbox(), Broker()
    outbox.opened()
    outbox.put(state("a", 1))
    before = broker.take(outbox)
    outbox.put(state("a", 0, clears=True))
    broker.take(outbox)
    assert before
    outbox.acknowledged(before)
    outbox.closed()
    outbox.opened()
    broker.take_all(outbox)
    assert [told.clears for told in broker.got] == [False, True, True]


def test_a_state_that_comes_while_its_topic_is_taken_back_stays() -> None:
    outbox, broker = Outbox(), Broker()
    outbox.opened()
    outbox.put(state("a", 0, clears=True))
    clearing = broker.take(outbox)
    outbox.put(state("a", 2))
    assert clearing
    outbox.acknowledged(clearing)
    broker.take_all(outbox)
    outbox.closed()
    outbox.opened()
    broker.take_all(outbox)
    assert [(told.clears, told.body["value"]) for told in broker.got] == [(True, 0), (False, 2), (False, 2)]


def test_what_this_run_says_is_never_taken_for_a_leftover() -> None:
    outbox, broker = Outbox(), Broker()
    outbox.opened()
    outbox.put(state("a", 1))
    outbox.take_back(state("a", 0, clears=True))
    outbox.take_back(state("b", 0, clears=True))
    broker.take_all(outbox)
    assert [(told.topic, told.clears) for told in broker.got] == [("a", False), ("b", True)]


def test_an_answer_waits_for_its_place_in_the_window_and_a_sample_does_not() -> None:
    outbox, broker = Outbox(), Broker()
    outbox.opened()
    outbox.put(note(1))
    taken = broker.take(outbox, window=1)
    outbox.put(SAMPLE)
    outbox.put(replace(SAMPLE, qos=1))
    assert broker.take(outbox, window=1)
    assert broker.take(outbox, window=1) is None
    assert taken
    outbox.acknowledged(taken)
    assert broker.take(outbox, window=1)


def test_what_is_in_memory_when_the_file_is_found_damaged_is_kept_in_the_fresh_one(tmp_path: Path) -> None:
    with durable(tmp_path) as outbox:
        for number in range(3 * AHEAD):
            outbox.put(note(number))
        wait_until(lambda: not (outbox._store and outbox._store.unwritten))
        spoil(tmp_path / DATABASE_FILE)
        outbox.opened()
        broker = Broker()
        numbers = [broker.take(outbox) for _ in range(WINDOW)]
        assert all(numbers)
        for number in numbers[:5]:
            outbox.acknowledged(number or 0)
        outbox.put(note(3 * AHEAD))
        wait_until(lambda: "set aside" in outbox.problem and not (outbox._store and outbox._store.unwritten))
        left = outbox.pending
        assert left + 5 + outbox.dropped == 3 * AHEAD + 1
        assert left > AHEAD - WINDOW
    with durable(tmp_path) as after:
        assert after.pending == left
        after.opened()
        broker.got.clear()
        broker.drain(after)
    assert broker.ids[:2] == ["front-5", "front-6"]
    assert broker.ids[-1] == f"front-{3 * AHEAD}"
    assert len(broker.ids) == left


def spoil(path: Path) -> None:
    """As a card that fails: all pages but the first are nonsense."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"not a page" * ((size - 4096) // 10))


def test_all_states_are_due_at_each_connection_and_on_request_until_taken_back() -> None:
    outbox, broker = Outbox(), Broker()
    woken = []
    outbox.on_ready = lambda: woken.append(1)
    outbox.put(state("a", 1))
    outbox.put(state("b", 1))
    outbox.opened()
    broker.take_all(outbox)
    outbox.refresh()
    assert woken
    broker.take_all(outbox)
    outbox.put(state("a", 0, clears=True))
    broker.take_all(outbox)
    outbox.refresh()
    broker.take_all(outbox)
    assert [told.topic for told in broker.got] == ["a", "b", "a", "b", "a", "b"]
    assert outbox.idle


def test_telemetry_without_connection_is_lost_and_counted() -> None:
    outbox, broker = Outbox(), Broker()
    outbox.put(SAMPLE)
    outbox.opened()
    outbox.put(SAMPLE)
    outbox.put(SAMPLE)
    broker.take(outbox)
    outbox.closed()
    assert (outbox.telemetry_lost, outbox.pending) == (2, 0)


def test_without_a_broker_only_open_tracks_are_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    outbox = Outbox(store=store, deliver=False)
    outbox.start()
    outbox.publish(message(START, "lab", "front"))
    outbox.publish(note(1))
    assert outbox.pending == 0
    outbox.stop(WAIT_S)
    after = Store(tmp_path)
    assert (after.contents.topics, [track.event.id for track in after.left_open]) == ({}, [START.id])


def test_a_start_and_its_end_leave_nothing_open(tmp_path: Path) -> None:
    with durable(tmp_path) as outbox:
        outbox.put(message(START, "lab", "front"))
        outbox.put(message(replace(START, type="end", id="old-2", seq=2), "lab", "front"))
    after = Store(tmp_path)
    assert after.left_open == ()
    assert after.contents.topics["edge-fer/lab/camera/front/events"].events == 2
    assert asdict(START)["id"] == "old-1"


class AnyStory(RuleBasedStateMachine):
    """Putting, sending, acknowledging, refusals, broken connections, restarts and kills in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.put_ids: dict[str, list[str]] = {"front": [], "hall": []}
        self.put_events, self.runs = 0, 0
        self.denied: set[str] = set()  # sources
        self.clock = Clock()
        self.broker, self.on_the_way = Broker(), dict[int, Message | None]()  # None: refused, but not told yet
        self.delivered: list[Message] = []
        self.begin()

    def begin(self) -> None:
        self.store = Store(self.home, pace=QUICK)
        self.outbox = Outbox(FAST, self.store, clock_s=self.clock)
        self.outbox.start()

    @property
    def home(self) -> Path:
        path = Path(self.folder.name) / str(self.runs)
        path.mkdir(exist_ok=True)
        return path

    def answer(self, number: int) -> None:
        taken = self.on_the_way.pop(number)
        if taken is None:
            self.outbox.returned(number, 5.0)
        else:
            self.outbox.acknowledged(number)

    @rule(source=st.sampled_from(["front", "hall"]), count=st.sampled_from([1, 2, 5, 300]))
    def put(self, source: str, count: int) -> None:
        for _ in range(count):
            ids = self.put_ids[source]
            told = note(self.put_events, source)
            self.put_events += 1
            ids.append(told.body["id"])
            self.outbox.put(told)

    @rule(count=st.integers(1, 30))
    def send(self, count: int) -> None:
        for _ in range(count if self.outbox.open else 0):
            self.take()

    def take(self) -> int | None:
        """The broker decides when a message arrives; its answer is read later."""
        if number := self.broker.take(self.outbox):
            told = self.broker.got[-1]
            is_taken = told.body["id"].split("-")[0] not in self.denied
            self.on_the_way[number] = told if is_taken else None
            self.delivered += [told] * is_taken
        return number

    @rule(which=st.integers(0, 20))
    def acknowledge(self, which: int) -> None:
        if self.on_the_way:
            self.answer(list(self.on_the_way)[which % len(self.on_the_way)])

    @rule()
    def deliver(self) -> None:
        if self.outbox.open:
            self.answer_all()
            while self.take() is not None:
                self.answer_all()

    def answer_all(self) -> None:
        for number in list(self.on_the_way):
            self.answer(number)

    @rule(source=st.sampled_from(["front", "hall"]))
    def deny(self, source: str) -> None:
        self.denied.add(source)

    @rule()
    def allow(self) -> None:
        """With nothing on its way: what arrives while a broker changes its mind, nobody can keep in order."""
        self.answer_all()
        self.denied.clear()

    @rule(seconds=st.sampled_from([1, 5]))
    def wait(self, seconds: int) -> None:
        self.clock.now_s += seconds

    @rule()
    def connect(self) -> None:
        if not self.outbox.open:
            self.outbox.opened()

    @rule()
    def lose_connection(self) -> None:
        if self.outbox.open:
            self.outbox.closed()
            self.on_the_way.clear()

    @rule()
    def restart(self) -> None:
        """What was said to be safe must be found again."""
        assert self.store.flush(WAIT_S)
        self.store.stop(WAIT_S)
        self.on_the_way.clear()
        self.begin()

    @rule()
    def kill(self) -> None:
        """Of what no transaction has written, nothing was sent: it is as if it had never been decided."""
        before, self.runs = self.home, self.runs + 1
        with (
            closing(sqlite3.connect(before / DATABASE_FILE)) as left,
            closing(sqlite3.connect(self.home / DATABASE_FILE)) as copy,
        ):
            left.backup(copy)
            safe = {json.loads(body)["id"] for (body,) in copy.execute("SELECT body FROM event")}
        self.store.stop(WAIT_S)
        delivered = {told.body["id"] for told in self.delivered}
        for source, ids in self.put_ids.items():
            kept = [name for name in ids if name in safe or name in delivered]
            assert ids[: len(kept)] == kept, "a later event was safe before an earlier one"
            self.put_ids[source] = kept
        assert safe | delivered >= set(self.broker.ids), "sent before it was safe"
        self.on_the_way.clear()
        self.begin()

    @invariant()
    def counts_agree(self) -> None:
        assert self.outbox.dropped == 0
        assert self.outbox.pending <= sum(map(len, self.put_ids.values()))
        assert not {told.body["id"] for told in self.delivered} - set(itertools.chain(*self.put_ids.values()))

    def teardown(self) -> None:
        if not self.outbox.open:
            self.outbox.opened()
        self.allow()

        def done() -> bool:
            self.clock.now_s += 5
            self.deliver()
            return not self.outbox.pending

        wait_until(done)
        assert (self.outbox.bytes, self.outbox.idle, self.outbox.problem) == (0, True, "")
        first_seen = list(dict.fromkeys(told.body["id"] for told in self.delivered))
        for source, ids in self.put_ids.items():
            assert [seen for seen in first_seen if seen.startswith(source)] == ids
        self.outbox.stop(WAIT_S)
        self.folder.cleanup()


AnyStory.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAnyStory = AnyStory.TestCase

"""A daemon that is killed again and again, with its broker there and with a broker that hangs."""

from __future__ import annotations

import json
import random
import shutil
import signal
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from daemonsite import LOOP, START_S, Site, terminate
from delivered import CarefulSubscriber, first_times, same_when_repeated
from realbrokers import wait_until

KILLS = 20
# Two cameras that tell a lot: an expression counts after a tenth of a second.
EAGER = "[decide]\nsettle_ms = 100\nhold_ms = 100\ncooldown_ms = 0\nsmoothing_ms = 100\n"
LATER = {"published_at", "replayed"}

pytestmark = pytest.mark.system


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        one = Site(tmp_path, stack)
        one.configure({"front": LOOP, "back": LOOP}, EAGER)
        yield one


@pytest.fixture
def subscriber(site: Site) -> Iterator[CarefulSubscriber]:
    one = CarefulSubscriber(site.broker.port)
    wait_until(one.connected.is_set, 30)
    yield one
    one.close()


def stored_ids(folder: Path) -> set[str]:
    """Ids of the events that a daemon of this state folder has decided and no broker has acknowledged.

    Read from a copy, journal included, so that nothing of what the next daemon finds is changed by looking.
    """
    assert (folder / "edge-fer.db").exists(), f"{folder} has no edge-fer.db: events are not kept on disk"
    with tempfile.TemporaryDirectory() as copy:
        for part in folder.glob("edge-fer.db*"):
            shutil.copy(part, copy)
        with closing(sqlite3.connect(Path(copy) / "edge-fer.db")) as database:
            bodies = database.execute("SELECT body FROM event WHERE topic LIKE '%/events'")
            return {json.loads(body)["id"] for (body,) in bodies}


def state_of(site: Site) -> Path:
    """The folder of the node's state; the only one with a database below what the configuration names."""
    found = sorted(site.state.rglob("edge-fer.db"))
    return found[0].parent if found else site.state


def test_daemon_killed_twenty_times(site: Site, subscriber: CarefulSubscriber) -> None:
    """In every second run the broker hangs, so that what was decided is on disk alone."""
    chance = random.Random(6)  # noqa: S311 - the same moments each time
    expected: set[str] = set()
    waited: set[str] = set()
    for kill in range(KILLS):
        before = len(subscriber.ids())
        daemon = site.start()
        wait_until(lambda before=before: len(subscriber.ids()) > before + 4, START_S)
        assert site.broker.process is not None
        if kill % 2:
            site.broker.process.send_signal(signal.SIGSTOP)
        time.sleep(chance.uniform(0.2, 2.0))
        daemon.kill()
        daemon.wait()
        stored = stored_ids(state_of(site))
        # Those that the broker has in its buffers but could not acknowledge are told as they were, and again.
        waited |= stored - subscriber.ids()
        expected |= stored | subscriber.ids()
        site.broker.process.send_signal(signal.SIGCONT)
    assert waited, "no event waited on disk: the test has tested nothing"
    daemon = site.start()
    wait_until(lambda: expected < subscriber.ids(), START_S)
    wait_until(lambda: stored_ids(state_of(site)) == set(), START_S)
    assert terminate(daemon) == 0
    wait_until(lambda: not open_starts(subscriber.events()), 30)

    heard = subscriber.events()
    assert same_when_repeated(heard)
    assert Counter(ends_of(heard)).most_common(1)[0][1] == 1, "a track ended twice"
    told_late = {body["id"] for _, body in heard if body["replayed"]}
    assert waited <= told_late, "an event that waited for the next run came as if it were live"
    by_boot: dict[str, set[int]] = {}
    for bodies in first_times(heard).values():
        # Of each boot in order; what is left of a run before may come while the next one is already telling.
        for boot in {body["boot_id"] for body in bodies}:
            order = [body["seq"] for body in bodies if body["boot_id"] == boot]
            assert order == sorted(order)
            by_boot.setdefault(boot, set()).update(order)
    assert len(by_boot) == KILLS + 1
    assert {boot: seqs for boot, seqs in by_boot.items() if seqs != set(range(1, len(seqs) + 1))} == {}, "a gap"
    assert "Traceback" not in site.log
    print(f"{len(subscriber.ids())} events in {KILLS + 1} runs, {len(waited)} of them told by a later one")  # noqa: T201


def starts_of(heard: list[tuple[str, dict[str, Any]]]) -> set[tuple[str, str, int]]:
    """Tracks that were told of: boot, camera, number."""
    return {(body["boot_id"], body["camera"], body["track"]) for _, body in heard if body.get("type") == "start"}


def ends_of(heard: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, str, int]]:
    """Tracks whose end was told, one for each id."""
    ends = {body["id"]: body for _, body in heard if body.get("type") == "end"}
    return [(body["track_boot_id"] or body["boot_id"], body["camera"], body["track"]) for body in ends.values()]


def open_starts(heard: list[tuple[str, dict[str, Any]]]) -> set[tuple[str, str, int]]:
    return starts_of(heard) - set(ends_of(heard))

"""100,000 spoilt command payloads, as many configuration files, and 2,000 files of the outbox.

No crash, one answer to each command, a file of the outbox that is of use again, and memory stays flat.
"""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from realbrokers import wait_until
from test_config_fuzz import GOOD, WORDS
from test_open_tracks import START

from edge_fer.channels import WINDOW
from edge_fer.config import load_config
from edge_fer.errors import ConfigError
from edge_fer.messages import message
from edge_fer.mqtt.incoming import Incoming
from edge_fer.outbox.database import DATABASE_FILE
from edge_fer.outbox.outbox import Outbox, Sent
from edge_fer.outbox.store import Store, StorePace
from edge_fer.remote.queue import CommandQueue
from edge_fer.remote.replies import Outcome, Replies
from edge_fer.remote.settings import COMMANDS, CommandSettings

pytestmark = pytest.mark.system

EXAMPLES = int(os.environ.get("EDGE_FER_EXAMPLES", "100000"))
FILES = EXAMPLES // 50
"""Of the outbox, which is opened, written, synced and closed each time."""

FLAT_BYTES = 16 << 20
"""What the process may grow by after its first tenth: caches of the allocator, far less than a byte kept of each."""

QUICK_PACE = StorePace(at_most_every_s=0, removals_after_s=0, retry_s=0.02)
BODIES = [
    {"cameras": ["front", "hall"], "for_s": 60, "id": "a"},
    {"cameras": [{"a": [1, None, 1e300]}], "for_s": -1, "id": "\ud800\0"},
    {"id": "x" * 3000, "more": {"a": {"b": {"c": {}}}}},
    [[], {}],
]
PIECES = [
    b"\xff",
    b"\\u0000",
    b'\\ud800"',
    b"NaN",
    b"1e999",
    b"9" * 1000,
    b"[" * 2000,
    b'"id":1,',
    b"{",
    b"}",
    b"\0",
    b"",
]


@pytest.fixture(autouse=True)
def _no_log() -> Iterator[None]:
    """The records that pytest keeps are not memory of the daemon."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def grown_bytes(work: Callable[[], None], examples: int = EXAMPLES) -> int:
    """By how much the process grew in the last nine tenths of so many repetitions."""
    process, before = psutil.Process(), 0
    for number in range(examples):
        if number == examples // 10:
            before = process.memory_info().rss
        work()
    after = process.memory_info().rss
    print(f"{examples} examples, RSS {before / 1e6:.1f} MB after the first tenth, {after / 1e6:.1f} MB at the end")  # noqa: T201
    return after - before


def test_command_payloads() -> None:
    dice = random.Random(5)  # noqa: S311
    sent: list[str] = []
    now_ns = 0
    queue = CommandQueue(CommandSettings(allow=[*COMMANDS]), "lab")
    replies = Replies(
        lambda message: sent.append(message.to_json().decode()), node="lab", boot_id="b", clock_ns=lambda: now_ns
    )

    def one() -> None:
        nonlocal now_ns
        now_ns += 1_000_000_000
        data = bytearray(json.dumps(dice.choice(BODIES)).encode() if dice.random() < 0.9 else dice.randbytes(60))
        for _ in range(dice.randrange(4)):
            start = dice.randrange(len(data) + 1)
            data[start : start + dice.randrange(6)] = dice.choice(PIECES)
        command = dice.choice([*COMMANDS, "reboot", "x" * 5000, "\ud800"])
        where = dice.choice([None, "dashboard/1", "edge-fer/lab/status", "\ud800", "a/#"])
        queue.take(Incoming(f"edge-fer/lab/cmd/{command}", bytes(data), dice.random() < 0.1, where, b"c"))
        refusals, request = queue.refusals(), queue.next_request()
        assert len(refusals) + (request is not None) == 1
        if request:
            replies.say(Outcome(request.asker, ok=True, text="done"))
        replies.turn(refusals)
        assert len(sent) == (2 if where == "dashboard/1" else 1)
        sent.clear()

    assert grown_bytes(one) < FLAT_BYTES
    assert (queue.dropped, replies.dropped) == (0, 0)


def test_configuration_files(tmp_path: Path) -> None:
    dice = random.Random(7)  # noqa: S311
    path = tmp_path / "edge-fer.toml"
    right = 0

    def one() -> None:
        nonlocal right
        text = GOOD
        for _ in range(dice.randrange(1, 4)):
            start = dice.randrange(len(text) + 1)
            text = text[:start] + dice.choice(["", *WORDS]) + text[start + dice.randrange(8) :]
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        with suppress(ConfigError):
            load_config(path, {})
            right += 1

    assert grown_bytes(one) < FLAT_BYTES
    assert 0 < right < EXAMPLES


@pytest.fixture
def good_files(tmp_path: Path) -> dict[str, bytes]:
    """A file with open tracks and events, as a power cut leaves it: the newest are in the journal of sqlite."""
    folder = tmp_path / "good"
    folder.mkdir()
    store = Store(folder)
    outbox = Outbox(store=store)
    outbox.start()
    for number in range(100):
        outbox.put(message(replace(START, id=f"old-{number}", seq=number, track=number), "lab", START.camera))
    assert store.flush(60)
    found = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}
    outbox.stop(60)
    # Once closed, all is in the one file.
    return found if max(map(len, found.values())) > 8192 else {DATABASE_FILE: (folder / DATABASE_FILE).read_bytes()}


def test_files_of_the_outbox(good_files: dict[str, bytes], tmp_path: Path) -> None:
    """Whatever stands in it, events are taken, kept and sent; what is sent of old ones is what was written."""
    dice = random.Random(9)  # noqa: S311
    folder = tmp_path / "state"
    old = {f"old-{number}" for number in range(100)}
    whole = spoilt = 0

    def one() -> None:
        nonlocal whole, spoilt
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, content in good_files.items():
            (folder / name).write_bytes(_spoil(content, dice))
        store = Store(folder, pace=QUICK_PACE)
        outbox = Outbox(store=store)
        outbox.start()
        outbox.opened()
        outbox.put(message(replace(START, id="new-1", boot_id="new"), "lab", START.camera))
        told = _drain(outbox)
        assert store.alive
        assert told[-1] == "new-1"
        assert set(told) <= old | {"new-1"}
        whole += len(told) == 101
        spoilt += "set aside" in store.problem
        outbox.stop(60)
        assert not store.alive

    assert grown_bytes(one, FILES) < FLAT_BYTES
    print(f"{whole} files lost nothing, {spoilt} were set aside, {FILES - whole - spoilt} lost some events")  # noqa: T201
    assert whole > 0
    assert spoilt > 0


def _spoil(content: bytes, dice: random.Random) -> bytes:
    """Some bytes changed, a piece torn out or repeated, or the end missing."""
    data = bytearray(content)
    for _ in range(dice.randrange(6)):
        start = dice.choice([dice.randrange(100), dice.randrange(len(data) + 1)])
        piece = dice.choice([dice.randbytes(1), bytes(dice.randrange(600)), dice.randbytes(40), bytes(data[:512])])
        data[start : start + dice.choice([len(piece), len(piece), 0, 3])] = piece
    return bytes(data[: dice.randrange(len(data) + 1)]) if dice.random() < 0.1 else bytes(data)


def _drain(outbox: Outbox) -> list[str]:
    """Ids of all that can be sent, acknowledged one by one."""
    told: list[str] = []

    def go() -> bool:
        while what := outbox.next(WINDOW):
            told.append(str(what[0].body["id"]))
            outbox.sent(len(told), Sent(what[0].topic, what[1]))
            outbox.acknowledged(len(told))
        return outbox.pending == 0

    wait_until(go, 60)
    return told

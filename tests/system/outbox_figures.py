"""Figures of the outbox on this machine: `python tests/system/outbox_figures.py [--seconds 60] [--folder DIR]`.

How long the pipeline's thread is held by put() while the disk takes nothing, whether 300 events in a second can be kept
with durability on, and what a day without a broker costs: disk, memory, time to start again, and until all has arrived
at a real mosquitto, while another camera goes on. With --only, one of the three.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import paho.mqtt.client as paho
import psutil
from paho.mqtt.enums import CallbackAPIVersion

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "broker"), str(HERE.parents[1])]

from realbrokers import MOSQUITTO, Mosquitto, wait_until  # noqa: E402
from test_open_tracks import START  # noqa: E402

from edge_fer.channels import WINDOW  # noqa: E402
from edge_fer.labels import EXPRESSIONS  # noqa: E402
from edge_fer.login import BrokerAddress  # noqa: E402
from edge_fer.messages import Message, message  # noqa: E402
from edge_fer.mqtt.publisher import MqttPublisher  # noqa: E402
from edge_fer.outbox.database import DATABASE_FILE  # noqa: E402
from edge_fer.outbox.outbox import Outbox, Sent  # noqa: E402
from edge_fer.outbox.settings import OutboxSettings  # noqa: E402
from edge_fer.outbox.store import Store  # noqa: E402

DAY = 86_400
PER_S = 300
LIVE = "camera-live"
"""It has no backlog."""


def told(number: int, camera: str = "") -> Message:
    """An event of realistic size, of one of three cameras."""
    scores = {name: round(1 / (2 + place), 4) for place, name in enumerate(EXPRESSIONS)}
    event = replace(START, id=f"0123456789ab-{number}", seq=number, track=number % 50, scores=scores, type="update")
    return message(event, "living-room", camera or f"camera-{number % 3}")


def quantiles_ms(seconds: list[float]) -> dict[str, float]:
    """Median, 99 % and worst."""
    ordered = sorted(seconds)
    return {
        name: round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1e3, 4)
        for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1))
    }


def enqueue_while_the_disk_is_held_up(folder: Path) -> dict[str, object]:
    """10,000 puts, 1,000 in a second, while another connection holds the lock that the writer wants."""
    outbox = Outbox(OutboxSettings(), Store(folder))
    outbox.start()
    took, worked, control = [], [], []
    with closing(sqlite3.connect(folder / DATABASE_FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for number in range(10_000):
            event = told(number)
            began_s, began_cpu_s = time.perf_counter(), time.thread_time()
            outbox.put(event)
            took.append(time.perf_counter() - began_s)
            worked.append(time.thread_time() - began_cpu_s)
            began_s = time.perf_counter()
            for _ in range(5):
                event.to_json()
            control.append(time.perf_counter() - began_s)
            time.sleep(0.001)
        committed = outbox._store.committed if outbox._store else 0
        other.execute("ROLLBACK")
    outbox.stop(60)
    return {
        "enqueue_ms": quantiles_ms(took),
        "enqueue_cpu_ms": quantiles_ms(worked),  # without what the rest of the machine takes from this thread
        "control_ms": quantiles_ms(control),  # about as much work on nothing but JSON: what the machine takes
        "transactions_meanwhile": committed,
    }


def sustained(folder: Path, seconds: float) -> dict[str, object]:
    """300 events in a second, sent and acknowledged as soon as they are safe."""
    store = Store(folder)
    outbox = Outbox(OutboxSettings(), store)
    outbox.start()
    outbox.opened()
    took, waited, put_s, most, number, mid = [], [], {}, 0, 0, 0
    cpu_before, began_s = time.process_time(), time.perf_counter()
    while (now_s := time.perf_counter() - began_s) < seconds or outbox.pending:
        while number < PER_S * min(now_s, seconds):
            event, at_s = told(number), time.perf_counter()
            outbox.put(event)
            took.append(time.perf_counter() - at_s)
            put_s[event.body["id"]] = at_s
            number += 1
        while what := outbox.next(WINDOW):
            mid += 1
            outbox.sent(mid, Sent(what[0].topic, what[1]))
            outbox.acknowledged(mid)
            waited.append(time.perf_counter() - put_s.pop(what[0].body["id"]))
        most = max(most, outbox.pending)
        time.sleep(0.001)
    all_s = time.perf_counter() - began_s
    cpu = (time.process_time() - cpu_before) / all_s
    outbox.stop(60)
    return {
        "events": number,
        "per_s": round(number / all_s, 1),
        "enqueue_ms": quantiles_ms(took),
        "until_sendable_ms": quantiles_ms(waited),
        "most_waiting": most,
        "transactions_per_s": round(store.committed / all_s, 1),
        "cpu_percent_with_this_script": round(cpu * 100),
        "dropped": outbox.dropped,
        "problem": outbox.problem,
    }


class Heard:
    """What a subscriber got: the numbers of each camera in order, and how late the live ones were."""

    def __init__(self, port: int) -> None:
        self.seqs: dict[str, list[int]] = {}
        self.live_s: list[float] = []
        self.not_marked = 0  # of the backlog
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._take
        ready = threading.Event()
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("edge-fer/+/camera/+/events", 1)
        self._client.loop_start()
        wait_until(ready.is_set, 30)

    def _take(self, _client: object, _data: object, got: paho.MQTTMessage) -> None:
        now_ns, body = time.monotonic_ns(), json.loads(got.payload)
        camera = got.topic.split("/")[3]
        self.seqs.setdefault(camera, []).append(body["seq"])
        if camera == LIVE:
            self.live_s.append((now_ns - body["put_ns"]) / 1e9)
        else:
            self.not_marked += not body["replayed"]

    def close(self) -> None:
        """Let go of the broker."""
        self._client.disconnect()
        self._client.loop_stop()


def a_day_offline(folder: Path) -> dict[str, object]:
    """86,400 events; then a fresh process opens them, and sends them while another camera goes on."""
    outbox = Outbox(OutboxSettings(), Store(folder))
    outbox.start()
    for number in range(DAY):
        outbox.put(told(number))
        while outbox._store and outbox._store.unwritten > 2000:
            time.sleep(0.001)
    outbox.stop(60)
    disk = sum(path.stat().st_size for path in folder.iterdir())
    with tempfile.TemporaryDirectory() as work:
        broker = Mosquitto(Path(work), "allow_anonymous true\nmax_queued_messages 0").start()
        heard = Heard(broker.port)
        child = [sys.executable, __file__, "--reopen", str(folder), "--port", str(broker.port)]
        done = subprocess.run(child, capture_output=True, text=True, check=True)
        reopened = json.loads(done.stdout)
        wait_until(lambda: len(heard.live_s) == reopened["live_events"], 60)
        heard.close()
        broker.kill()
    backlog = {camera: seqs for camera, seqs in heard.seqs.items() if camera != LIVE}
    return {
        "payload_mb": outbox.bytes / 1e6,
        "disk_mb": disk / 1e6,
        "reopened": reopened,
        "arrived": len({seq for seqs in backlog.values() for seq in seqs}),
        "arrived_twice": sum(len(seqs) - len(set(seqs)) for seqs in heard.seqs.values()),
        "in_order": all(seqs == sorted(seqs) for seqs in heard.seqs.values()),
        "not_marked": heard.not_marked,
        "live_put_to_received_ms": quantiles_ms(heard.live_s),
    }


def reopen(folder: Path, port: int) -> dict[str, object]:
    """In a fresh process: how long it takes until the first event can be sent, how much memory, and the drain."""
    process = psutil.Process()
    before, began_s = process.memory_info().rss, time.perf_counter()
    outbox = Outbox(OutboxSettings(), Store(folder))
    outbox.start()
    outbox.opened()
    while outbox.next(WINDOW) is None:
        time.sleep(0.001)
    opened_s, opened_rss = time.perf_counter() - began_s, process.memory_info().rss - before
    outbox.closed()
    found = outbox.pending
    publisher = MqttPublisher(BrokerAddress("127.0.0.1", port), node="living-room", boot_id="boot", outbox=outbox)
    publisher.start()
    wait_until(lambda: publisher.connected, 60)
    began_s, began_cpu_s, live, most = time.perf_counter(), time.process_time(), 0, 0
    while outbox.acknowledged_events < found:
        live += 1
        event = told(DAY + live, LIVE)
        outbox.put(replace(event, body={**event.body, "put_ns": time.monotonic_ns()}))
        time.sleep(0.25)
        most = max(most, process.memory_info().rss - before)
    drained_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    wait_until(lambda: not outbox.pending, 60)
    publisher.stop(5)
    wait_until(lambda: outbox._store is not None and outbox._store.path.stat().st_size < 1_000_000, 60)
    outbox.stop(60)
    return {
        "events": found,
        "first_event_s": round(opened_s, 3),
        "rss_more_mb": round(opened_rss / 1e6, 1),
        "rss_more_while_draining_mb": round(most / 1e6, 1),
        "live_events": live,
        "drained_s": round(drained_s, 1),
        "cpu_percent_while_draining": round(100 * cpu_s / drained_s, 1),
        "disk_after_mb": sum(path.stat().st_size for path in folder.iterdir()) / 1e6,
    }


MEASURES = ("enqueue", "sustained", "day")


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of the sustained run")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; by default a temporary one")
    parser.add_argument("--only", choices=MEASURES, action="append", help="what to measure; all by default")
    parser.add_argument("--reopen", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.reopen:
        print(json.dumps(reopen(chosen.reopen, chosen.port)))  # noqa: T201
        return
    if MOSQUITTO is None:
        parser.error("mosquitto is not installed: apt install mosquitto")
    for name in chosen.only or MEASURES:
        folder = Path(tempfile.mkdtemp(dir=chosen.folder))
        try:
            if name == "enqueue":
                figures = enqueue_while_the_disk_is_held_up(folder)
            elif name == "sustained":
                figures = sustained(folder, chosen.seconds)
            else:
                figures = a_day_offline(folder)
            print(json.dumps(figures, indent=1), flush=True)  # noqa: T201
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()

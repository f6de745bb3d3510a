"""What a soak run records: all MQTT messages, and what the daemon's process holds."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho
import psutil
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

NODE = "soak"
BASE = f"edge-fer/{NODE}"


@dataclass(frozen=True, slots=True)
class Heard:
    """An MQTT message, when it came."""

    t_s: float  # monotonic, as all times here
    topic: str
    body: Any  # JSON; text where it is none
    retained: bool = False  # it was there before the subscription


@dataclass(frozen=True, slots=True)
class Sample:
    """What the daemon held at a moment."""

    t_s: float
    quiet: bool  # no fault was active, nor for a while before
    rss_mb: float
    threads: int
    fds: int
    children: int
    zombies: frozenset[int]  # process ids


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRecord:
    """A fault as it was made."""

    name: str
    camera: str  # "" where no camera is meant
    expected: frozenset[str]  # one of these states must follow; empty: any may, the camera must be back
    began_s: float
    undone_s: float  # when the driver took it away; the camera may come back from here on
    over_s: float  # when the next thing may happen
    within_s: float  # of the beginning, for the state
    back_within_s: float  # of the end, for "online"
    broker: bool = False  # the broker was away


@dataclass
class Recording:
    """Everything the checks look at."""

    heard: list[Heard] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    faults: list[FaultRecord] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)  # faults that could not be made here, and why
    printed: list[dict[str, Any]] = field(default_factory=list)  # events on the daemon's standard output
    log: str = ""
    titles: set[str] = field(default_factory=set)  # command lines of the daemon's processes
    stopped_s: float = 0.0  # when the daemon was told to end
    exit_code: int | None = None
    ended_after_s: float = 0.0
    left_behind: list[int] = field(default_factory=list)  # its children that outlived it

    def statuses(self, camera: str) -> list[Heard]:
        """Of a camera, in order, without what a reconnected broker repeats."""
        topic, kept = f"{BASE}/camera/{camera}/status", list[Heard]()
        for heard in self.heard:
            if heard.topic == topic and not heard.retained and (not kept or kept[-1].body != heard.body):
                kept.append(heard)
        return kept

    def events(self) -> list[Heard]:
        """Expression events, repetitions too."""
        return [heard for heard in self.heard if heard.topic.endswith("/events")]

    def throughput(self) -> list[Heard]:
        """Telemetry samples."""
        return [heard for heard in self.heard if heard.topic == f"{BASE}/telemetry/throughput"]


class MqttRecorder:
    """Records everything below edge-fer/. Its session survives the broker, so that nothing is missed meanwhile."""

    def __init__(self, port: int, heard: list[Heard]) -> None:
        self._heard, self._changed = heard, threading.Condition()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, "soak-recorder", clean_session=False, protocol=MQTTProtocolVersion.MQTTv311
        )
        self._client.on_connect = lambda client, *_: client.subscribe("edge-fer/#", 1)
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _on_message(self, _client: paho.Client, _data: object, got: paho.MQTTMessage) -> None:
        try:
            body: Any = json.loads(got.payload)
        except ValueError:
            body = got.payload.decode(errors="replace")
        with self._changed:
            self._heard.append(Heard(time.monotonic(), got.topic, body, got.retain))
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until a message makes the condition true; returns whether it is."""
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class ProcessSampler(threading.Thread):
    """Looks at the daemon and its children every second."""

    def __init__(self, pid: int, recording: Recording) -> None:
        super().__init__(name="sampler", daemon=True)
        self._daemon, self._recording = psutil.Process(pid), recording
        self._ended = threading.Event()
        self.quiet = threading.Event()
        self._family: dict[int, psutil.Process] = {}

    def run(self) -> None:
        with suppress(psutil.NoSuchProcess):  # it has ended; others see why
            while not self._ended.wait(1.0):
                self._recording.samples.append(self._sample())

    def stop(self) -> None:
        """Sample no more."""
        self._ended.set()
        self.join()

    def survivors(self) -> list[int]:
        """Children of the daemon that still run."""
        return [pid for pid, child in self._family.items() if _runs(child)]

    def _sample(self) -> Sample:
        zombies = set()
        children = self._daemon.children(recursive=True)
        for child in children:
            with suppress(psutil.NoSuchProcess):  # it has ended just now
                if child.status() == psutil.STATUS_ZOMBIE:
                    zombies.add(child.pid)
                else:
                    self._family[child.pid] = child
                    self._recording.titles.add(" ".join(child.cmdline()))
        with self._daemon.oneshot():
            self._recording.titles.add(" ".join(self._daemon.cmdline()))
            return Sample(
                t_s=time.monotonic(),
                quiet=self.quiet.is_set(),
                rss_mb=self._daemon.memory_info().rss / 1e6,
                threads=self._daemon.num_threads(),
                fds=self._daemon.num_fds(),
                children=len(children),
                zombies=frozenset(zombies),
            )


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

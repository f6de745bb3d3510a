"""Reads the sensors in a thread of its own: an I2C bus, or a program, may take its time."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from edge_fer.sensors.energy import MAX_GAP_S, EnergyMeter
from edge_fer.sensors.readings import Reading

log = logging.getLogger(__name__)

READINGS_KEPT = 4096
"""For whoever asks for all of them; at five a second, a quarter of an hour."""

PROBLEMS_TOLD = 50
"""In the log, each once: one that comes and goes with every reading must not fill it."""

END_S = 5.0
"""A program that hangs is killed well before that."""


class SensorWatch(Protocol):
    """What others need of the thread; `SensorThread` is the real one."""

    @property
    def newest(self) -> Reading | None:
        """The newest reading; None before the first."""

    @property
    def energy_j(self) -> float | None:
        """Energy since the start, integrated over the readings; None where watts were never read."""


class Readable(Protocol):
    """What is read; `Sensors` is the real one."""

    def read(self) -> Reading:
        """Everything now. Never raises."""


class SensorThread:
    """Reads every `sample_s`, the first time at once. A context manager; its methods may be called from any thread."""

    def __init__(self, sensors: Readable, sample_s: float, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self.sample_s = sample_s
        self._sensors, self._clock_ns = sensors, clock_ns
        self._meter = EnergyMeter(max(MAX_GAP_S, 3 * sample_s))
        self._changed = threading.Condition()
        self._readings: deque[Reading] = deque(maxlen=READINGS_KEPT)
        self._newest: Reading | None = None
        self._stopping = False
        self._wanted = False
        self._told: set[str] = set()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> SensorThread:  # noqa: PYI034 - Self needs Python 3.11
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to read; nothing where it does so already. One that was stopped and still hangs goes on afterwards."""
        with self._changed:
            self._stopping = False
            if self.alive:
                return
        self._thread = threading.Thread(target=self._run, name="sensors", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = END_S) -> None:
        """End it, after the reading that is under way, which is not waited for longer than this."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                log.warning("a sensor does not answer; its thread is left behind")

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def newest(self) -> Reading | None:
        """The newest reading; None before the first."""
        return self._newest

    @property
    def energy_j(self) -> float | None:
        """Energy since the start, integrated over the readings; None where watts were never read."""
        with self._changed:
            return self._meter.energy_j

    @property
    def gap_s(self) -> float:
        """Time since the start of which the energy is not known, between readings with watts."""
        with self._changed:
            return self._meter.gap_s

    def readings(self) -> list[Reading]:
        """Those since the last call, oldest first; no more than READINGS_KEPT."""
        with self._changed:
            taken = list(self._readings)
            self._readings.clear()
        return taken

    def read_now(self, timeout_s: float = END_S) -> Reading | None:
        """A reading that begins after this call, out of turn; None where none came in time.

        For the two ends of a measurement, so that no watt in between has to be guessed.
        """
        asked_ns = self._clock_ns()
        with self._changed:
            self._wanted = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._fresh(asked_ns) is not None or not self.alive, timeout_s)
            return self._fresh(asked_ns)

    def _fresh(self, asked_ns: int) -> Reading | None:
        return self._newest if self._newest is not None and self._newest.time_ns >= asked_ns else None

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._stopping:
            self._take(self._sensors.read())
            due_s = max(due_s + self.sample_s, time.monotonic())
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._wanted, due_s - time.monotonic())
                if self._wanted:
                    due_s = time.monotonic()
                self._wanted = False

    def _take(self, reading: Reading) -> None:
        with self._changed:
            self._log_news(reading)
            self._newest = reading
            self._readings.append(reading)
            self._meter.add(reading)
            self._changed.notify_all()

    def _log_news(self, reading: Reading) -> None:
        for problem in reading.problems:
            if problem not in self._told and len(self._told) < PROBLEMS_TOLD:
                self._told.add(problem)
                log.warning("sensor: %s", problem)

"""What a process holds over time, and whether that grows: a sampler and pure functions of its samples."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

MB = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What the daemon and, apart from it, its children hold at a moment."""

    t_s: float  # monotonic
    rss_mb: float  # resident; pages shared with others count as a whole
    pss_mb: float  # shared pages count in parts
    dirty_mb: float  # private and written: what no other process has and no file gives back
    children_mb: float  # resident, of all children
    children: int
    threads: int
    fds: int


@dataclass(frozen=True, slots=True)
class Growth:
    """One figure of a run, at its beginning and at its end."""

    name: str
    before: float  # median of the window after the warm-up
    after: float  # median of the last window
    per_hour: float  # slope from the end of the warm-up on, by the median of the slopes of all pairs

    @property
    def grown(self) -> float:
        """From the one window to the other."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Windows:
    """Which parts of a run are compared, in seconds."""

    warm_up_s: float
    window_s: float

    @classmethod
    def of_run(cls, minutes: float) -> Windows:
        """Two minutes of warm-up, then two, and the last two; a fifth of the time each in a run below ten minutes."""
        part_s = min(2.0, minutes / 5) * 60
        return cls(part_s, part_s)


FIGURES: dict[str, Callable[[Footprint], float]] = {
    "resident, MB": lambda one: one.rss_mb,
    "proportional, MB": lambda one: one.pss_mb,
    "private dirty, MB": lambda one: one.dirty_mb,
    "children resident, MB": lambda one: one.children_mb,
    "children": lambda one: one.children,
    "threads": lambda one: one.threads,
    "open files": lambda one: one.fds,
}


def growths(samples: Sequence[Footprint], windows: Windows) -> list[Growth]:
    """Every figure's growth; ValueError where the run was too short for its windows."""
    begin_s, end_s = samples[0].t_s, samples[-1].t_s
    warm = [one for one in samples if one.t_s >= begin_s + windows.warm_up_s]
    first = [one for one in warm if one.t_s < begin_s + windows.warm_up_s + windows.window_s]
    last = [one for one in warm if one.t_s > end_s - windows.window_s]
    if not first or not last or last[0].t_s <= first[-1].t_s:
        raise ValueError(f"{end_s - begin_s:.0f} s are too short for a warm-up and two windows")
    return [
        Growth(
            name,
            statistics.median(map(figure, first)),
            statistics.median(map(figure, last)),
            3600 * slope([one.t_s for one in warm], [figure(one) for one in warm]),
        )
        for name, figure in FIGURES.items()
    ]


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Median of the slopes of all pairs (Theil 1950, Sen 1968): a third of the values may be anything."""
    first, second = np.triu_indices(len(times), 1)
    t, v = np.asarray(times, float), np.asarray(values, float)
    return float(np.median((v[second] - v[first]) / (t[second] - t[first])))


class FootprintSampler(threading.Thread):
    """Looks at a process and its children every `period_s` until it has ended or `stop` is called."""

    def __init__(self, pid: int, period_s: float = 2.0) -> None:
        super().__init__(name="footprint", daemon=True)
        self._process, self._period_s, self._ended = psutil.Process(pid), period_s, threading.Event()
        self.samples: list[Footprint] = []

    def run(self) -> None:
        with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):  # it has ended; others see why
            while not self._ended.wait(self._period_s):
                self.samples.append(self._sample())

    def stop(self) -> None:
        """Sample no more."""
        self._ended.set()
        self.join()

    def _sample(self) -> Footprint:
        children = [_resident_mb(child) for child in self._process.children(recursive=True)]
        rollup = _rollup_mb(self._process.pid)
        with self._process.oneshot():
            return Footprint(
                t_s=time.monotonic(),
                rss_mb=rollup["Rss"],
                pss_mb=rollup["Pss"],
                dirty_mb=rollup["Private_Dirty"],
                children_mb=sum(children),
                children=len(children),
                threads=self._process.num_threads(),
                fds=self._process.num_fds(),
            )


def _rollup_mb(pid: int) -> dict[str, float]:
    """Counted page by page: the total in /proc/PID/statm lags behind by up to 64 pages for each thread."""
    _, *lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    fields = (line.split() for line in lines)
    return {name.rstrip(":"): int(kib) * 1024 / MB for name, kib, *_ in fields}


def _resident_mb(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss / MB)
    except psutil.NoSuchProcess:  # it has ended just now
        return 0.0

"""Measurements -> the way to run a network, by a rule that is written down: nothing is measured or read here.

For speed, the most images per second, less what a thread costs: each thread more must bring 30 % of what one thread
does, because cameras are decoded, and other networks run, on the same cores. For energy, the fewest joules per image
above the idle floor: a daemon never switches the board off, so the floor is paid in any case. What is within 5 % counts
as equal, and fewer threads win. A second runtime in the process costs memory, so it must be worth as much as a thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from edge_fer.config import MOST_THREADS
from edge_fer.tflite import Precision, Runtime

Goal = Literal["speed", "energy"]

THREAD_MUST_BRING = 0.3
"""Of the images per second of one thread, for each thread more."""

RUNTIME_MUST_BRING = 0.3
"""The same for a runtime that nothing else in the process needs; of joules, so many more count against it."""

EQUAL_JOULES = 0.05
"""Joules this near to the fewest are as few: sensors are no better."""

Milliseconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Remembered(BaseModel):
    """Base of what stands in the file: nothing unknown, nothing of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Way(Remembered):
    """One way to run a network."""

    runtime: Runtime
    precision: Precision | None  # None: the model has only one
    threads: int = Field(ge=1, le=MOST_THREADS)

    def __str__(self) -> str:
        """For people: "litert int8, 2 threads"."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.runtime}{f' {self.precision}' if self.precision else ''}, {threads}"


class Measurement(Remembered):
    """What one way costs: medians over the rounds."""

    way: Way
    ms: Milliseconds  # wall time of one image
    cpu_ms: float = Field(ge=0, allow_inf_nan=False)  # CPU time of one image, all threads
    joules: float | None = Field(default=None, allow_inf_nan=False)  # of one image, above the idle floor
    total_joules: float | None = Field(default=None, allow_inf_nan=False)  # of one image, the whole board
    rounds: int = Field(ge=1)

    @property
    def fps(self) -> float:
        """Images per second."""
        return 1000 / self.ms


class Winner(NamedTuple):
    """The way that was chosen, and why, in words."""

    way: Way
    why: str


def choose(measurements: Sequence[Measurement], goal: Goal, *, beside: Runtime | None = None) -> Winner:
    """The best way; `beside` is the runtime that the process has loaded in any case.

    The same measurements give the same winner, in whatever order they come. ValueError where there are none, or where
    the goal is energy and joules are missing: `can_save` tells.
    """
    if not measurements:
        raise ValueError("nothing was measured")
    ordered = sorted(measurements, key=_order)
    return _by_joules(ordered, beside) if goal == "energy" else _by_speed(ordered, beside)


def can_save(measurements: Sequence[Measurement]) -> bool:
    """Whether joules can decide: known of all, and above the idle floor, below which only noise is."""
    return all(one.joules is not None and one.joules > 0 for one in measurements)


def _by_speed(measurements: Sequence[Measurement], beside: Runtime | None) -> Winner:
    one_thread = _fps_of_a_thread([one for one in measurements if not _is_foreign(one, beside)] or measurements)

    def net(one: Measurement) -> float:
        foreign = RUNTIME_MUST_BRING if _is_foreign(one, beside) else 0.0
        return one.fps - one_thread * (THREAD_MUST_BRING * (one.way.threads - 1) + foreign)

    best = max(measurements, key=net)  # the first of equals: fewest threads
    fastest = min(measurements, key=lambda one: one.ms)
    if fastest is best:
        return Winner(best.way, f"fastest of {len(measurements)}: {_speed(best)}")
    return Winner(best.way, f"{_speed(best)}; {fastest.way} would bring {fastest.fps:.0f}: {_lack(fastest, best)}")


def _by_joules(measurements: Sequence[Measurement], beside: Runtime | None) -> Winner:
    if not can_save(measurements):
        raise ValueError("joules are not known of every way")

    def cost(one: Measurement) -> float:
        return (one.joules or 0.0) * (1 + RUNTIME_MUST_BRING * _is_foreign(one, beside))

    limit = min(map(cost, measurements)) * (1 + EQUAL_JOULES)
    equal = [one for one in measurements if cost(one) <= limit]
    best = min(equal, key=lambda one: (one.way.threads, _is_foreign(one, beside), one.ms))
    others = f", and {len(equal) - 1} more within {EQUAL_JOULES:.0%}" if len(equal) > 1 else ""
    millijoules = (best.joules or 0.0) * 1000
    told = f"{millijoules:.3g} mJ an image above the idle floor{others}; {_speed(best)}"
    return Winner(best.way, f"least energy of {len(measurements)}: {told}")


def _fps_of_a_thread(measurements: Sequence[Measurement]) -> float:
    """Of the fastest with one thread; where none was measured, its share in the fewest threads."""
    fewest = min(one.way.threads for one in measurements)
    return max(one.fps for one in measurements if one.way.threads == fewest) / fewest


def _is_foreign(one: Measurement, beside: Runtime | None) -> bool:
    return beside is not None and one.way.runtime != beside


def _lack(fastest: Measurement, best: Measurement) -> str:
    if fastest.way.threads > best.way.threads:
        return f"less than {THREAD_MUST_BRING:.0%} of a thread for each more"
    return "not enough for a second runtime in memory"


def _speed(one: Measurement) -> str:
    return f"{one.fps:.0f} images/s, {one.ms:.2f} ms"


def _order(one: Measurement) -> tuple[int, str, str]:
    return one.way.threads, one.way.runtime, one.way.precision or ""

"""Each way by turns, so that heat, noise and other programs meet all alike; medians over the rounds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from edge_fer.bench.figures import Speed
from edge_fer.tune.choose import Measurement, Way

ROUNDS = 6
"""Even, so that each way is as often early in a round as late: every second round goes backwards."""

STEADY = 0.15
"""Median deviation of the rounds, as a share of their median; beyond it the figures are in doubt."""


class Measure(Protocol):
    """Does something again and again; `bench.speed.measure_speed` with its sensors is the real one."""

    def __call__(self, once: Callable[[], object], *, seconds: float) -> Speed:
        """How fast it is, over so many seconds."""


class Contender(NamedTuple):
    """A way, loaded: `once` runs one image."""

    way: Way
    once: Callable[[], object]


class Outcome(NamedTuple):
    """What the rounds gave."""

    measurements: tuple[Measurement, ...]  # in the order of the contenders
    doubts: tuple[str, ...]


def measure_fairly(
    contenders: Sequence[Contender],
    measure: Measure,
    *,
    seconds: float,
    rounds: int = ROUNDS,
    on_slice: Callable[[Way], None] = lambda _way: None,
) -> Outcome:
    """Measure each contender for so many seconds in all, in rounds; `on_slice` is told before each part.

    Rounds in which the board was held back (throttled) do not count, as long as half of them are left; otherwise all
    count, and that is a doubt.
    """
    taken: list[list[Speed]] = []
    for number in range(rounds):
        one_round: dict[int, Speed] = {}
        for place in range(len(contenders)) if number % 2 == 0 else reversed(range(len(contenders))):
            on_slice(contenders[place].way)
            one_round[place] = measure(contenders[place].once, seconds=seconds / rounds)
        taken.append([one_round[place] for place in range(len(contenders))])
    counted, doubts = _undisturbed(taken)
    speeds = [[one_round[place] for one_round in counted] for place in range(len(contenders))]
    spread, unsteady = max(
        (_spread([speed.p50_ms for speed in own]), str(contender.way))
        for contender, own in zip(contenders, speeds, strict=True)
    )
    if spread > STEADY:
        doubts.append(f"the rounds differ by up to {spread:.0%} ({unsteady})")
    found = [_median(contender.way, own) for contender, own in zip(contenders, speeds, strict=True)]
    return Outcome(tuple(found), tuple(doubts))


def _undisturbed(taken: list[list[Speed]]) -> tuple[list[list[Speed]], list[str]]:
    """Rounds that count, and what is to be said about them."""
    flags = {flag: None for one_round in taken for speed in one_round for flag in speed.throttled}
    if not flags:
        return taken, []
    calm = [one_round for one_round in taken if not any(speed.throttled for speed in one_round)]
    if 2 * len(calm) >= len(taken):
        return calm, []
    held = f"the board was held back ({', '.join(flags)}) in {len(taken) - len(calm)} of {len(taken)} rounds"
    return taken, [held]


def _median(way: Way, speeds: Sequence[Speed]) -> Measurement:
    energies = [speed.energy for speed in speeds if speed.energy]
    known = 2 * len(energies) >= len(speeds)
    return Measurement(
        way=way,
        ms=round(statistics.median(speed.p50_ms for speed in speeds), 4),
        cpu_ms=round(statistics.median(speed.cpu_ms for speed in speeds), 4),
        joules=_rounded([energy.marginal_joules_per_image for energy in energies]) if known else None,
        total_joules=_rounded([energy.joules_per_image for energy in energies]) if known else None,
        rounds=len(speeds),
    )


def _rounded(joules: Sequence[float]) -> float:
    """To a nanojoule."""
    return round(statistics.median(joules), 9)


def _spread(values: Sequence[float]) -> float:
    middle = statistics.median(values)
    return statistics.median(abs(value - middle) for value in values) / middle

"""A board that heats up: two thermal resistances in a row, its sensors, and a governor that reads them."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import NamedTuple

from edge_fer.governor.core import Governor, Held
from edge_fer.governor.findings import S
from edge_fer.governor.levels import LEVELS
from edge_fer.governor.settings import GovernorSettings
from edge_fer.sensors.readings import PowerReading, Reading, Temperature, ThrottleFlag, Throttling

# The table in edge_fer/governor/levels.py: what each level costs, as a share of full rate.
SHARES = (1.0, 0.60, 0.40, 0.24, 0.16, 0.11)
assert len(SHARES) == len(LEVELS)

STEP_S = 1.0


class Thermal(NamedTuple):
    """A kind of board. Time constants are resistance times heat capacity."""

    name: str
    idle_w: float
    work_w: float  # that looking at full rate adds
    chip_k_per_w: float  # chip to board
    chip_s: float
    board_k_per_w: float  # board to air
    board_s: float
    throttle_c: float

    def settled_c(self, ambient_c: float, share: float, other_w: float = 0.0) -> float:
        """Temperature of the chip after hours."""
        watts = self.idle_w + share * self.work_w + other_w
        return ambient_c + watts * (self.chip_k_per_w + self.board_k_per_w)

    def fan(self) -> Thermal:
        """The same with a fan: it carries the heat to the air three times as well, and sooner."""
        return self._replace(board_k_per_w=self.board_k_per_w / 3, board_s=self.board_s / 3)


# Thermal resistances: what makes these boards reach their throttle point in a closed case at 30 to 40 degrees, which
# is what their users report; the shapes differ on purpose, from a light bare chip to a heavy block of aluminium.
BOARDS = (
    Thermal(
        "bare Pi 4", idle_w=2.7, work_w=2.6, chip_k_per_w=2.0, chip_s=8, board_k_per_w=7.5, board_s=180, throttle_c=80
    ),
    Thermal(
        "Pi 5 in a case",
        idle_w=3.0,
        work_w=4.5,
        chip_k_per_w=2.0,
        chip_s=10,
        board_k_per_w=5.0,
        board_s=420,
        throttle_c=80,
    ),
    Thermal("Nano", idle_w=2.5, work_w=5.0, chip_k_per_w=1.5, chip_s=20, board_k_per_w=6.0, board_s=300, throttle_c=97),
    Thermal(
        "Orin in a box",
        idle_w=6.0,
        work_w=8.0,
        chip_k_per_w=0.5,
        chip_s=15,
        board_k_per_w=3.5,
        board_s=900,
        throttle_c=99,
    ),
)


@dataclass
class Run:
    """What happened."""

    temperatures_c: list[float] = field(default_factory=list)  # true ones of the chip, each STEP_S
    watts: list[float] = field(default_factory=list)
    changes: list[tuple[float, Held]] = field(default_factory=list)  # second, from then on

    @property
    def hottest_c(self) -> float:
        return max(self.temperatures_c)

    @property
    def level(self) -> int:
        return self.changes[-1][1].level if self.changes else 0

    def changes_after(self, second: float) -> int:
        return sum(at > second for at, _ in self.changes)


class Site:
    """A board somewhere, for hours, in no time."""

    def __init__(
        self,
        board: Thermal,
        ambient_c: float = 25.0,
        *,
        settings: GovernorSettings | None = None,
        noise_c: float = 0.0,
        step_c: float = 0.5,
        noise_share_w: float | None = None,
        seed: int = 1,
        sample_s: float = 2.0,
    ) -> None:
        """It has been on for hours, and looked at nothing. `noise_share_w` None: its watts are not measured."""
        self.board, self.ambient_c, self.other_w = board, ambient_c, 0.0
        self.governor = Governor(settings or GovernorSettings(), board.throttle_c)
        self.throttled: tuple[ThrottleFlag, ...] = ()
        self.has_temperature = self.has_power = True
        self._noise_c, self._step_c, self._noise_share_w = noise_c, step_c, noise_share_w
        self._chance = random.Random(seed)  # noqa: S311 - noise, no secret
        self._sample_steps = max(1, round(sample_s / STEP_S))
        self._steps = 0
        self._board_c = ambient_c + board.idle_w * board.board_k_per_w
        self.chip_c = self._board_c + board.idle_w * board.chip_k_per_w
        self.run = Run()

    @property
    def second(self) -> float:
        return self._steps * STEP_S

    def passes(self, seconds: float) -> Site:
        """Time goes by."""
        for _ in range(round(seconds / STEP_S)):
            if self._steps % self._sample_steps == 0:
                self._govern()
            self._heat()
            self._steps += 1
        return self

    def heated_through(self) -> Site:
        """It has looked at full rate for hours before the governor came."""
        watts = self.board.idle_w + self.board.work_w
        self._board_c = self.ambient_c + watts * self.board.board_k_per_w
        self.chip_c = self._board_c + watts * self.board.chip_k_per_w
        return self

    @property
    def _watts(self) -> float:
        return self.board.idle_w + SHARES[self.governor.held.level] * self.board.work_w + self.other_w

    def _heat(self) -> None:
        board, watts = self.board, self._watts
        chip_goal_c = self._board_c + watts * board.chip_k_per_w
        board_goal_c = self.ambient_c + watts * board.board_k_per_w
        self.chip_c += (chip_goal_c - self.chip_c) * (1 - math.exp(-STEP_S / board.chip_s))
        self._board_c += (board_goal_c - self._board_c) * (1 - math.exp(-STEP_S / board.board_s))
        self.run.temperatures_c.append(self.chip_c)
        self.run.watts.append(watts)

    def _govern(self) -> None:
        before = self.governor.held
        held = self.governor.take(self.reading(), self._now_ns)
        if held.level != before.level:
            self.run.changes.append((self.second, held))

    @property
    def _now_ns(self) -> int:
        return 5_000 * S + round(self.second * S)

    def reading(self) -> Reading:
        """As a sensor tells it: with noise, in steps."""
        noisy_c = self.chip_c + self._chance.gauss(0, self._noise_c)
        told_c = math.floor(noisy_c / self._step_c) * self._step_c
        zones = (Temperature("cpu-thermal", told_c), Temperature("board", told_c - 20)) if self.has_temperature else ()
        return Reading(self._now_ns, self._power(), zones, Throttling(now=self.throttled))

    def _power(self) -> PowerReading:
        if self._noise_share_w is None or not self.has_power:
            return PowerReading("unavailable", reason="no sensor")
        return PowerReading("measured", self._watts * (1 + self._chance.gauss(0, self._noise_share_w)))

"""Processor cores: which are online, and their clocks."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from edge_fer.errors import SensorError
from edge_fer.sensors.files import read_int, read_text
from edge_fer.sensors.machine import Machine
from edge_fer.sensors.readings import Core


class Cores:
    """All cores that the kernel knows. A clock is read once for all cores that share it."""

    def __init__(self, machine: Machine) -> None:
        self._folder = str(machine.sys / "devices" / "system" / "cpu")
        self._policies: dict[int, str] = {}  # core -> folder of its clock
        self._problems: list[str] = []
        self.problems: tuple[str, ...] = ()

    def read(self) -> tuple[Core, ...]:
        """Online cores with their clocks, where the kernel tells them; those that are offline without."""
        self._problems = []
        numbers = self._numbers()
        online = self._online(numbers)
        clocks: dict[str | None, tuple[float | None, float | None]] = {None: (None, None)}
        cores = []
        for number in numbers:
            if number not in online:
                self._policies.pop(number, None)
                cores.append(Core(number, online=False))
                continue
            policy = self._policy(number)
            if policy not in clocks:
                clocks[policy] = (self._mhz(policy, "scaling_cur_freq"), self._mhz(policy, "scaling_max_freq"))
            mhz, max_mhz = clocks[policy]
            cores.append(Core(number, online=True, mhz=mhz, max_mhz=max_mhz))
        self.problems = tuple(self._problems)
        return tuple(cores)

    def _numbers(self) -> list[int]:
        if (present := self._text("present")) is not None:
            return sorted(parse_list(present))
        try:
            names = os.listdir(self._folder)  # noqa: PTH208 - strings
        except OSError:
            return []
        return sorted(int(name[3:]) for name in names if re.fullmatch(r"cpu\d+", name))

    def _online(self, numbers: list[int]) -> set[int]:
        text = self._text("online")
        return set(numbers) if text is None else set(parse_list(text))

    def _policy(self, number: int) -> str | None:
        """The folder of its clock, links followed: cores of a cluster share one. Offline cores have none."""
        if number not in self._policies:
            link = f"{self._folder}/cpu{number}/cpufreq"
            if not os.path.isdir(link):  # noqa: PTH112 - strings
                return None
            self._policies[number] = os.path.realpath(link)
        return self._policies[number]

    def _mhz(self, policy: str | None, name: str) -> float | None:
        try:
            khz = read_int(f"{policy}/{name}")
        except SensorError as err:
            self._problems.append(str(err))
            return None
        return khz / 1e3 if khz else None  # some drivers say 0 for what they do not know

    def _text(self, name: str) -> str | None:
        try:
            return read_text(f"{self._folder}/{name}")
        except SensorError as err:
            self._problems.append(str(err))
            return None


def parse_list(text: str) -> Iterator[int]:
    """`0-3,6` -> 0, 1, 2, 3, 6; what is no number is passed over."""
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", text):
        yield from range(int(first), int(last or first) + 1)

"""What is tried: each wheel set on each processor of the boards that get it, and which Python runs it here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from armroot import BOOKWORM, BULLSEYE, TRIXIE, Userland
from armsite import OLD_PYTHON_NEEDS, OTHER_VERSIONS, Site, locked_site, stand_in_site

from deploy.board import all_boards
from deploy.wheelset import WheelSet, load_wheel_set, parse_set_key

PYTHONS = {"3.10": BOOKWORM, "3.11": BOOKWORM, "3.12": TRIXIE, "3.13": TRIXIE}
"""Whose Python runs a set. Debian has no 3.10 and no 3.12 for arm64, so the next one stands in; see `untested`."""

OLD_GLIBC = (2, 31)
"""Sets for no newer one than this are also tried on Debian 11, with its Python 3.9."""

WITH_DOT_PRODUCT = {"cortex-a76"}
"""Processors whose instructions have the int8 dot product."""

WITHOUT_ATOMICS = {"cortex-a53", "cortex-a57", "cortex-a72"}
"""Processors of ARMv8.0, which lack the atomic instructions of 8.1."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A wheel set on a processor."""

    set_key: str
    cpu: str  # as qemu calls it
    environment: tuple[tuple[str, str], ...]  # that the boards run with
    userland: Userland
    boards: tuple[str, ...]
    plays_clip: bool  # besides pictures; one of each set does, since decoding takes long

    @property
    def wheel_set(self) -> WheelSet:
        return load_wheel_set(self.set_key)

    @property
    def python(self) -> str:
        """That the set is for."""
        return parse_set_key(self.set_key)[0]

    @property
    def stands_in(self) -> bool:
        """Whether another Python than the board's runs it."""
        return self.userland.python != self.python

    @property
    def on_old_python(self) -> bool:
        """Whether only the runtimes are tried, on a Python that is too old for edge_fer."""
        return self.userland == BULLSEYE

    def site(self) -> Site:
        if not self.stands_in:
            return locked_site(self.wheel_set)
        return stand_in_site(self.wheel_set, self.userland, OLD_PYTHON_NEEDS if self.on_old_python else None)

    def __str__(self) -> str:
        stand_in = f"-{self.userland.tag}-stands-in" if self.stands_in else ""
        return f"{self.set_key}-{self.cpu}{stand_in}"


def all_trials() -> list[Trial]:
    """Every distinct wheel set of a 64-bit ARM board on each of its processors, in an order that never changes."""
    found: dict[tuple[str, str, tuple[tuple[str, str], ...]], set[str]] = {}
    for board in all_boards():
        if board.machine == "aarch64":
            environment = tuple(sorted(board.environment.items()))
            for system in board.systems:
                found.setdefault((system.wheels, board.qemu_cpu, environment), set()).add(board.key)
    trials: list[Trial] = []
    for (set_key, cpu, environment), boards in sorted(found.items()):
        userland, is_first = PYTHONS[parse_set_key(set_key)[0]], set_key not in {trial.set_key for trial in trials}
        trials.append(Trial(set_key, cpu, environment, userland, tuple(sorted(boards)), plays_clip=is_first))
    return trials


def old_trials(trials: Sequence[Trial]) -> list[Trial]:
    """The same of the sets for an old glibc, on Debian 11."""
    return [
        replace(trial, userland=BULLSEYE, plays_clip=False) for trial in trials if glibc_of(trial.set_key) <= OLD_GLIBC
    ]


def glibc_of(set_key: str) -> tuple[int, ...]:
    return tuple(int(part) for part in parse_set_key(set_key)[2].split("."))


def untested(set_key: str) -> str:
    """What of a set is not run here, for people; "" where all is."""
    python, _machine, glibc = parse_set_key(set_key)
    userland = PYTHONS[python]
    if userland.python == python:
        return ""
    versions = {wheel.name: wheel.version for wheel in load_wheel_set(set_key).wheels}
    others = [
        f"{name} {other} instead of {version}"
        for (name, version, by), other in OTHER_VERSIONS.items()
        if by == userland.python and versions.get(name) == version
    ]
    stands_in = (
        f"{set_key}: NOT RUN: there is no CPython {python} for arm64 here, so the machine code that is built for it "
        f"alone was not run; Debian's {userland.python} ran the same versions"
    )
    if others:
        stands_in += f", but {', '.join(others)}"
    if glibc_of(set_key) > OLD_GLIBC:
        return stands_in
    loaded = (
        f"its own files were loaded, not run, by glibc {BULLSEYE.glibc}, where Python {BULLSEYE.python} ran the "
        "same versions of the runtimes"
    )
    if glibc_of(set_key) == OLD_GLIBC:
        return f"{stands_in}; {loaded}"
    return f"{stands_in}; {loaded}; glibc {glibc} itself was not tried: only the audit of the set tells of it"

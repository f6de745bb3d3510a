"""What one core could do at most: its instruction set, multiply-accumulates per cycle, and its clock.

Only arithmetic is counted: a kernel that waits for memory, or fills a vector with padding, stays below.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edge_fer.sensors.machine import Machine


class MacsPerCycle(NamedTuple):
    """Multiply-accumulates of one core in one cycle, and the instructions that do them."""

    int8: int
    float32: int
    isa: str


@dataclass(frozen=True, slots=True)
class Processor:
    """One kind of core; the fastest where a chip has several. None is what is not known."""

    name: str
    per_cycle: MacsPerCycle | None
    clock_mhz: float | None
    note: str  # where the figures come from, or why there are none

    @property
    def isa(self) -> str:
        """The instructions that count; empty where they are not known."""
        return self.per_cycle.isa if self.per_cycle else ""

    @property
    def peak_gmacs_int8(self) -> float | None:
        """10^9 int8 multiply-accumulates per second of one core."""
        return self._peak(self.per_cycle.int8) if self.per_cycle else None

    @property
    def peak_gmacs_float32(self) -> float | None:
        """10^9 float32 multiply-accumulates per second of one core."""
        return self._peak(self.per_cycle.float32) if self.per_cycle else None

    def _peak(self, per_cycle: int) -> float | None:
        return per_cycle * self.clock_mhz / 1000 if self.clock_mhz else None

    def __str__(self) -> str:
        """As a table's head has it: "Cortex-A76, NEON SDOT"."""
        return f"{self.name}, {self.isa}" if self.isa else self.name


def read_processor(machine: Machine) -> Processor:
    """The core of a machine, from its /proc/cpuinfo and cpufreq; never fails, but may know little."""
    cores = _cpuinfo(machine.proc / "cpuinfo")
    clock_mhz, clock_note = _clock(machine, cores)
    if any({"CPU implementer", "CPU part"} <= core.keys() for core in cores):
        name, per_cycle, note = _arm(cores)
    elif any("flags" in core for core in cores):
        name, per_cycle, note = _x86(cores[0])
    else:
        name, per_cycle, note = platform.machine() or "unknown processor", None, "this processor is not known"
    return Processor(name, per_cycle, clock_mhz, f"{note}; {clock_note}" if per_cycle else note)


ARM_CORES: dict[tuple[int, int], tuple[str, MacsPerCycle | None]] = {
    (0x41, 0xD03): ("Cortex-A53", MacsPerCycle(8, 4, "NEON")),
    (0x41, 0xD05): ("Cortex-A55", MacsPerCycle(16, 4, "NEON SDOT")),
    (0x41, 0xD07): ("Cortex-A57", MacsPerCycle(8, 4, "NEON")),
    (0x41, 0xD08): ("Cortex-A72", MacsPerCycle(8, 4, "NEON")),
    (0x41, 0xD0B): ("Cortex-A76", MacsPerCycle(32, 8, "NEON SDOT")),
    (0x41, 0xD0D): ("Cortex-A77", MacsPerCycle(32, 8, "NEON SDOT")),
    (0x41, 0xD41): ("Cortex-A78", MacsPerCycle(32, 8, "NEON SDOT")),
    (0x41, 0xD42): ("Cortex-A78AE", MacsPerCycle(32, 8, "NEON SDOT")),
    (0x4E, 0x004): ("NVIDIA Carmel", None),  # its pipelines are not published
}
"""(implementer, part) -> name, and what Arm's Software Optimization Guide of the core gives for 128-bit FMLA and SDOT.

A57 and A72: one FMLA a cycle; without SDOT int8 takes one SMULL or SMLAL a cycle, eight products. A76 and later: two
FMLA and two SDOT a cycle. A53 and A55 in order: one of each.
"""

INTEL_ONE_UNIT = (0x7D, 0x7E, 0x8C, 0x8D, 0xA7)  # Ice Lake, Tiger Lake and Rocket Lake clients: one 512-bit multiplier
ZEN5_FAMILY = 0x1A


def _x86(core: dict[str, str]) -> tuple[str, MacsPerCycle | None, str]:
    name = _plain(core.get("model name", "x86 processor"))
    flags = set(core["flags"].split())
    if not {"avx2", "fma"} <= flags:
        return name, None, "a processor without AVX2: its peak is not known here"
    amd = core.get("vendor_id") == "AuthenticAMD"
    family, model = _whole(core.get("cpu family", "")), _whole(core.get("model", ""))
    units = 1 if (family < ZEN5_FAMILY if amd else model in INTEL_ONE_UNIT) else 2
    if "avx512_vnni" in flags:
        found = MacsPerCycle(64 * units, 16 * units, "AVX-512 VNNI")
        how = f"VPDPBUSD 64 and VFMADD 16 of 512 bits, {units} a cycle"
        how += ", AMX is kept off" if "amx_int8" in flags else ""  # see edge_fer/amx.py
    elif "avx512bw" in flags:
        found = MacsPerCycle(32 * units, 16 * units, "AVX-512")
        how = f"VPMADDWD 32 and VFMADD 16 of 512 bits, {units} a cycle"
    elif "avx_vnni" in flags:
        found, how = MacsPerCycle(64, 16, "AVX-VNNI"), "VPDPBUSD 32 and VFMADD 8 of 256 bits, 2 a cycle"
    else:
        found, how = MacsPerCycle(32, 16, "AVX2"), "VPMADDWD 16 and VFMADD 8 of 256 bits, 2 a cycle"
    return name, found, how


def _arm(cores: Sequence[dict[str, str]]) -> tuple[str, MacsPerCycle | None, str]:
    keys = [tuple(_whole(core.get(key, "")) for key in ("CPU implementer", "CPU part")) for core in cores]
    known = [found for key, found in ARM_CORES.items() if key in keys]
    if not known:
        told = next(core for core in cores if {"CPU implementer", "CPU part"} <= core.keys())
        return f"ARM core {told['CPU implementer']}/{told['CPU part']}", None, "this core is not known here"
    name, found = max(known, key=lambda entry: entry[1].int8 if entry[1] else 0)
    if not found:
        return name, None, "its pipelines are not published"
    return name, found, f"{found.isa} of 128 bits, after Arm's optimization guide"


def _clock(machine: Machine, cores: Iterable[dict[str, str]]) -> tuple[float | None, str]:
    found = []
    for path in sorted((machine.sys / "devices/system/cpu").glob("cpu[0-9]*/cpufreq/cpuinfo_max_freq")):
        text = _text(path).strip()
        if text.isdigit():
            found.append(int(text) / 1000)
    if found:
        return max(found), f"at {max(found):.0f} MHz, the highest clock that the kernel names"
    now = [float(core["cpu MHz"]) for core in cores if _number(core.get("cpu MHz", ""))]
    if now:
        return max(now), f"at {max(now):.0f} MHz, the clock in /proc/cpuinfo: a virtual machine may run faster"
    return None, "clock not known"


def _cpuinfo(path: Path) -> list[dict[str, str]]:
    """Of each core what /proc/cpuinfo says; empty where there is none."""
    blocks = _text(path).split("\n\n")
    lines = ([line.partition(":") for line in block.splitlines() if ":" in line] for block in blocks)
    return [{key.strip(): value.strip() for key, _, value in block} for block in lines if block]


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _whole(text: str) -> int:
    """-1 for what is no number."""
    try:
        return int(text, 0)
    except ValueError:
        return -1


def _number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()


def _plain(name: str) -> str:
    """Without the marks of trade: "Intel(R) Xeon(R) Processor" -> "Intel Xeon Processor"."""
    return " ".join(name.replace("(R)", "").replace("(TM)", "").split())

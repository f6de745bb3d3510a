from __future__ import annotations

from pathlib import Path

import pytest

from edge_fer.bench.processor import read_processor
from edge_fer.sensors.machine import Machine

XEON = "fpu sse4_1 fma avx2 avx512f avx512bw avx512_vnni amx_int8"


def pc(root: Path, flags: str, *, vendor: str = "GenuineIntel", family: int = 6, model: int = 207) -> Machine:
    lines = f"processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\n"
    lines += f"model name\t: Intel(R) Xeon(R) Processor\ncpu MHz\t\t: 2100.000\nflags\t\t: {flags}\n\n"
    return machine(root, lines + lines.replace("processor\t: 0", "processor\t: 1"))


def machine(root: Path, cpuinfo: str, khz: tuple[int, ...] = ()) -> Machine:
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text(cpuinfo)
    for core, clock in enumerate(khz):
        folder = root / f"sys/devices/system/cpu/cpu{core}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "cpuinfo_max_freq").write_text(f"{clock}\n")
    return Machine(root)


def arm(*parts: int, implementer: int = 0x41) -> str:
    core = "processor\t: {}\nBogoMIPS\t: 108.00\nCPU implementer\t: 0x{:02x}\nCPU part\t: 0x{:03x}\n"
    return "\n".join(core.format(number, implementer, part) for number, part in enumerate(parts))


def test_a_server_core_of_intel_has_two_units_of_512_bits(tmp_path: Path) -> None:
    found = read_processor(pc(tmp_path, XEON))
    assert str(found) == "Intel Xeon Processor, AVX-512 VNNI"
    # 2 x 64 multiply-accumulates a cycle at 2.1 GHz; 2 x 16 of float32.
    assert found.peak_gmacs_int8 == pytest.approx(268.8)
    assert found.peak_gmacs_float32 == pytest.approx(67.2)
    assert "AMX is kept off" in found.note
    assert "a virtual machine may run faster" in found.note


@pytest.mark.parametrize(
    ("flags", "options", "int8", "float32"),
    [
        (XEON, {"model": 0x8C}, 64, 16),  # Tiger Lake: one unit
        (XEON, {"vendor": "AuthenticAMD", "family": 0x19, "model": 0x11}, 64, 16),  # Zen 4: 512 bits in two halves
        (XEON, {"vendor": "AuthenticAMD", "family": 0x1A, "model": 0x02}, 128, 32),  # Zen 5
        ("avx2 fma avx512f avx512bw", {"model": 0x55}, 64, 32),  # Skylake-SP
        ("avx2 fma avx_vnni", {"model": 0x97}, 64, 16),  # Alder Lake
        ("avx2 fma", {"model": 0x9E}, 32, 16),  # Coffee Lake
    ],
)
def test_cycles_of_pcs(flags: str, options: dict[str, str], int8: int, float32: int, tmp_path: Path) -> None:
    found = read_processor(pc(tmp_path, flags, **options)).per_cycle  # type: ignore[arg-type]
    assert found
    assert (found.int8, found.float32) == (int8, float32)


@pytest.mark.parametrize(
    ("part", "khz", "name", "int8", "float32"),
    [
        (0xD07, 1_479_000, "Cortex-A57, NEON", 11.832, 5.916),  # Jetson Nano: 8 and 4 a cycle
        (0xD08, 1_800_000, "Cortex-A72, NEON", 14.4, 7.2),  # Raspberry Pi 4
        (0xD0B, 2_400_000, "Cortex-A76, NEON SDOT", 76.8, 19.2),  # Raspberry Pi 5: 32 and 8 a cycle
        (0xD42, 1_510_400, "Cortex-A78AE, NEON SDOT", 48.3328, 12.0832),  # Orin
    ],
)
def test_peaks_of_boards(part: int, khz: int, name: str, int8: float, float32: float, tmp_path: Path) -> None:
    found = read_processor(machine(tmp_path, arm(part, part, part, part), (khz, khz)))
    assert str(found) == name
    assert found.peak_gmacs_int8 == pytest.approx(int8)
    assert found.peak_gmacs_float32 == pytest.approx(float32)


def test_of_two_kinds_of_cores_the_fast_one_counts(tmp_path: Path) -> None:
    found = read_processor(machine(tmp_path, arm(0xD05, 0xD05, 0xD0B), (1_800_000, 1_800_000, 2_208_000)))
    assert found.name == "Cortex-A76"
    assert found.clock_mhz == 2208


def test_a_core_whose_pipelines_are_not_published_has_a_name_and_no_peak(tmp_path: Path) -> None:
    found = read_processor(machine(tmp_path, arm(0x004, 0x004, implementer=0x4E), (2_265_600,)))
    assert (str(found), found.peak_gmacs_int8, found.peak_gmacs_float32) == ("NVIDIA Carmel", None, None)
    assert found.note == "its pipelines are not published"


@pytest.mark.parametrize(
    "cpuinfo",
    [
        "",
        "garbage",
        "flags\t: sse2\n",
        arm(0xFFF),
        "CPU part\t: 0xd0b\n",
        "CPU implementer: ?\nCPU part: ?\n",
        "flags: avx2 fma\n",
    ],
)
def test_what_is_not_known_has_no_peak_and_is_no_error(cpuinfo: str, tmp_path: Path) -> None:
    found = read_processor(machine(tmp_path, cpuinfo))
    assert found.peak_gmacs_int8 is None
    assert found.name
    assert found.note


def test_a_machine_without_anything_has_no_peak(tmp_path: Path) -> None:
    assert read_processor(Machine(tmp_path)).peak_gmacs_int8 is None


def test_a_clock_that_is_not_known_gives_no_peak(tmp_path: Path) -> None:
    found = read_processor(machine(tmp_path, arm(0xD08)))
    assert found.isa == "NEON"
    assert found.peak_gmacs_int8 is None
    assert found.note.endswith("clock not known")

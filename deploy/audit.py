"""What the machine code in wheels asks of a system, read from the files themselves: tags lie in both directions."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

from deploy.wheelset import numbers
from edge_fer.errors import UnavailableError

SYSTEM_LIBRARIES = frozenset(
    {
        "ld-linux-aarch64.so.1",
        "ld-linux-x86-64.so.2",
        "libc.so.6",
        "libdl.so.2",
        "libgcc_s.so.1",
        "libm.so.6",
        "libpthread.so.0",
        "librt.so.1",
        "libstdc++.so.6",
        "libutil.so.1",
        "libz.so.1",
    }
)
"""On every system that can install packages: glibc, and what dpkg and apt themselves need. No screen, no libGL."""

OPTIONAL = {"ai_edge_litert": ("ai_edge_litert/vendors/",)}
"""Plug-ins for accelerators of other makers, opened only where a program asks for one by its name, which edge-fer never
does. Their makers' libraries may be missing; all else must be right."""

LEAST_ALIGNMENT_BYTES = {"aarch64": 16384, "x86_64": 4096}
"""The largest memory page of a kernel there: a Raspberry Pi 5 has 16 KiB, and loads nothing that is aligned to less."""

_MACHINES = {"aarch64": "EM_AARCH64", "x86_64": "EM_X86_64"}
_GCC_OF_GLIBC = {"2.27": 8, "2.31": 10, "2.35": 12, "2.36": 12, "2.39": 14, "2.41": 14}
"""Whose libraries come with that glibc: in Ubuntu 18.04, 20.04, 22.04, Debian 12, Ubuntu 24.04, Debian 13."""
_LIBSTDCXX_OF_GCC = {
    8: ("3.4.25", "1.3.11"),
    10: ("3.4.28", "1.3.12"),
    12: ("3.4.30", "1.3.13"),
    14: ("3.4.33", "1.3.15"),
}
_ZLIB = "1.2.9"  # of zlib 1.2.11, which the oldest of them has
_UNNUMBERED = {"CXXABI_TM_1": "2.17", "CXXABI_FLOAT128": "2.17", "GLIBC_ABI_DT_RELR": "2.36"}  # and since which glibc
_VERSION = re.compile(r"(GLIBC|GLIBCXX|CXXABI|GCC|ZLIB)_(\d+(?:\.\d+)+)")
_WEAK = 2  # VER_FLG_WEAK: a program starts without it


@dataclass(frozen=True, slots=True)
class SharedObject:
    """A file of machine code in a wheel."""

    wheel: str
    member: str
    machine: str  # as pyelftools calls it: "EM_AARCH64"
    bits: int
    little_endian: bool
    needed: tuple[str, ...] = ()
    """Libraries that it is linked to."""
    versions: tuple[tuple[str, str], ...] = ()
    """Library and version, such as ("libm.so.6", "GLIBC_2.27"), that it cannot be loaded without."""
    alignment_bytes: int = 0
    """The least of its segments; 0 where nothing is loaded."""
    executable_stack: bool = False
    readable: bool = True
    """False where the tables that say what it needs were taken out."""
    names: frozenset[str] = field(default=frozenset())
    """By which others may be linked to it."""


def audit(paths: Iterable[Path], machine: str, glibc: str) -> list[str]:
    """What keeps wheels from running on a system, each naming wheel, file, what was found and what is allowed.

    UnavailableError where one is no wheel.
    """
    problems = []
    for path in paths:
        objects = read_objects(path)
        bundled = frozenset().union(*(item.names for item in objects))
        for item in objects:
            problems += [f"{item.wheel}: {item.member}: {wrong}" for wrong in _wrong(item, bundled, machine, glibc)]
    return problems


def read_objects(wheel: Path) -> list[SharedObject]:
    """Every file of machine code in a wheel, whatever it is called."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            return [
                _read_object(wheel.name, name, content)
                for name in sorted(archive.namelist())
                if (content := _machine_code(archive, name))
            ]
    except (OSError, zipfile.BadZipFile) as err:
        raise UnavailableError(f"{wheel}: no wheel that can be read ({err})") from err


def _machine_code(archive: zipfile.ZipFile, name: str) -> bytes | None:
    with archive.open(name) as member:
        magic = member.read(4)
        return magic + member.read() if magic == b"\x7fELF" else None


def _read_object(wheel: str, name: str, content: bytes) -> SharedObject:
    try:
        elf = ELFFile(io.BytesIO(content))
        needed, sonames = _linked(elf)
        return SharedObject(
            wheel=wheel,
            member=name,
            machine=elf["e_machine"],
            bits=elf.elfclass,
            little_endian=elf.little_endian,
            needed=tuple(needed),
            versions=tuple(sorted(set(_versions(elf)))),
            alignment_bytes=min((part["p_align"] for part in elf.iter_segments("PT_LOAD")), default=0),
            executable_stack=_executable_stack(elf),
            readable=bool(_dynamic(elf)) or not any(elf.iter_segments("PT_DYNAMIC")),
            names=frozenset({PurePosixPath(name).name, *sonames}),
        )
    except ELFError as err:
        raise UnavailableError(f"{wheel}: {name}: damaged ({err})") from err


def _dynamic(elf: ELFFile) -> list[DynamicSection]:
    return [section for section in elf.iter_sections() if isinstance(section, DynamicSection)]


def _linked(elf: ELFFile) -> tuple[list[str], list[str]]:
    """What it is linked to, and what it calls itself."""
    tags: list[Any] = [tag for section in _dynamic(elf) for tag in section.iter_tags()]
    needed = [tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"]
    return needed, [tag.soname for tag in tags if tag.entry.d_tag == "DT_SONAME"]


def _versions(elf: ELFFile) -> Iterator[tuple[str, str]]:
    for section in elf.iter_sections():
        if isinstance(section, GNUVerNeedSection):
            for library, versions in section.iter_versions():
                yield from (
                    (str(library.name), version.name) for version in versions if not version["vna_flags"] & _WEAK
                )


def _executable_stack(elf: ELFFile) -> bool:
    stacks = [part["p_flags"] for part in elf.iter_segments("PT_GNU_STACK")]
    loaded = any(elf.iter_segments("PT_LOAD"))
    return loaded and (not stacks or any(flags & 1 for flags in stacks))  # said nowhere, it is executable


def _wrong(item: SharedObject, bundled: frozenset[str], machine: str, glibc: str) -> Iterator[str]:
    if (item.machine, item.bits, item.little_endian) != (_MACHINES[machine], 64, True):
        order = "little" if item.little_endian else "big"
        found = f"{item.machine}, {item.bits} bits, {order}-endian"
        yield f"is of {found}; allowed: {_MACHINES[machine]}, 64 bits, little-endian"
        return  # the rest would be about another machine's libraries
    if not item.readable:
        yield "has no section headers, so what it needs cannot be read"
    if 0 < item.alignment_bytes < (least := LEAST_ALIGNMENT_BYTES[machine]):
        yield f"is aligned to {item.alignment_bytes} bytes; kernels with pages of {least} bytes do not load it"
    if item.executable_stack:
        yield "wants an executable stack, which glibc 2.41 and the hardened service refuse"
    yield from _wrong_versions(item, glibc)
    if not any(item.member.startswith(folder) for folder in OPTIONAL.get(item.member.partition("/")[0], ())):
        for library in item.needed:
            if library not in SYSTEM_LIBRARIES and library not in bundled:
                yield f"is linked to {library}, which is neither in the wheel nor on every system"


def _wrong_versions(item: SharedObject, glibc: str) -> Iterator[str]:
    """The highest version that is too new, of each kind; and what has no number."""
    allowed = _allowed(glibc)
    highest: dict[str, tuple[list[int], str]] = {}
    for library, version in item.versions:
        if library not in SYSTEM_LIBRARIES:
            continue  # its own library, in the wheel, is of its own version
        if found := _VERSION.fullmatch(version):
            highest[found[1]] = max(highest.get(found[1], ([], "")), (numbers(found[2]), library))
        elif version not in _UNNUMBERED or numbers(glibc) < numbers(_UNNUMBERED[version]):
            yield f"needs {version} of {library}, which a system with glibc {glibc} may not have"
    for kind, (version_numbers, library) in sorted(highest.items()):
        if version_numbers > numbers(allowed[kind]):
            text = ".".join(str(number) for number in version_numbers)
            yield f"needs {kind}_{text} of {library}; allowed: {kind}_{allowed[kind]}, on a system with glibc {glibc}"


def _allowed(glibc: str) -> dict[str, str]:
    """The highest version of each kind on the systems of that glibc; of an older one than all known, the oldest's."""
    gcc = max((gcc for since, gcc in _GCC_OF_GLIBC.items() if numbers(since) <= numbers(glibc)), default=8)
    glibcxx, cxxabi = _LIBSTDCXX_OF_GCC[gcc]
    return {"GLIBC": glibc, "GLIBCXX": glibcxx, "CXXABI": cxxabi, "GCC": f"{gcc}.0.0", "ZLIB": _ZLIB}

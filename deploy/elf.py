"""What a program or a shared object needs: its machine, its C library, other libraries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

from edge_fer.errors import UnavailableError

_WEAK = 2  # VER_FLG_WEAK: a program starts without it
_MACHINES = {"EM_AARCH64": "aarch64", "EM_X86_64": "x86_64", "EM_ARM": "armv7l", "EM_386": "i686"}


@dataclass(frozen=True, slots=True)
class Binary:
    """What is read of an ELF file."""

    machine: str
    """As `uname -m` calls it; of others, the name of the format."""

    glibc: str
    """The newest version of the C library that it cannot be loaded without; 0 where there is none."""

    libraries: tuple[str, ...]
    """Other shared objects that it loads, by name."""


def read_binary(path: Path) -> Binary | None:
    """What the file needs; None where it is no ELF file. UnavailableError where it is a damaged one."""
    with path.open("rb") as file:
        if file.read(4) != b"\x7fELF":
            return None
        file.seek(0)
        try:
            return _read(ELFFile(file))
        except (ELFError, ValueError, AssertionError) as err:  # pyelftools asserts much of what it reads
            raise UnavailableError(f"{path}: a damaged ELF file ({err or 'its tables make no sense'})") from err


def version_key(version: str) -> tuple[int, ...]:
    """2.9 is older than 2.17."""
    return tuple(int(part) for part in version.split("."))


def _read(elf: Any) -> Binary:  # noqa: ANN401 - pyelftools has no types
    if not elf.num_sections():
        raise ELFError("it has no section headers, so what it needs cannot be read")
    machine = _MACHINES.get(elf["e_machine"], str(elf["e_machine"]))
    if machine == "aarch64" and elf.elfclass != 64:  # noqa: PLR2004 - bits
        machine = "aarch64_ilp32"
    versions, libraries = {"0"}, []
    for section in elf.iter_sections():
        if isinstance(section, DynamicSection):
            # python-build-standalone writes $ORIGIN/../lib/NAME.
            libraries += [tag.needed.rpartition("/")[2] for tag in section.iter_tags("DT_NEEDED")]
        elif isinstance(section, GNUVerNeedSection):
            for _, wanted in section.iter_versions():
                names = [version.name for version in wanted if not version["vna_flags"] & _WEAK]
                versions |= {name.removeprefix("GLIBC_") for name in names if name.startswith("GLIBC_2")}
    return Binary(machine, max(versions, key=version_key), tuple(libraries))

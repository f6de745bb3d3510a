"""ELF files written by hand, as small as what the audit reads and as wrong as a test wants them, and wheels of them."""

from __future__ import annotations

import hashlib
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.wheelset import Wheel

AARCH64, X86_64, ARM = 183, 62, 40

_PT_LOAD, _PT_DYNAMIC, _PT_GNU_STACK = 1, 2, 0x6474E551
_SHT_STRTAB, _SHT_DYNAMIC, _SHT_VERNEED = 3, 6, 0x6FFFFFFE
_DT_NEEDED, _DT_SONAME = 1, 14


def tiny_elf(
    *,
    machine: int = AARCH64,
    needed: Sequence[str] = (),
    soname: str = "",
    versions: Mapping[str, Sequence[str]] | None = None,
    weak: Sequence[str] = (),
    alignment_bytes: int = 0x10000,
    stack_flags: int | None = 6,
    with_sections: bool = True,
) -> bytes:
    """A shared object, 64 bits and little-endian; `versions` are by library, `stack_flags` None says nothing of it."""
    strings = _Strings()
    dynamic = b"".join(struct.pack("<QQ", _DT_NEEDED, strings.add(name)) for name in needed)
    dynamic += struct.pack("<QQ", _DT_SONAME, strings.add(soname)) if soname else b""
    dynamic += struct.pack("<QQ", 0, 0)
    verneed = _verneed(strings, versions or {}, weak)
    names = _Strings()
    contents = [
        (names.add(".dynstr"), _SHT_STRTAB, strings.content, 0, 0),
        (names.add(".dynamic"), _SHT_DYNAMIC, dynamic, 16, 0),
        (names.add(".gnu.version_r"), _SHT_VERNEED, verneed, 0, len(versions or {})),
        (names.add(".shstrtab"), _SHT_STRTAB, names.content, 0, 0),
    ]
    segments = [(_PT_LOAD, 5, alignment_bytes), (_PT_DYNAMIC, 6, 8)]
    segments += [] if stack_flags is None else [(_PT_GNU_STACK, stack_flags, 16)]
    return _put_together(machine, segments, contents if with_sections else [])


def foreign_elf(machine: int, *, bits: int = 32, little_endian: bool = True) -> bytes:
    """The header of a file for another kind of processor, and nothing behind it."""
    identity = b"\x7fELF" + bytes([bits // 32, 1 if little_endian else 2, 1]) + bytes(9)
    address = "I" if bits == 32 else "Q"
    order = "<" if little_endian else ">"
    sizes = (52, 32, 40) if bits == 32 else (64, 56, 64)
    return identity + struct.pack(
        f"{order}HHI{address * 3}IHHHHHH", 3, machine, 1, 0, 0, 0, 0, sizes[0], sizes[1], 0, sizes[2], 0, 0
    )


def write_wheel(
    folder: Path,
    filename: str,
    *,
    requires: Sequence[str] = (),
    python: str = "",
    members: Mapping[str, bytes] | None = None,
) -> Wheel:
    """A wheel that pip takes, with these files in it, as a lock has it."""
    name, version = filename.split("-")[:2]
    headers = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    headers += [f"Requires-Dist: {text}" for text in requires]
    headers += [f"Requires-Python: {python}"] if python else []
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / filename, "w") as archive:
        for member, content in (members or {}).items():
            archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", "\n".join(headers) + "\n\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        archive.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256((folder / filename).read_bytes()).hexdigest()
    return Wheel(name=name.replace("_", "-"), version=version, filename=filename, sha256=digest)


class _Strings:
    """A table of strings, each at an offset."""

    def __init__(self) -> None:
        self.content = b"\0"

    def add(self, text: str) -> int:
        offset = len(self.content)
        self.content += text.encode() + b"\0"
        return offset


def _verneed(strings: _Strings, versions: Mapping[str, Sequence[str]], weak: Sequence[str]) -> bytes:
    content = b""
    for number, (library, names) in enumerate(versions.items(), start=1):
        size = 16 + 16 * len(names)
        following = size if number < len(versions) else 0
        content += struct.pack("<HHIII", 1, len(names), strings.add(library), 16, following)
        for place, name in enumerate(names, start=1):
            flags = 2 if name in weak else 0
            content += struct.pack("<IHHII", 0, flags, 2, strings.add(name), 16 if place < len(names) else 0)
    return content


def _put_together(
    machine: int, segments: Sequence[tuple[int, int, int]], contents: Sequence[tuple[int, int, bytes, int, int]]
) -> bytes:
    offset = 64 + 56 * len(segments)
    headers, body = bytes(64), b""
    for name, kind, content, entry_size, count in contents:
        place = offset + len(body)
        headers += struct.pack("<IIQQQQIIQQ", name, kind, 0, place, place, len(content), 1, count, 8, entry_size)
        body += content
    programs = b"".join(
        struct.pack("<IIQQQQQQ", kind, flags, 0, 0, 0, 64, 64, align) for kind, flags, align in segments
    )
    sections = len(contents) + 1 if contents else 0
    header = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header += struct.pack(
        "<HHIQQQIHHH", 3, machine, 1, 0, 64, offset + len(body) if sections else 0, 0, 64, 56, len(segments)
    )
    header += struct.pack("<HHH", 64, sections, max(sections - 1, 0))
    return header + programs + body + (headers if sections else b"")

"""Files and links, hashed and packed into a tar archive whose bytes depend on nothing else."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from deploy.manifest import PackedFile, PackedLink, sha256_of
from edge_fer.errors import UnavailableError


@dataclass(frozen=True, slots=True)
class Member:
    """A file to be packed: from where it lies, or as it is."""

    path: str
    content: Path | bytes
    mode: int = 0o644  # or 0o755

    def packed(self) -> PackedFile:
        """How the manifest lists it."""
        if isinstance(self.content, bytes):
            return PackedFile(self.path, hashlib.sha256(self.content).hexdigest(), len(self.content), self.mode)
        return PackedFile(self.path, sha256_of(self.content), self.content.stat().st_size, self.mode)

    def unpacked_bytes(self) -> int:
        """What it takes on a board when it is installed: wheels are unpacked beside themselves, modules compiled."""
        if self.path.endswith(".whl"):
            with zipfile.ZipFile(
                io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content
            ) as zipped:
                parts = [(info.filename, info.file_size) for info in zipped.infolist()]
        else:
            parts = [(self.path, len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size)]
        return sum(size * (2 if name.endswith(".py") else 1) for name, size in parts)


def write_archive(members: Iterable[Member | PackedLink], path: Path, time_s: int) -> None:
    """A tar archive in GNU's format, not compressed, so that one that differs a little is sent in little time.

    UnavailableError where a file becomes shorter meanwhile.
    """
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for member in members:
            info = tarfile.TarInfo(member.path)
            info.mtime = time_s
            info.uname = info.gname = "root"
            if isinstance(member, PackedLink):
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, member.link, 0o777
                archive.addfile(info)
                continue
            info.mode = member.mode
            if isinstance(member.content, bytes):
                info.size = len(member.content)
                archive.addfile(info, io.BytesIO(member.content))
            else:
                with member.content.open("rb") as file:
                    _add(archive, info, file, member.content)


def _add(archive: tarfile.TarFile, info: tarfile.TarInfo, file: IO[bytes], path: Path) -> None:
    info.size = path.stat().st_size
    try:
        archive.addfile(info, file)
    except OSError as err:
        if err.errno is None:  # tarfile's own: the file ended too early
            raise UnavailableError(f"{path}: became shorter while it was packed; build the bundle again") from err
        raise

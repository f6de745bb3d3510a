"""Archives that somebody else made, unpacked without letting them write anywhere else."""

from __future__ import annotations

import contextlib
import lzma
import os
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from edge_fer.errors import UnavailableError

ENDINGS = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst", ".tar")


def unpack_archive(archive: Path, target: Path) -> None:
    """Files, folders and links of a tar archive, with the permission to be run where they have it.

    UnavailableError where it is damaged, is no archive, or holds something that leads out of it.
    """
    target.mkdir(parents=True)
    try:
        with _opened(archive) as members:
            for member in members:
                _unpack(members, member, target, archive)
    except (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error) as err:
        raise UnavailableError(f"{archive}: damaged, or not a tar archive ({err})") from err
    except OSError as err:
        if isinstance(err, UnavailableError):
            raise
        raise UnavailableError(f"{archive}: cannot be unpacked ({err.strerror or err})") from err


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    if archive.name.endswith(".zst"):
        with _zstd(archive) as members:
            yield members
    else:
        with tarfile.open(archive, "r:*") as members:
            yield members


@contextlib.contextmanager
def _zstd(archive: Path) -> Iterator[tarfile.TarFile]:
    """By the program zstd: no Python before 3.14 can read its format."""
    program = shutil.which("zstd")
    if not program:
        raise UnavailableError(f"{archive}: needs the program zstd to be unpacked: apt-get install zstd")
    command = [program, "--decompress", "--stdout", "--quiet", str(archive)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        try:
            with tarfile.open(fileobj=child.stdout, mode="r|") as members:
                yield members
        finally:
            child.kill()  # where the archive was not read to its end


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path, named: Path) -> None:
    path = target / member.name
    # A link that was unpacked before may lead elsewhere.
    folder = os.path.realpath(path if member.isdir() else path.parent)
    if not _is_below(folder, target) or ".." in path.parts:
        raise UnavailableError(f"{named}: {member.name} would be written outside of the folder for it; not unpacked")
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or path.exists():
        path.unlink()
    if member.issym():
        path.symlink_to(member.linkname)  # where it leads is judged by whoever uses it
    elif member.islnk():
        original = target / member.linkname
        if not _is_below(os.path.realpath(original), target):
            raise UnavailableError(f"{named}: {member.name} is a link to {member.linkname}, outside of it")
        shutil.copyfile(original, path)
        path.chmod(original.stat().st_mode & 0o777)
    elif member.isreg():
        source = archive.extractfile(member)
        assert source is not None  # noqa: S101 - of a regular file there is one
        with source, path.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
        path.chmod(0o755 if member.mode & 0o111 else 0o644)
    else:
        raise UnavailableError(f"{named}: {member.name} is neither a file, a folder nor a link")


def _is_below(path: str, target: Path) -> bool:
    root = os.path.realpath(target)
    return path == root or path.startswith(root + os.sep)

"""A standalone CPython for boards whose own Python is too old: checked, trimmed, ready to be packed."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.board import Board, System
from deploy.elf import Binary, read_binary, version_key
from deploy.unpack import ENDINGS, unpack_archive
from edge_fer.errors import UnavailableError, UsageError

# What no daemon without a screen needs, and what nobody installs with: more than half of the tree.
_TRIMMED = re.compile(
    r"""
    (include|share)/.*
    | lib/(pkgconfig|itcl|tcl|tk|thread)[^/]*/.*
    | lib/lib(tcl|tk|itcl)[^/]*
    | .*\.(a|pyc|pyo)
    | lib/python3\.\d+/(idlelib|tkinter|turtledemo|ensurepip|lib2to3|pydoc_data|site-packages|config-[^/]*)/.*
    | lib/python3\.\d+/(.*/)?(test|tests|__pycache__)/.*
    | lib/python3\.\d+/lib-dynload/(_tkinter|_test|_xxtestfuzz|xxlimited|_ctypes_test)[^/]*
    | lib/python3\.\d+/(turtle\.py|EXTERNALLY-MANAGED)
    | bin/(?!python3(\.\d+)?$).*
    """,
    re.VERBOSE,
)
_PATCHLEVEL = re.compile(r'^#define\s+PY_VERSION\s+"(\d+\.\d+\.\d+)', re.MULTILINE)
# Of the C library, which every board has.
_OF_GLIBC = re.compile(r"(lib(c|m|pthread|dl|rt|util|resolv|crypt|nsl)|ld-linux-[a-z0-9-]+)\.so\.\d+")
_MOST_TOLD = 10


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A regular file of the tree."""

    path: str  # below the tree, as it will be packed
    source: Path
    mode: int  # 0o644 or 0o755


@dataclass(frozen=True, slots=True)
class TreeLink:
    """A symbolic link; relative, and never out of the tree."""

    path: str
    target: str


@dataclass(frozen=True, slots=True)
class PythonTree:
    """What goes into a bundle of a standalone CPython; bin/python3 and bin/python3.X are among it."""

    version: str
    """Such as 3.10.19; 3.10 where the tree does not say more."""

    files: tuple[TreeFile, ...]
    links: tuple[TreeLink, ...]


def how_to_get(board: Board, system: System) -> str:
    """What to do where PYTHON_TREE is missing."""
    name = f"cpython-{system.python}-linux-{board.machine}-gnu"
    return (
        f"{board.key} with {system.name} has no Python {system.python} of its own: the bundle needs a standalone "
        f"CPython. On a machine with internet and uv:\n"
        f"    uv python install {name} --install-dir python-tree --no-bin\n"
        "Copy the folder python-tree here, and say where it is: PYTHON_TREE=python-tree"
    )


def read_python_tree(path: Path, board: Board, system: System, workspace: Path) -> PythonTree:
    """The files to pack of a folder or an archive, which is unpacked into the workspace.

    UsageError says what makes the tree unfit for this board, found and wanted; UnavailableError what cannot be read.
    """
    try:
        root = _installation(path, workspace)
        interpreter = _interpreter(root, path, system.python)
        files = [file for file in _files(root, path) if not _TRIMMED.fullmatch(file.path) or file.path == interpreter]
        files = _check_binaries(files, interpreter, path, board.machine, system.glibc)
        links = _links(root, path, files, interpreter, system.python)
        return PythonTree(_version(root, system.python), tuple(files), tuple(links))
    except OSError as err:
        if isinstance(err, UnavailableError):
            raise
        raise UnavailableError(f"{err.filename or path}: cannot be read ({err.strerror or err})") from err


def _installation(path: Path, workspace: Path) -> Path:
    """The folder with bin/ and lib/, wherever in the given folder or archive."""
    folder = path
    if path.is_file():
        if not path.name.endswith(ENDINGS):
            raise UsageError(f"PYTHON_TREE={path}: give a folder, or an archive ({', '.join(ENDINGS)})")
        folder = workspace / "unpacked-python"
        unpack_archive(path, folder)
    elif not path.is_dir():
        raise UsageError(f"PYTHON_TREE={path}: no such folder or archive")
    places = [folder, folder / "python", folder / "install", folder / "python" / "install"]
    found = [place for place in places if _has_interpreter(place)][:1]
    # uv keeps a folder for each Python, and links of shorter names beside them.
    found = found or [place for place in sorted(folder.iterdir()) if not place.is_symlink() and _has_interpreter(place)]
    if not found:
        raise UsageError(f"PYTHON_TREE={path}: holds no bin/python3, so it is no Python for Linux")
    if len(found) > 1:
        names = ", ".join(place.name for place in found)
        raise UsageError(f"PYTHON_TREE={path}: holds several Pythons ({names}); give one of these folders")
    return found[0].resolve()


def _has_interpreter(folder: Path) -> bool:
    return any((folder / "bin").glob("python3*"))


def _interpreter(root: Path, path: Path, python: str) -> str:
    """Path below the root of the interpreter's own file, which is of the right version."""
    versions = sorted(found.name.removeprefix("python") for found in root.glob("lib/python3.*") if found.is_dir())
    if versions != [python]:
        raise UsageError(
            f"PYTHON_TREE={path}: found Python {' and '.join(versions) or 'without its library'}, "
            f"but the board needs {python} (the folder lib/python{python})"
        )
    for name in (f"bin/python{python}", "bin/python3"):
        file = Path(os.path.realpath(root / name))
        if file.is_file() and file.is_relative_to(root):
            return file.relative_to(root).as_posix()
    raise UsageError(f"PYTHON_TREE={path}: neither bin/python{python} nor bin/python3 is a file of this folder")


def _version(root: Path, python: str) -> str:
    header = root / "include" / f"python{python}" / "patchlevel.h"
    found = _PATCHLEVEL.search(header.read_text(encoding="utf-8")) if header.is_file() else None
    return found[1] if found else python


def _files(root: Path, path: Path) -> Iterator[TreeFile]:
    for name in _names(root):
        source = root / name
        if not name.isprintable():
            raise UsageError(f"PYTHON_TREE={path}: {name!r} is no name that can be packed")
        if source.is_symlink():
            continue
        mode = source.stat().st_mode
        if not stat.S_ISREG(mode):
            raise UsageError(f"PYTHON_TREE={path}: {name} is neither a file, a folder nor a link")
        yield TreeFile(name, source, 0o755 if mode & 0o100 else 0o644)


def _names(root: Path) -> list[str]:
    """Of all files, and of all links, those to folders too."""
    found = []
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        entries = [here / name for name in files] + [here / name for name in folders if (here / name).is_symlink()]
        found += [entry.relative_to(root).as_posix() for entry in entries]
    return sorted(found)


def _check_binaries(
    files: Iterable[TreeFile], interpreter: str, path: Path, machine: str, glibc: str
) -> list[TreeFile]:
    """The files without a libpython that nothing uses; UsageError where a binary does not run on the board."""
    binaries = {file.path: binary for file in files if (binary := read_binary(file.source))}
    if interpreter not in binaries:
        raise UsageError(f"PYTHON_TREE={path}: {interpreter} is no program for Linux")
    found = binaries[interpreter].machine
    if found != machine:
        raise UsageError(f"PYTHON_TREE={path}: {interpreter} is for {found}, but the board is {machine}")
    if not binaries[interpreter].libraries:
        raise UsageError(
            f"PYTHON_TREE={path}: {interpreter} is static and loads no wheels; take one for the C library gnu"
        )
    if not any(name.startswith("libpython") for name in binaries[interpreter].libraries):
        # It is linked into the interpreter; the library is for programs that have a Python inside.
        binaries = {name: binary for name, binary in binaries.items() if not name.startswith("lib/libpython")}
        files = [file for file in files if not file.path.startswith("lib/libpython")]
    own = {name.rpartition("/")[2] for name in binaries}
    problems = [
        f"PYTHON_TREE={path}: {name} {problem}"
        for name, binary in binaries.items()
        for problem in _problems(binary, own, machine, glibc)
    ]
    if more := problems[_MOST_TOLD:]:
        problems = [*problems[:_MOST_TOLD], f"and {len(more)} more"]
    if problems:
        raise UsageError("\n".join(problems))
    return list(files)


def _problems(binary: Binary, own: set[str], machine: str, glibc: str) -> Iterator[str]:
    if binary.machine != machine:
        yield f"is for {binary.machine}, but the board is {machine}"
    if version_key(binary.glibc) > version_key(glibc):
        yield f"needs GLIBC_{binary.glibc}, but the board has {glibc}"
    for name in binary.libraries:
        if name not in own and not _OF_GLIBC.fullmatch(name):
            yield f"needs {name}, which is not in the tree: that Python is not standalone"


def _links(root: Path, path: Path, files: Iterable[TreeFile], interpreter: str, python: str) -> Iterator[TreeLink]:
    """Links that still lead somewhere, each straight to the file or folder at its end."""
    kept = {file.path for file in files}
    there = kept | {folder.as_posix() for name in kept for folder in Path(name).parents}
    wanted = {name: Path(os.path.realpath(root / name)) for name in _names(root) if (root / name).is_symlink()}
    for name, end in wanted.items():
        if not end.is_relative_to(root):
            raise UsageError(f"PYTHON_TREE={path}: {name} is a link to {(root / name).readlink()}, out of this folder")
    wanted |= {name: root / interpreter for name in ("bin/python3", f"bin/python{python}") if name not in kept}
    for name, end in sorted(wanted.items()):
        if not _TRIMMED.fullmatch(name) and end.relative_to(root).as_posix() in there:
            yield TreeLink(name, os.path.relpath(end, (root / name).parent))

"""What the tests of bundles build from: a copy of this checkout, wheels of a few bytes, a tree of Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from tiny_elf import AARCH64, X86_64, tiny_elf

from converter.assets import WHEELS as ASSET_WHEELS
from deploy.board import Board, System, load_board
from deploy.checkout import PROJECT, source_files, without_another_git

PLACES = ("edge_fer", "pyproject.toml", "README.md", "LICENSE", ".gitignore", "systemd", "docs", "deploy/config")
COMMIT_S = 1_780_000_000  # 2026-05-28
os.environ.pop("SOURCE_DATE_EPOCH", None)  # or all would carry that time

THIS_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def copy_checkout(
    target: Path, source: Path = PROJECT, *, mtime_s: int = COMMIT_S, umask: int = 0o022, git: bool = True
) -> Path:
    """What a bundle is built from, committed at COMMIT_S."""
    before = os.umask(umask)
    try:
        names = source_files(source, *PLACES)
        assets = [f"edge_fer/{member.target}" for wheel in ASSET_WHEELS for member in wheel.members]
        for name in [*names, *assets]:
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, path)
            os.utime(path, (mtime_s, mtime_s))
        if git:
            commit_all(target)
    finally:
        os.umask(before)
    return target


def commit_all(root: Path) -> None:
    date = f"{COMMIT_S} +0000"
    who = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    for part in ("AUTHOR", "COMMITTER"):
        who |= {f"GIT_{part}_NAME": "Test", f"GIT_{part}_EMAIL": "test@localhost"}
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "all"]):
        subprocess.run(["git", "-C", str(root), *command], check=True, env={**without_another_git(os.environ), **who})


def tiny_wheel(folder: Path, name: str, version: str = "1.0", headers: str = "") -> Path:
    """A wheel of one module."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{headers}\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "answer = 42\n")
        archive.writestr(f"{name}-{version}.dist-info/METADATA", metadata)
    return path


def amd64() -> tuple[Board, System]:
    board = load_board("generic-amd64")
    return board, board.system("debian-12")


def nano() -> tuple[Board, System]:
    board = load_board("jetson-nano")
    return board, board.system()


def elf(path: Path, machine: str = "aarch64", glibc: str = "2.17", needed: Sequence[str] = ()) -> Path:
    """A binary that needs that C library, and other libraries."""
    code = {"aarch64": AARCH64, "x86_64": X86_64}[machine]
    content = tiny_elf(
        machine=code, needed=("libc.so.6", *needed), versions={"libc.so.6": ["GLIBC_2.4", f"GLIBC_{glibc}"]}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def python_tree(root: Path, *, python: str = "3.10", machine: str = "aarch64") -> Path:
    """A folder like those of python-build-standalone, with all that is trimmed; it cannot run."""
    library = root / "lib" / f"python{python}"
    elf(root / "bin" / f"python{python}", machine)
    (root / "bin" / "python3").symlink_to(f"python{python}")
    (root / "bin" / "python").symlink_to(f"python{python}")
    elf(library / "lib-dynload" / "array.so", machine)
    kept = ["os.py", "json/__init__.py", "unittest/case.py"]
    trimmed = ["test/test_os.py", "json/__pycache__/x.pyc", "unittest/test/test_case.py", "idlelib/a.py"]
    trimmed += ["tkinter/a.py", "site-packages/pip/a.py", "ensurepip/a.py", "lib2to3/a.py", "pydoc_data/a.py"]
    trimmed += ["turtledemo/a.py", "turtle.py", "config-3.10/libpython.a", "sqlite3/test/a.py"]
    for name in [*kept, *trimmed]:
        write(library / name, "pass\n")
    for name in ("share/man/python3.1", "bin/pip3", "lib/libtcl8.6.so", "lib/tk8.6/tk.tcl", "lib/pkgconfig/p.pc"):
        write(root / name, "")
    write(root / "include" / f"python{python}" / "patchlevel.h", f'#define PY_VERSION      "{python}.19"\n')
    return root


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path

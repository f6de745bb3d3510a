"""The layout of a release finds its packages: with each Python that is here, from the system or from the bundle."""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fakeboard import Board
from signedbundle import PYTHON, Member, bundle, manifest, members, pack, release_of

VERSIONS = ("3.10", "3.11", "3.12", "3.13")


def interpreter(version: str) -> Path:
    """One of this version; skips, loudly, where there is none."""
    folders = [*glob.glob(str(Path.home() / f".pyenv/versions/{version}*/bin")), "/usr/bin", "/usr/local/bin"]  # noqa: PTH207
    for folder in folders:
        path = Path(folder, f"python{version}")
        if path.exists():
            return path.resolve()
    pytest.skip(f"no Python {version} on this machine: its layout is NOT tested")


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    return Board(tmp_path, monkeypatch)


def children(board: Board, release: str, **environ: str) -> dict[str, str]:
    """What a daemon and its children see."""
    for launcher in (board.layout.launcher(release), board.layout.command_link):
        done = subprocess.run(
            [launcher, "children"], capture_output=True, text=True, check=False, env={**os.environ, **environ}, cwd="/"
        )
        assert done.returncode == 0, done.stderr
    helper = [board.layout.current / "bin" / "python", "-I", "-c", "import edge_fer, helper; print(edge_fer.__file__)"]
    found = subprocess.run(helper, capture_output=True, text=True, check=True, cwd="/").stdout.strip()
    assert found.startswith(str(board.layout.current))
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_python_of_the_system(board: Board, tmp_path: Path, version: str) -> None:
    python = interpreter(version)
    (board.programs / "python3").unlink()
    (board.programs / f"python{version}").symlink_to(python)
    path = bundle(tmp_path, board.signer, python=version)
    assert board.install(path) == 0, board.said
    home = str(board.layout.release(release_of(path)))
    told = children(board, release_of(path), PYTHONPATH="/nowhere", PYTHONHOME="/nowhere")
    assert told["python"] == f"{home}/bin/python"
    assert {told["helper"], told["child "], told["child -I"]} == {f"{home}/lib/python{version}/site-packages/helper.py"}
    assert told["environ"] == "ARMV8"
    assert children(board, release_of(path), OPENBLAS_CORETYPE="CORTEXA57")["environ"] == "CORTEXA57"


def test_it_is_compiled_for_where_it_is(board: Board, tmp_path: Path) -> None:
    path = bundle(tmp_path, board.signer)
    assert board.install(path) == 0, board.said
    site = board.layout.release(release_of(path)) / "lib" / f"python{PYTHON}" / "site-packages"
    compiled = list(site.glob("__pycache__/helper.*.pyc"))
    assert len(compiled) == 1
    assert compiled[0].read_bytes()[4:8] == b"\x01\0\0\0"  # by hash, which is not looked at: no time in it
    assert str(site / "helper.py").encode() in compiled[0].read_bytes()
    before = {file: file.stat().st_mtime_ns for file in site.rglob("*.pyc")}
    children(board, release_of(path))
    assert {file: file.stat().st_mtime_ns for file in site.rglob("*.pyc")} == before


def python_tree() -> list[Member]:
    """This Python, as a bundle brings one: the program and what of its library is needed to start."""
    base = Path(sys.base_prefix)
    library = base / "lib" / f"python{PYTHON}"
    program = base / "bin" / f"python{PYTHON}"
    if not program.exists() or library.is_symlink():
        pytest.skip(f"{base} is no whole Python: one from a bundle is NOT tested")
    wanted = [
        "encodings",
        "importlib",
        "collections",
        "json",
        "re",
        "concurrent",
        "multiprocessing",
        "logging",
        "ctypes",
    ]
    files = [*library.glob("*.py"), *(path for name in wanted for path in (library / name).rglob("*.py"))]
    files += list((library / "lib-dynload").glob("*.so"))
    shared = [path for path in (base / "lib").glob("libpython*.so*") if not path.is_symlink()]
    tree = [Member(f"python/bin/python{PYTHON}", program.read_bytes(), mode=0o755)]
    tree += [Member(f"python/lib/{path.name}", path.read_bytes(), mode=0o755) for path in shared]
    tree += [Member(f"python/lib/python{PYTHON}/{path.relative_to(library)}", path.read_bytes()) for path in files]
    return [*tree, Member("python/bin/python3", link=f"python{PYTHON}")]


def test_a_python_of_the_bundle(board: Board, tmp_path: Path) -> None:
    (board.programs / "python3").unlink()  # the board has none that would do
    parts = [*members(), *python_tree()]
    content = manifest(parts, python_source="standalone")
    path = pack(tmp_path / "bundle.tar", content, board.signer.signature(content), parts)
    assert board.install(path) == 0, board.said
    home = board.layout.release(release_of(path))
    assert str((home / "bin/python").readlink()) == f"../python/bin/python{PYTHON}"
    told = children(board, release_of(path))
    assert told["python"] == f"{home}/bin/python"
    assert told["child -I"] == f"{home}/lib/python{PYTHON}/site-packages/helper.py"
    found = subprocess.run(
        [home / "bin/python", "-I", "-c", "import json, sys; print(json.__file__, json.__cached__, sys.base_prefix)"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert found[0] == f"{home}/python/lib/python{PYTHON}/json/__init__.py"
    assert Path(found[1]).exists()  # compiled, too
    assert found[2] == f"{home}/python"


@pytest.mark.parametrize("damage", ["not a program", "another version"])
def test_a_python_that_does_not_run(board: Board, tmp_path: Path, damage: str) -> None:
    program = f"#!{shutil.which('sh')}\necho 2.7\n".encode() if damage == "another version" else b"\x7fELF of nothing"
    parts = [*members(), Member(f"python/bin/python{PYTHON}", program, mode=0o755)]
    content = manifest(parts, python_source="standalone")
    path = pack(tmp_path / "bundle.tar", content, board.signer.signature(content), parts)
    from deploy.release.errors import ReleaseError

    with pytest.raises(ReleaseError, match=f"the Python {PYTHON} of this bundle does not run on this board"):
        board.install(path)
    assert list(board.layout.releases.iterdir()) == []

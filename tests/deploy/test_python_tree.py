"""A standalone CPython that somebody gives: is it one, for this board, and what of it is packed."""

from __future__ import annotations

import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bundle_parts import THIS_PYTHON, amd64, elf, nano, python_tree, write
from tiny_elf import tiny_elf

from deploy.elf import read_binary
from deploy.python_tree import PythonTree, how_to_get, read_python_tree
from edge_fer.errors import UnavailableError, UsageError

KEPT = [
    "bin/python3.10",
    "lib/python3.10/json/__init__.py",
    "lib/python3.10/lib-dynload/array.so",
    "lib/python3.10/os.py",
    "lib/python3.10/unittest/case.py",
]


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Path], PythonTree]:
    """Reads a tree for a Jetson Nano: aarch64, Python 3.10, glibc 2.27."""

    def read_it(path: Path) -> PythonTree:
        return read_python_tree(path, *nano(), tmp_path / "workspace")

    return read_it


Reader = Callable[[Path], PythonTree]


def test_what_a_daemon_does_not_need_is_left_out(read: Reader, tmp_path: Path) -> None:
    tree = read(python_tree(tmp_path / "tree"))
    assert [file.path for file in tree.files] == KEPT
    assert [(link.path, link.target) for link in tree.links] == [("bin/python3", "python3.10")]
    assert tree.version == "3.10.19"
    assert {file.path: file.mode for file in tree.files if file.mode == 0o755} == {
        "bin/python3.10": 0o755,
        "lib/python3.10/lib-dynload/array.so": 0o755,
    }


@pytest.mark.parametrize("ending", [".tar.gz", ".tar.xz", ".tar.zst", ".tar"])
def test_an_archive_is_as_good_as_a_folder(read: Reader, tmp_path: Path, ending: str) -> None:
    python_tree(tmp_path / "tree" / "python")
    archive = pack(tmp_path / "tree", tmp_path / f"cpython-install_only{ending}")
    assert [file.path for file in read(archive).files] == KEPT


def test_zstd_is_named_where_it_is_missing(read: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write(tmp_path / "python.tar.zst", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match="needs the program zstd to be unpacked: apt-get install zstd"):
        read(archive)


@pytest.mark.parametrize("below", ["python", "python/install", "cpython-3.10.19-linux-aarch64-gnu"])
def test_the_tree_is_found_below(read: Reader, tmp_path: Path, below: str) -> None:
    python_tree(tmp_path / "tree" / below)
    (tmp_path / "tree" / "cpython-3.10-linux-aarch64-gnu").symlink_to(below)  # as uv does
    write(tmp_path / "tree" / ".lock", "")
    assert [file.path for file in read(tmp_path / "tree").files] == KEPT


def test_of_several_trees_one_must_be_named(read: Reader, tmp_path: Path) -> None:
    for name in ("cpython-3.10.19-linux-aarch64-gnu", "cpython-3.12.1-linux-x86_64-gnu"):
        python_tree(tmp_path / "tree" / name)
    with pytest.raises(UsageError, match=r"several Pythons \(cpython-3.10.19.*, cpython-3.12.1.*\); give one of these"):
        read(tmp_path / "tree")


def test_a_link_of_uv_is_followed(read: Reader, tmp_path: Path) -> None:
    python_tree(tmp_path / "cpython-3.10.19-linux-aarch64-gnu")
    (tmp_path / "short").symlink_to("cpython-3.10.19-linux-aarch64-gnu")
    assert [file.path for file in read(tmp_path / "short").files] == KEPT


def test_a_wrong_architecture_is_told_once(read: Reader, tmp_path: Path) -> None:
    tree = python_tree(tmp_path / "tree", machine="x86_64")
    with pytest.raises(UsageError) as caught:
        read(tree)
    assert str(caught.value) == f"PYTHON_TREE={tree}: bin/python3.10 is for x86_64, but the board is aarch64"


def test_one_library_of_another_architecture(read: Reader, tmp_path: Path) -> None:
    tree = python_tree(tmp_path / "tree")
    elf(tree / "lib/python3.10/lib-dynload/_bisect.so", "x86_64")
    with pytest.raises(UsageError, match=r"lib-dynload/_bisect.so is for x86_64, but the board is aarch64"):
        read(tree)


def test_a_wrong_version(read: Reader, tmp_path: Path) -> None:
    tree = python_tree(tmp_path / "tree", python="3.12")
    with pytest.raises(UsageError, match=r"found Python 3.12, but the board needs 3.10 \(the folder lib/python3.10\)"):
        read(tree)


def test_a_newer_c_library_is_refused(read: Reader, tmp_path: Path) -> None:
    tree = python_tree(tmp_path / "tree")
    elf(tree / "lib/python3.10/lib-dynload/newer.so", glibc="2.28")
    with pytest.raises(UsageError, match=r"lib-dynload/newer.so needs GLIBC_2\.28, but the board has 2\.27"):
        read(tree)


def test_a_python_of_a_distribution_is_not_standalone(read: Reader, tmp_path: Path) -> None:
    tree = python_tree(tmp_path / "tree")
    elf(tree / "lib/python3.10/lib-dynload/_ssl.so", needed=["libssl.so.3", "libm.so.6"])
    with pytest.raises(UsageError, match=r"_ssl.so needs libssl.so.3, which is not in the tree.* not standalone"):
        read(tree)
    elf(tree / "lib" / "libssl.so.3")
    assert "lib/libssl.so.3" in [file.path for file in read(tree).files]


def test_many_problems_are_told_in_few_lines(read: Reader, tmp_path: Path) -> None:
    tree = python_tree(tmp_path / "tree")
    for number in range(15):
        elf(tree / f"lib/python3.10/lib-dynload/m{number:02}.so", "x86_64")
    with pytest.raises(UsageError) as caught:
        read(tree)
    lines = str(caught.value).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "and 5 more"


def test_a_libpython_that_the_interpreter_does_not_load_is_left_out(read: Reader, tmp_path: Path) -> None:
    tree = python_tree(tmp_path / "tree")
    elf(tree / "lib/libpython3.10.so.1.0")
    (tree / "lib/libpython3.10.so").symlink_to("libpython3.10.so.1.0")
    packed = read(tree)
    assert [file.path for file in packed.files] == KEPT
    assert [link.path for link in packed.links] == ["bin/python3"]


@pytest.mark.parametrize("named", ["libpython3.10.so.1.0", "$ORIGIN/../lib/libpython3.10.so.1.0"])
def test_a_libpython_that_the_interpreter_loads_is_packed(read: Reader, tmp_path: Path, named: str) -> None:
    tree = python_tree(tmp_path / "tree")
    elf(tree / "bin/python3.10", needed=[named])
    elf(tree / "lib/libpython3.10.so.1.0")
    assert "lib/libpython3.10.so.1.0" in [file.path for file in read(tree).files]


def test_links_lead_straight_to_their_end_and_stay_inside(read: Reader, tmp_path: Path) -> None:
    tree = python_tree(tmp_path / "tree")
    (tree / "bin/python3").unlink()
    (tree / "bin/python3").symlink_to(tree / "bin/python")  # absolute, and by way of one that is left out
    (tree / "lib64").symlink_to("lib")
    (tree / "lib/gone.so").symlink_to("nowhere.so")
    (tree / "lib/man").symlink_to("../share/man")  # what it leads to is left out
    links = {link.path: link.target for link in read(tree).links}
    assert links == {"bin/python3": "python3.10", "lib64": "lib"}


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../etc/passwd", "../../outside", "..", "../python3.10/../.."])
def test_links_out_of_the_tree_are_refused(read: Reader, tmp_path: Path, target: str) -> None:
    tree = python_tree(tmp_path / "tree")
    write(tmp_path / "outside", "")
    (tree / "lib/evil").symlink_to(target)
    expected = f"lib/evil is a link to {target}, out of this folder"
    if target == "..":
        assert "lib/evil" in [link.path for link in read(tree).links], "to the tree itself is inside"
    else:
        with pytest.raises(UsageError, match=expected):
            read(tree)


def test_a_pipe_is_no_part_of_a_python(read: Reader, tmp_path: Path) -> None:
    tree = python_tree(tmp_path / "tree")
    os.mkfifo(tree / "lib/pipe")
    with pytest.raises(UsageError, match="lib/pipe is neither a file, a folder nor a link"):
        read(tree)


@pytest.mark.parametrize("name", ["line\nbreak.py", "\udcff.py"])
def test_names_that_cannot_be_packed(read: Reader, tmp_path: Path, name: str) -> None:
    tree = python_tree(tmp_path / "tree")
    (tree / "lib" / name).symlink_to("python3.10")
    with pytest.raises(UsageError, match="is no name that can be packed"):
        read(tree)


def test_an_interpreter_that_is_a_script(read: Reader, tmp_path: Path) -> None:
    tree = python_tree(tmp_path / "tree")
    (tree / "bin/python3.10").write_text("#!/bin/sh\n")
    with pytest.raises(UsageError, match=r"bin/python3.10 is no program for Linux"):
        read(tree)


def test_a_static_interpreter_loads_no_wheels(read: Reader, tmp_path: Path) -> None:
    tree = python_tree(tmp_path / "tree")
    (tree / "bin/python3.10").write_bytes(tiny_elf())
    with pytest.raises(UsageError, match=r"bin/python3.10 is static and loads no wheels"):
        read(tree)


def test_an_interpreter_elsewhere_on_this_machine(read: Reader, tmp_path: Path) -> None:
    tree = python_tree(tmp_path / "tree")  # a virtual environment looks like this
    for name in ("bin/python3.10", "bin/python3"):
        (tree / name).unlink()
        (tree / name).symlink_to("/usr/bin/env")
    with pytest.raises(UsageError, match=r"neither bin/python3.10 nor bin/python3 is a file of this folder"):
        read(tree)


def test_names_of_the_interpreter_are_both_there(read: Reader, tmp_path: Path) -> None:
    tree = python_tree(tmp_path / "tree")
    (tree / "bin/python3").unlink()
    (tree / "bin/python3.10").rename(tree / "bin/python3")
    packed = read(tree)
    assert "bin/python3" in [file.path for file in packed.files]
    assert [(link.path, link.target) for link in packed.links] == [("bin/python3.10", "python3")]


@pytest.mark.parametrize("kept", [20, 60, 100, 200])
def test_a_truncated_binary(read: Reader, tmp_path: Path, kept: int) -> None:
    tree = python_tree(tmp_path / "tree")
    path = tree / "lib/python3.10/lib-dynload/array.so"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UnavailableError, match=r"array.so: a damaged ELF file"):
        read(tree)


def test_a_binary_that_hides_what_it_needs(read: Reader, tmp_path: Path) -> None:
    tree = python_tree(tmp_path / "tree")
    (tree / "lib/python3.10/lib-dynload/array.so").write_bytes(tiny_elf(with_sections=False))
    with pytest.raises(UnavailableError, match=r"array.so: a damaged ELF file \(it has no section headers"):
        read(tree)


@pytest.mark.parametrize("given", ["missing", "empty", "text.txt", "text.tar.gz", "cut.tar.gz", "text.tar.zst"])
def test_what_is_no_tree(read: Reader, tmp_path: Path, given: str) -> None:
    path = tmp_path / given
    if given == "empty":
        path.mkdir()
    elif given == "cut.tar.gz":
        python_tree(tmp_path / "tree" / "python")
        whole = pack(tmp_path / "tree", tmp_path / "whole.tar.gz").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif given != "missing":
        path.write_text("no archive")
    told = {
        "missing": (UsageError, "no such folder or archive"),
        "empty": (UsageError, "holds no bin/python3, so it is no Python for Linux"),
        "text.txt": (UsageError, r"give a folder, or an archive \(.tar.gz"),
    }
    error, message = told.get(given, (UnavailableError, "damaged, or not a tar archive"))
    with pytest.raises(error, match=message):
        read(path)


@pytest.mark.parametrize(
    ("name", "linkname", "kind", "told"),
    [
        ("../evil", "", tarfile.REGTYPE, r"\.\./evil would be written outside"),
        ("/evil-of-a-test", "", tarfile.REGTYPE, "/evil-of-a-test would be written outside"),
        ("out/evil", "", tarfile.REGTYPE, "out/evil would be written outside"),
        ("evil", "../../../../etc/passwd", tarfile.LNKTYPE, "evil is a link to .*, outside of it"),
        ("evil", "", tarfile.FIFOTYPE, "evil is neither a file, a folder nor a link"),
        ("evil", "", tarfile.CHRTYPE, "evil is neither a file, a folder nor a link"),
    ],
)
def test_archives_that_reach_out(
    read: Reader, tmp_path: Path, name: str, linkname: str, kind: bytes, told: str
) -> None:
    path = tmp_path / "evil.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        out = tarfile.TarInfo("out")
        out.type, out.linkname = tarfile.SYMTYPE, str(tmp_path)
        archive.addfile(out)
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, linkname
        info.size = 3 if kind == tarfile.REGTYPE else 0
        archive.addfile(info, io.BytesIO(b"bad"))
    with pytest.raises(UnavailableError, match=told):
        read(path)
    assert not (tmp_path / "evil").exists()
    assert not Path("/evil-of-a-test").exists()


def test_hard_links_of_an_archive_become_files(read: Reader, tmp_path: Path) -> None:
    tree = python_tree(tmp_path / "tree" / "python")
    (tree / "bin/python3").unlink()
    os.link(tree / "bin/python3.10", tree / "bin/python3")
    packed = read(pack(tmp_path / "tree", tmp_path / "python.tar.gz"))
    sources = {file.path: file.source for file in packed.files}
    assert sources["bin/python3"].read_bytes() == sources["bin/python3.10"].read_bytes()
    assert packed.links == ()


def test_how_to_get_one_names_the_command() -> None:
    told = how_to_get(*nano())
    assert "uv python install cpython-3.10-linux-aarch64-gnu --install-dir python-tree --no-bin" in told
    assert "PYTHON_TREE=python-tree" in told


def test_this_very_python_runs_where_it_is_unpacked(tmp_path: Path) -> None:
    """A real tree, of this machine: what is left after trimming runs what a daemon needs of the standard library."""
    board, system = amd64()
    glibc = os.confstr("CS_GNU_LIBC_VERSION")
    assert glibc
    here = replace(system, python=THIS_PYTHON, glibc=glibc.split()[1])
    tree = this_python(tmp_path / "tree")
    packed = read_python_tree(tree, board, here, tmp_path)
    unpacked = tmp_path / "unpacked"
    for file in packed.files:
        (unpacked / file.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file.source, unpacked / file.path)
        (unpacked / file.path).chmod(file.mode)
    for link in packed.links:
        (unpacked / link.path).symlink_to(link.target)
    shutil.rmtree(tree)
    script = "import asyncio, json, logging, platform, unittest.mock, zoneinfo; print(platform.python_version())"
    libraries = {"LD_LIBRARY_PATH": str(unpacked / "lib")}  # a standalone one finds its own
    command = [str(unpacked / "bin/python3"), "-I", "-c", script]
    done = subprocess.run(command, env=libraries, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{packed.version}\n", "")
    assert packed.version == platform.python_version()


def this_python(target: Path) -> Path:
    """This Python's installation, without modules that need libraries of this machine's system."""
    library = f"lib/python{THIS_PYTHON}"
    for part in ("bin", "lib", f"include/python{THIS_PYTHON}"):
        (target / part).mkdir(parents=True)
    prefix = Path(sys.base_prefix)
    shutil.copy(prefix / f"bin/python{THIS_PYTHON}", target / "bin")
    for path in prefix.glob("lib/libpython*.so*"):
        shutil.copy(path, target / "lib", follow_symlinks=False)
    shutil.copytree(
        prefix / library, target / library, ignore=shutil.ignore_patterns("test", "site-packages", "config-*")
    )
    write(target / f"include/python{THIS_PYTHON}/patchlevel.h", f'#define PY_VERSION "{platform.python_version()}"\n')
    for path in (target / library / "lib-dynload").glob("*.so"):
        binary = read_binary(path)
        assert binary
        if not {re.split(r"[.-]", name)[0] for name in binary.libraries} <= {
            "libc",
            "libm",
            "libpthread",
            "libdl",
            "ld",
        }:
            path.unlink()
    return target


def pack(folder: Path, archive: Path) -> Path:
    command = ["tar", "--create", "--auto-compress", "--file", str(archive), "--directory", str(folder), "."]
    subprocess.run(command, check=True)
    return archive

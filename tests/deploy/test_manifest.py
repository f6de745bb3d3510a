"""What a bundle says of itself, and whether the board's side reads it so."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from bundle_parts import amd64, nano

from deploy.board import Board, System, all_boards
from deploy.manifest import (
    PackedFile,
    PackedLink,
    manifest_bytes,
    read_manifest,
    release_id,
    requirements,
    sha256_of,
)
from deploy.release.manifest import parse_manifest
from edge_fer.errors import UnavailableError

FILES = [
    PackedFile("wheels/x.whl", "ab" * 32, 1, 0o644),
    PackedFile("python/bin/python3.10", "cd" * 32, 2, 0o755),
    PackedLink("python/bin/python3", "python3.10"),
]
SYSTEM = System(
    key="jetpack-4",
    name="JetPack 4.6",
    glibc="2.27",
    systemd=237,
    python="3.10",
    python_source="standalone",
    os=("ubuntu 18.04",),
    wheels="cp310-aarch64-glibc2.27",
    drop_ins=("one", "two"),
)
BOARD = Board(
    key="a-board",
    name="A board",
    compatible=("p1",),
    models=("Board One",),
    machine="aarch64",
    qemu_cpu="cortex-a57",
    power_mode="MAXN",
    environment={"OPENBLAS_CORETYPE": "ARMV8"},
    camera="csi:0",
    power_sensor="ina3221",
    rails_need_rule=True,
    systems=(SYSTEM,),
)
SYSTEMS = [(board, system) for board in all_boards() for system in board.systems]


def manifest(board: Board, system: System) -> bytes:
    return manifest_bytes(
        board, system, version="0.1.0", commit="c0ffee", built_unix_s=1_780_000_000, unpacked_bytes=3, members=FILES
    )


def test_the_form_of_a_manifest() -> None:
    content = manifest(BOARD, SYSTEM)
    told = json.loads(content)
    assert content == (json.dumps(told, sort_keys=True, indent=1) + "\n").encode()
    assert told["files"] == [
        {"path": "wheels/x.whl", "sha256": "ab" * 32, "size": 1, "mode": "0644"},
        {"path": "python/bin/python3.10", "sha256": "cd" * 32, "size": 2, "mode": "0755"},
        {"path": "python/bin/python3", "link": "python3.10"},
    ]
    del told["files"]
    assert told == {
        "schema": 1,
        "name": "edge-fer",
        "version": "0.1.0",
        "commit": "c0ffee",
        "built_unix_s": 1_780_000_000,
        "unpacked_bytes": 3,
        "board": "a-board",
        "board_name": "A board",
        "compatible": ["p1"],
        "models": ["Board One"],
        "system": "jetpack-4",
        "system_name": "JetPack 4.6",
        "machine": "aarch64",
        "glibc": "2.27",
        "systemd": 237,
        "python": "3.10",
        "python_source": "standalone",
        "environment": {"OPENBLAS_CORETYPE": "ARMV8"},
        "drop_ins": ["one", "two"],
    }


@pytest.mark.parametrize(("board", "system"), SYSTEMS, ids=lambda part: part.key)
def test_the_board_reads_it(board: Board, system: System) -> None:
    content = manifest(board, system)
    read = parse_manifest(content)
    assert read.release == release_id("0.1.0", content)
    assert [entry.path for entry in read.entries] == [file.path for file in FILES]
    assert {key: read.fields[key] for key in requirements(board, system)} == requirements(board, system)


def test_the_name_of_a_release_tells_contents_apart() -> None:
    one, other = manifest(*nano()), manifest(*amd64())
    assert release_id("0.1.0", one) == f"0.1.0-{hashlib.sha256(one).hexdigest()[:12]}"
    assert release_id("0.1.0", one) != release_id("0.1.0", other)


def test_hashes_of_large_files_are_read_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"edge-fer" * 500_000)
    assert sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def archive(path: Path, name: str, content: bytes) -> Path:
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return path


def test_a_manifest_is_read_from_a_bundle(tmp_path: Path) -> None:
    path = archive(tmp_path / "b.tar", "manifest.json", manifest(*nano()))
    assert read_manifest(path)["board"] == "jetson-nano"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("other.json", b"{}", r"not a bundle \(it does not begin with manifest.json\)"),
        ("manifest.json", b"{", "its manifest.json is damaged"),
        ("manifest.json", b"\xff", "its manifest.json is damaged"),
        ("manifest.json", b"[]", "not a bundle of edge-fer of schema 1"),
        ("manifest.json", b'{"name": "edge-fer", "schema": 2}', "not a bundle of edge-fer of schema 1"),
    ],
)
def test_other_archives(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    with pytest.raises(UnavailableError, match=told):
        read_manifest(archive(tmp_path / "b.tar", name, content))


def test_what_is_no_archive(tmp_path: Path) -> None:
    whole = archive(tmp_path / "whole.tar", "manifest.json", manifest(*nano())).read_bytes()
    for number, content in enumerate((b"", b"no archive", whole[:700], b"\0" * 10240)):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(content)
        with pytest.raises(UnavailableError, match=rf"{number}\.tar: "):
            read_manifest(path)
    with pytest.raises(UnavailableError, match=r"cannot be read \(Is a directory\)"):
        read_manifest(tmp_path)
    with pytest.raises(UnavailableError, match=r"cannot be read \(No such file or directory\)"):
        read_manifest(tmp_path / "missing.tar")

"""What a board tells of itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from fakeboard import Board
from signedbundle import PYTHON, bundle, release_of

from deploy.release.facts import facts
from deploy.release.host import NOT_FOUND, TIMED_OUT, Host
from deploy.release.layout import Layout


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    return Board(tmp_path, monkeypatch)


def test_a_jetson_nano(board: Board) -> None:
    found = facts(board.layout, board.host)
    python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    expected = {
        "machine": "aarch64", "userland_bits": 64, "glibc": "2.36", "systemd": 252, "systemd_runs": True,
        "pythons": {PYTHON: python}, "os_id": "ubuntu", "os_version": "18.04", "os_name": "Ubuntu 18.04.6 LTS",
        "board_name": "NVIDIA Jetson Nano Developer Kit",
        "compatible": ["nvidia,p3449-0000-b00+p3448-0000-b00", "nvidia,jetson-nano"],
        "disk": str(board.root / "opt"), "memory_total_bytes": 4051052 * 1024, "memory_available_bytes": 2097152 * 1024,
        "clock_synced": True, "groups": ["video", "render"], "user": "root", "is_root": True, "sudo": "free",
        "rsync": True, "service_user": False, "release": "", "release_board": "",
    }  # fmt: skip
    assert {key: found[key] for key in expected} == expected
    assert found["disk_free_bytes"] > 0


def test_nothing_at_all(tmp_path: Path) -> None:
    found = facts(Layout(tmp_path / "nowhere"), Host(str(tmp_path)))
    assert found["pythons"] == {}
    assert (found["machine"], found["glibc"], found["systemd"], found["board_name"]) == ("", "", 0, "")
    assert (found["clock_synced"], found["sudo"], found["is_root"]) == (None, "none", False)


def test_after_a_deployment(board: Board, tmp_path: Path) -> None:
    path = bundle(tmp_path, board.signer)
    assert board.install(path) == 0
    found = facts(board.layout, board.host)
    assert (found["release"], found["release_version"]) == (release_of(path), "0.1.0")
    assert (found["release_board"], found["release_system"]) == ("jetson-nano", "jetpack-4")
    assert found["service_user"]
    assert found["disk"] == str(board.layout.home)


def test_another_user(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_FER_FAKE_UID", "1000")
    monkeypatch.setenv("EDGE_FER_FAKE_SUDO", "1")
    monkeypatch.setenv("EDGE_FER_FAKE_SYNCED", "no")
    found = facts(board.layout, board.host)
    assert (found["user"], found["is_root"], found["sudo"], found["clock_synced"]) == (
        "somebody",
        False,
        "password",
        False,
    )


def test_programs_for_32_bits(board: Board) -> None:
    shell = board.programs / "sh"
    head = bytearray(Path(os.path.realpath(shell)).read_bytes()[:64])
    head[4], head[18:20] = 1, (40).to_bytes(2, "little")
    shell.unlink()
    shell.write_bytes(head)
    shell.chmod(0o755)
    found = facts(board.layout, board.host)
    assert (found["userland"], found["userland_bits"]) == ("arm", 32)


def test_files_that_are_odd(board: Board) -> None:
    (board.root / "etc/os-release").write_text("ID=debian\nVERSION_ID=\"12\nbroken\n=\nPRETTY_NAME='A B'\n")
    (board.root / "proc/meminfo").write_text("nonsense\nMemTotal:\nMemAvailable: many kB\n")
    found = facts(board.layout, board.host)
    assert (found["os_id"], found["os_version"], found["os_name"]) == ("debian", '"12', "A B")
    assert found["memory_available_bytes"] == 0


def test_this_machine() -> None:
    found = facts(Layout(), Host())
    assert found["machine"] == os.uname().machine
    assert found["userland_bits"] == 64
    assert found["memory_total_bytes"] > found["memory_available_bytes"] > 0


def test_programs_that_do_not_end_or_are_not_there(tmp_path: Path) -> None:
    host = Host(f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "hangs").write_text("#!/bin/sh\nsleep 60 & wait\n")
    (tmp_path / "hangs").chmod(0o755)
    (tmp_path / "broken").write_bytes(b"\x7fELF nonsense")
    (tmp_path / "broken").chmod(0o755)
    assert host.run("hangs", timeout_s=0.2).code == TIMED_OUT
    assert host.run("nowhere").code == NOT_FOUND
    assert host.run("nowhere").last == "nowhere is not installed"
    assert host.run("broken").code == NOT_FOUND
    assert host.run("sh", "-c", "echo one; echo two >&2; exit 3").last == "two"
    assert host.run("true").last == "it ended with 0 and said nothing"


def test_a_relative_path_is_no_place_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", ".:bin::/usr/bin")
    assert Host().path.split(":")[0] == "/usr/bin"

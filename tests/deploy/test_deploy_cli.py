"""What a user of `python -m deploy` is told before anything is connected to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.board import all_boards
from deploy.checkout import PROJECT
from deploy.cli import main

KEYS = [board.key for board in all_boards()]


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(list(words))
    return code, capsys.readouterr().err


def test_boards_lists_every_board(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boards"]) == 0
    table = capsys.readouterr().out
    assert [key for key in KEYS if key not in table] == []


@pytest.mark.parametrize("command", ["bundle", "deploy"])
def test_a_missing_board_is_answered_with_those_that_exist(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, told = refused(capsys, command)
    assert code == 2
    assert f"no board: give BOARD=one of {', '.join(KEYS)}" in told


@pytest.mark.parametrize("command", ["bundle", "deploy"])
def test_an_unknown_board_is_answered_with_those_that_exist(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, told = refused(capsys, command, "--board", "jetson-nanno")
    assert code == 2
    assert "unknown board 'jetson-nanno'" in told
    assert all(key in told for key in KEYS)


@pytest.mark.parametrize("command", ["rollback", "status", "logs", "undeploy"])
def test_a_missing_host_is_answered_with_how_one_is_given(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, told = refused(capsys, command)
    assert (code, "no host: give HOST=[user@]address[:port]" in told) == (2, True)


def test_an_unknown_system_is_answered_with_those_of_the_board(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    key = tmp_path / "key"
    assert main(["key", "--key", str(key)]) == 0
    words = ("--board", "raspberry-pi-5", "--system", "windows", "--key", str(key))
    code, told = refused(capsys, "bundle", *words)
    assert code == 2
    assert "pi-os-12" in told
    assert "pi-os-13" in told


def test_a_configuration_that_is_no_toml_is_refused_before_anything_is_sent(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "kitchen.toml"
    config.write_text("node = \n")
    code, told = refused(
        capsys, "deploy", "--board", "generic-arm64", "--host", "no-such-board.invalid", "--config", str(config)
    )
    assert code == 78
    assert f"{config}: not valid TOML" in told


def test_a_bundle_that_is_none_is_refused_by_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    key = tmp_path / "key"
    assert main(["key", "--key", str(key)]) == 0
    code, told = refused(capsys, "bundle", "--board", "jetson-nano", "--key", str(key))
    assert code == 2
    assert "uv python install" in told
    assert "PYTHON_TREE" in told


def test_nothing_of_it_is_loaded_by_the_daemon() -> None:
    check = "import sys, edge_fer.cli, edge_fer.service; print([name for name in sys.modules if name == 'deploy'])"
    done = subprocess.run([sys.executable, "-c", check], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

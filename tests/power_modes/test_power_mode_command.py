"""`edge-fer power-mode`."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from powerboard import Board

from edge_fer.cli import main

Boards = Callable[[str], Board]


def test_the_list_shows_what_is_set_what_is_default_and_what_needs_a_reboot(
    xavier: Board, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", f"{xavier.machine.path}:/usr/bin:/bin")
    assert main(["power-mode", "--root", str(xavier.root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(": power modes of nvpmodel, * is set")
    assert lines[1].split() == ["id", "name", "watts", "cores", "MHz"]
    assert lines[2].split() == ["0", "MAXN", "-", "8", "2265.6"]
    assert lines[3].split(maxsplit=5) == ["1", "MODE_10W", "10", "2", "1200", "needs a reboot"]
    assert lines[9].split() == ["*", "7", "MODE_15W_DESKTOP", "15", "4", "2188.8", "default"]


def test_the_list_is_json_too(
    board: Boards, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pi = board("raspberry-pi-4")
    monkeypatch.setenv("PATH", str(pi.machine.path))
    assert main(["power-mode", "--json", "--root", str(pi.root)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["current"]["name"], len(found["modes"])) == ("frequency-cap", "1800MHz", 13)
    assert "no watt budgets" in found["why_none"]


def test_no_mode_of_a_copy_is_set(xavier: Board, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power-mode", "15W", "--root", str(xavier.root)]) == 2
    assert "no mode can be set there" in capsys.readouterr().err


def test_a_mode_that_this_machine_does_not_have_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power-mode", "banana"]) == 2
    assert "edge-fer: there is no power mode 'banana'; " in capsys.readouterr().err

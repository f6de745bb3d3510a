"""Boards of the tests of power modes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from powerboard import Board


@pytest.fixture(autouse=True)
def _root_for_the_board(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests: the board's nvpmodel takes them for root, and nothing is wrong with it."""
    monkeypatch.setenv("EDGE_FER_FAKE_UID", "0")
    for name in ("EDGE_FER_FAKE_BOARD", "EDGE_FER_FAKE_FAULT", "EDGE_FER_FAKE_SYSTEMD"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def board(tmp_path: Path) -> Callable[[str], Board]:
    return lambda name: Board(name, tmp_path)


@pytest.fixture
def xavier(tmp_path: Path) -> Board:
    """Jetson AGX Xavier, 7 MODE_15W_DESKTOP."""
    return Board("jetson-agx-xavier", tmp_path)

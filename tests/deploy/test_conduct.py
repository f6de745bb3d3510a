"""Which system a board runs, and which bundle fits it."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.board import all_boards, load_board
from deploy.conduct import RefusedError, choose_system
from edge_fer.errors import UsageError


def facts(os_id: str, os_version: str) -> dict[str, Any]:
    return {"os_id": os_id, "os_version": os_version, "os_name": f"{os_id} {os_version}", "glibc": "2.36"}


@pytest.mark.parametrize(
    ("board", "runs", "system"),
    [
        ("raspberry-pi-5", ("debian", "12"), "pi-os-12"),
        ("raspberry-pi-5", ("debian", "13"), "pi-os-13"),
        ("jetson-nano", ("ubuntu", "18.04"), "jetpack-4"),
        ("jetson-orin-nano", ("ubuntu", "20.04"), "jetpack-5"),
        ("jetson-orin-nano", ("ubuntu", "22.04"), "jetpack-6"),
        ("generic-arm64", ("ubuntu", "24.04"), "ubuntu-24.04"),
    ],
)
def test_the_system_is_found_by_what_the_board_says(board: str, runs: tuple[str, str], system: str) -> None:
    assert choose_system(load_board(board), facts(*runs), None).key == system


def test_no_two_systems_of_a_board_are_recognised_by_the_same_words() -> None:
    for board in all_boards():
        words = [word for system in board.systems for word in system.os]
        assert len(words) == len(set(words)), board.key


def test_a_system_that_the_board_is_not_prepared_for_is_refused_with_those_that_it_is() -> None:
    with pytest.raises(RefusedError, match="the board runs fedora 41") as caught:
        choose_system(load_board("raspberry-pi-5"), facts("fedora", "41"), None)
    assert "pi-os-12 (debian 12)" in str(caught.value)
    assert "SYSTEM=KEY" in str(caught.value)


def test_the_user_may_name_one_all_the_same() -> None:
    board = load_board("raspberry-pi-5")
    assert choose_system(board, facts("fedora", "41"), "pi-os-13").key == "pi-os-13"
    with pytest.raises(UsageError, match="no system 'jetpack-6'; it runs pi-os-12"):
        choose_system(board, facts("debian", "12"), "jetpack-6")

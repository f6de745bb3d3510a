"""Work that hangs, fails or is done."""

from __future__ import annotations

import threading
from typing import NoReturn

import pytest

from edge_fer.doctor.apart import Apart


def test_what_is_done_is_given() -> None:
    assert Apart(lambda: 7, "seven").result(60) == 7


def test_what_fails_fails_where_it_is_asked_for() -> None:
    def fail() -> NoReturn:
        raise ZeroDivisionError("no")

    with pytest.raises(ZeroDivisionError, match="no"):
        Apart(fail, "fails").result(60)


def test_what_hangs_is_left_behind() -> None:
    let_go = threading.Event()
    work = Apart(let_go.wait, "hangs")
    with pytest.raises(TimeoutError):
        work.result(0.01)
    let_go.set()
    assert work.result(60) is True

"""Whether the clock was set by a time server."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from edge_fer.clock import Timex, clock_synced

IS_64_BIT = ctypes.sizeof(ctypes.c_long) == 8

PROGRAM = r"""
#include <stdio.h>
#include <stddef.h>
#include <sys/timex.h>
int main(void) {
    printf("%zu %zu %zu %zu %zu\n", sizeof(struct timex), offsetof(struct timex, status), offsetof(struct timex, time),
           offsetof(struct timex, shift), offsetof(struct timex, tai));
    return 0;
}
"""


@pytest.mark.parametrize(
    ("state", "status", "synced"),
    [
        (0, 0x2001, True),  # PLL and nanoseconds, as chrony and timesyncd leave it
        (1, 0x2011, True),  # a leap second is to come: the clock is right
        (5, 0x2041, False),
        (0, 0x0040, False),  # unsynchronised, whatever the state says
        (5, 0x2001, False),  # the state of error alone
        (-1, 0, None),  # EPERM in a sandbox
    ],
)
def test_what_the_kernel_says(state: int, status: int, *, synced: bool | None, tmp_path: Path) -> None:
    asked: list[int] = []

    def adjtimex(clock: Timex) -> int:
        asked.append(clock.modes)
        clock.status = status
        return state

    assert clock_synced(adjtimex, tmp_path / "timesync") is synced
    assert asked == [0]  # nothing was to be changed


def test_where_the_kernel_may_not_be_asked_timesyncd_is(tmp_path: Path) -> None:
    folder = tmp_path / "timesync"
    assert clock_synced(lambda _clock: -1, folder) is None  # it does not run, but chrony may
    folder.mkdir()
    assert clock_synced(lambda _clock: -1, folder) is False
    (folder / "synchronized").touch()
    assert clock_synced(lambda _clock: -1, folder) is True
    assert clock_synced(lambda _clock: 5, folder) is False  # the kernel knows better, where it may be asked


def test_the_real_kernel_is_asked_without_harm() -> None:
    assert clock_synced() in (True, False, None)


@pytest.mark.skipif(not IS_64_BIT, reason="sizes of a 64-bit machine")
def test_the_structure_has_the_size_that_the_kernel_writes() -> None:
    """On x86_64 and aarch64 alike: one byte less, and the kernel would write over what follows."""
    assert ctypes.sizeof(Timex) == 208
    assert (Timex.status.offset, Timex.tv_sec.offset, Timex.shift.offset, Timex.tai.offset) == (40, 72, 112, 160)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler: the header of this machine is NOT compared")
def test_the_structure_is_that_of_the_header(tmp_path: Path) -> None:
    (tmp_path / "timex.c").write_text(PROGRAM)
    subprocess.run(["cc", "-o", tmp_path / "timex", tmp_path / "timex.c"], check=True)
    told = subprocess.run([tmp_path / "timex"], check=True, capture_output=True, text=True).stdout.split()
    own = (ctypes.sizeof(Timex), *(getattr(Timex, name).offset for name in ("status", "tv_sec", "shift", "tai")))
    assert [int(number) for number in told] == list(own)

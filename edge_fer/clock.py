"""Whether this machine's clock was set by a time server."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path

TIMESYNC = Path("/run/systemd/timesync")
"""Where systemd-timesyncd, as long as it runs, leaves the file `synchronized` once it has set the clock."""

_STA_UNSYNC = 0x40
_TIME_ERROR = 5


class Timex(ctypes.Structure):
    """`struct timex` of adjtimex(2), for machines whose time_t is a long, as of glibc on all 64-bit Linux."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("tv_sec", ctypes.c_long),
        ("tv_usec", ctypes.c_long),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),  # the kernel writes these too
    )


Adjtimex = Callable[[Timex], int]
"""adjtimex(2): fills the structure; the state of the clock, or -1."""


def clock_synced(adjtimex: Adjtimex | None = None, timesync: Path = TIMESYNC) -> bool | None:
    """Whether the kernel calls its clock synchronised; None where nobody can be asked.

    A service of systemd that may not set the clock (ProtectClock=yes) may not ask the kernel either. Then what
    systemd-timesyncd says counts: that it has set the clock since the machine was started.

    The kernel is told by chrony, ntpd and systemd-timesyncd, and takes it back when they were silent for long. Nothing
    is changed by asking (modes = 0). It costs a system call: ask once a second, not once a frame. A board without a
    clock battery starts with a time of its own making; what it dates before True may lie in the past or the future.

    Source: adjtimex(2), "STA_UNSYNC: clock unsynchronized", and "TIME_ERROR: the system clock is not synchronized".
    """
    ask, clock = adjtimex or _of_libc(), Timex(modes=0)
    state = ask(clock) if ask else -1
    if state < 0:
        return _says_timesyncd(timesync)
    return state != _TIME_ERROR and not clock.status & _STA_UNSYNC


class SyncWatch:
    """`clock_synced`, asked again only now and then."""

    def __init__(
        self,
        period_s: float = 10.0,
        *,
        ask: Callable[[], bool | None] = clock_synced,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._period_s, self._ask, self._clock_s = period_s, ask, clock_s
        self._next_s = float("-inf")
        self._synced: bool | None = None

    def __call__(self) -> bool | None:
        """As known; cheap."""
        now_s = self._clock_s()
        if now_s >= self._next_s:
            self._next_s, self._synced = now_s + self._period_s, self._ask()
        return self._synced


def _says_timesyncd(folder: Path) -> bool | None:
    """None where it does not run: then another service may have set the clock."""
    try:
        return any(path.name == "synchronized" for path in folder.iterdir())
    except OSError:
        return None


def _of_libc() -> Adjtimex | None:
    """The function of the C library that Python runs on; None where it has none."""
    try:
        function = ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError):
        return None
    function.argtypes, function.restype = (ctypes.POINTER(Timex),), ctypes.c_int

    def ask(clock: Timex) -> int:
        return int(function(ctypes.byref(clock)))

    return ask

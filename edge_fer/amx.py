"""Keeps XNNPACK off Intel's AMX tiles, which are slower than AVX-512 for networks as narrow as ours.

A tile multiplies 64 output channels by 64 bytes of input at once. Nano-B has 7 to 64 channels, and XNNPACK takes one
position of the filter at a time: most of each tile is padding, and loading and storing it costs the same.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

STACK_BYTES = 8192
"""Enough for a signal's frame with AVX-512 (about 3 kB), too little for one with tiles (about 11 kB)."""


class _Stack(ctypes.Structure):
    """stack_t of <signal.h>."""

    _fields_ = (("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def without_amx() -> Iterator[None]:
    """While the first interpreter of a process is made, XNNPACK's request for tiles is refused; it never asks again.

    Linux grants tiles only where each thread's alternate signal stack could hold them (its Documentation/arch/x86/
    xstate.rst), so a smaller one is set for the time being. It does nothing on processors without AMX, where a runtime
    or another library was granted them before, or if the C library refuses: models run all the same.
    """
    if not has_amx():
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    before, small = _Stack(), _Stack(ctypes.cast(_space(), ctypes.c_void_p), 0, STACK_BYTES)
    if libc.sigaltstack(ctypes.byref(small), ctypes.byref(before)):
        log.debug("AMX is left on: sigaltstack failed with error %d", ctypes.get_errno())
        yield
        return
    try:
        yield
    finally:
        libc.sigaltstack(ctypes.byref(before), None)


@functools.cache
def _space() -> ctypes.Array[ctypes.c_char]:
    """Never freed: whatever happens, no thread is left with a stack that is somebody else's memory."""
    return ctypes.create_string_buffer(STACK_BYTES)


@functools.cache
def has_amx(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this is Linux on a processor with int8 tiles."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    try:
        with cpuinfo.open(errors="replace") as lines:
            return next(("amx_int8" in line.split() for line in lines if line.startswith("flags")), False)
    except OSError:
        return False

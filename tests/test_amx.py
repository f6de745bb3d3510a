from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from edge_fer.amx import _Stack, has_amx, without_amx
from edge_fer.tflite import installed_runtimes

LINUX_PC = sys.platform == "linux" and platform.machine() == "x86_64"
TILES_GRANTED = textwrap.dedent(
    """
    import ctypes, pathlib, sys
    from edge_fer.classify import ExpressionReader, model_path
    reader = ExpressionReader(model_path("nano_b", "int8"), runtime="litert")
    granted = ctypes.c_uint64()
    ctypes.CDLL(None).syscall(158, 0x1022, ctypes.byref(granted))  # arch_prctl, ARCH_GET_XCOMP_PERM
    print(granted.value >> 18 & 1)  # XFEATURE_XTILEDATA
    """
)


def stack() -> tuple[int | None, int, int]:
    now = _Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(now)) == 0
    return now.sp, now.flags, now.size


@pytest.mark.skipif(not LINUX_PC, reason="only Linux on x86-64 has AMX")
@pytest.mark.parametrize(
    ("flags", "has"), [("fpu avx512_vnni amx_tile amx_int8", True), ("fpu avx512_vnni", False), ("", False)]
)
def test_amx_is_read_from_the_flags_of_the_processor(flags: str, has: bool, tmp_path: Path) -> None:  # noqa: FBT001
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nmodel name\t: amx_int8 by name only\nflags\t\t: {flags}\n")
    assert has_amx(cpuinfo) is has


def test_without_proc_there_is_no_amx(tmp_path: Path) -> None:
    assert not has_amx(tmp_path / "cpuinfo")


@pytest.mark.skipif(not LINUX_PC, reason="only Linux on x86-64 has AMX")
def test_the_signal_stack_of_a_thread_is_the_same_afterwards() -> None:
    before = stack()
    with pytest.raises(ValueError, match="model"), without_amx():
        raise ValueError("a model that does not load")
    assert stack() == before


@pytest.mark.skipif(not has_amx(), reason="this processor has no AMX")
@pytest.mark.skipif("litert" not in installed_runtimes(), reason="pip install 'edge-fer[litert]'")
def test_a_process_that_has_loaded_a_network_was_not_granted_tiles() -> None:
    done = subprocess.run([sys.executable, "-c", TILES_GRANTED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0"]

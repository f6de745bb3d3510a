"""Keeps credentials out of everything that is shown, logged or published."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

# Greedy to the last @: a password may hold one, or a slash. Rather hide too much.
_USER_INFO = re.compile(r"""(?<=://)([^@\s:"'/]*):[^\s"']*@""")
_SECRET_OPTION = re.compile(
    r"""([?&][^=&\s"']*(?:pass|pwd|token|key|auth|secret)[^=&\s"']*=)[^&\s"']+""", re.IGNORECASE
)

_ARG_START, _ARG_END = 45, 46  # of /proc/PID/stat, counted behind the name: see proc(5)


def hide_password(text: str) -> str:
    """The text with the passwords of all URLs in it, and what looks like one in their queries, replaced by ***."""
    return _SECRET_OPTION.sub(r"\1***", _USER_INFO.sub(r"\1:***@", text))


def hide_arguments(process: Path = Path("/proc/self")) -> None:
    """Hide the passwords in the arguments of this process from all who list processes; its own copies stay as they are.

    Where the system does not allow that, nothing happens. Until it is called they can be seen: they are better off in
    a file.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = (process / "stat").read_bytes().rpartition(b")")[2].split()
        start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
        with (process / "mem").open("r+b", buffering=0) as memory:
            memory.seek(start)
            words = memory.read(end - start).split(b"\0")
            memory.seek(start)
            memory.write(b"\0".join(_hidden(word) for word in words))


def _hidden(word: bytes) -> bytes:
    """As long as it was."""
    text = word.decode(errors="surrogateescape")
    hidden = hide_password(text)
    return word if hidden == text else hidden.encode(errors="surrogateescape").ljust(len(word))[: len(word)]

"""What is told to the user, and kept in a log: neither a closed output nor a full disk stops the work."""

import os
import sys
import time
from pathlib import Path
from typing import Optional, TextIO

from deploy.release.files import write_file

LOG_BYTES = 256 * 1024
"""A longer log loses its older half at the next start."""

_STEP_WIDTH = 10


class Told:
    """One line a step; `log` is written only where its folder is there already."""

    def __init__(self, log: Optional[Path] = None, out: Optional[TextIO] = None) -> None:
        self._log, self._out = log, out
        self._deaf = False
        if log is not None:
            _shorten(log)

    def step(self, name: str, text: str) -> None:
        """Something was done, or begins."""
        self._line(f"{name:<{_STEP_WIDTH}} {text}")

    def more(self, text: str) -> None:
        """What belongs to the step before; may have several lines."""
        for line in text.splitlines():
            self._line(f"{'':<{_STEP_WIDTH}} {line}")

    def warning(self, text: str) -> None:
        """Somebody should know, but it goes on."""
        first, _, rest = text.partition("\n")
        self.step("warning", first)
        self.more(rest)

    def problem(self, text: str) -> None:
        """Why it does not go on."""
        first, _, rest = text.partition("\n")
        self.step("error", first)
        self.more(rest)

    def _line(self, text: str) -> None:
        self._keep(text)
        if self._deaf:
            return
        try:
            out = self._out or sys.stdout
            out.write(text + "\n")
            out.flush()
        except (OSError, ValueError, AttributeError):  # nobody reads any more, or it was closed from the beginning
            self._deaf = True

    def _keep(self, text: str) -> None:
        if self._log is None or not self._log.parent.is_dir():
            return
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            fd = os.open(str(self._log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
            with os.fdopen(fd, "ab") as file:
                file.write(f"{moment} {text}\n".encode("utf-8", "replace"))
        except OSError:  # it is told all the same; the log is there for later
            self._log = None


def _shorten(log: Path) -> None:
    try:
        if log.stat().st_size > LOG_BYTES:
            kept = log.read_bytes()[-LOG_BYTES // 2 :]
            write_file(log, kept.partition(b"\n")[2], 0o640)
    except OSError:  # there is none yet, or it is not ours to write
        return

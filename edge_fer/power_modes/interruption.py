"""Signals that end a program, held back while something must not be left half done."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Interrupted(KeyboardInterrupt):
    """A signal has come that asks for the end."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"ended by {signal.Signals(signum).name}")
        self.signum = signum


class Interruption:
    """From entering on, signals become Interrupted, once, and not before `allow`.

    Only one is ever raised: people press Ctrl-C again, and systemd sends SIGHUP after SIGTERM, while the first one is
    being obeyed. One that came while they were held back is raised at the end. In other threads than the main one
    nothing is changed, as signals do not arrive there.
    """

    def __init__(self) -> None:
        self._old: dict[int, Any] = {}
        self._came: int | None = None
        self._raised = self._allowed = False

    def __enter__(self) -> Interruption:  # noqa: PYI034 - Self needs Python 3.11
        if threading.current_thread() is threading.main_thread():
            for signum in SIGNALS:
                # nohup ignores SIGHUP, and that is to stay so.
                if signal.getsignal(signum) is not signal.SIG_IGN:
                    self._old[signum] = signal.signal(signum, self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hold()
        for signum, old in self._old.items():
            signal.signal(signum, signal.SIG_DFL if old is None else old)  # None: a handler that was no Python
        self._raise()

    def allow(self) -> None:
        """From now on they are raised where they come; at once where one has come already."""
        self._allowed = True
        self._raise()

    def hold(self) -> None:
        """From now on they wait."""
        self._allowed = False

    def _take(self, signum: int, _frame: FrameType | None) -> None:
        self._came = self._came or signum
        if self._allowed:
            self._raise()

    def _raise(self) -> None:
        if self._came is not None and not self._raised:
            self._raised = True
            raise Interrupted(self._came)

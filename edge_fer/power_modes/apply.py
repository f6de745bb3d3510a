"""A mode for as long as something is measured, and the mode before it afterwards, on every way out."""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edge_fer.errors import EdgeFerError, UnavailableError
from edge_fer.power_modes.interruption import Interruption
from edge_fer.power_modes.lease import Lease, LeftBehind
from edge_fer.power_modes.mode import Backend, NeedsRebootError, NeedsRootError, PowerMode
from edge_fer.power_modes.modes import PowerModes
from edge_fer.power_modes.settle import Settle, Settled, settle_clocks

log = logging.getLogger(__name__)

_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class Applied:
    """A mode that is set now."""

    mode: PowerMode
    before: PowerMode | None
    settled: Settled
    note: str  # what an earlier run has left behind
    guard: _Guard

    def changed(self) -> str:
        """Who measures asks at the end: what the mode has become meanwhile, by somebody else; "" where it holds."""
        return self.guard.changed()


@contextmanager
def applied(modes: PowerModes, mode: PowerMode, *, settle: Settle = settle_clocks) -> Iterator[Applied]:
    """Set a mode, wait until the clocks have settled, and come back to the mode before in the end.

    Also after an error, Ctrl-C, SIGTERM, SIGHUP and SIGQUIT, which become Interrupted, and however often they come;
    where the process is killed or the power fails, the next run does it. One run at a time. A mode that is set already
    needs no root. NeedsRebootError, NeedsRootError, UnavailableError: nothing was changed. Main thread only.
    """
    if modes.backend is None:
        raise UnavailableError(f"power mode {mode} cannot be set: {modes.why_none}")
    if mode.needs_reboot:
        raise NeedsRebootError(mode)
    with Interruption() as interruption:
        # Signals wait until it is certain what to come back to.
        guard = _Guard(modes, modes.backend, mode)
        try:
            try:
                guard.set()
                interruption.allow()
                settled = settle(modes.machine, mode)
                if settled.note:
                    log.warning("%s", settled.note)
                yield Applied(mode, guard.before, settled, guard.note, guard)
            finally:
                interruption.hold()
        finally:
            guard.restore()


def left_over(modes: PowerModes) -> str:
    """What a run that was killed has not restored, for people; "" where there is nothing of the kind."""
    backend = modes.backend
    try:
        left = _left_behind(backend, Lease(modes.machine)) if backend else None
    except UnavailableError:
        return ""
    return _told(backend, left) if backend and left else ""


def _left_behind(backend: Backend, lease: Lease) -> LeftBehind | None:
    left = lease.left_behind()
    if left is None or left.kind != backend.kind or backend.snapshot() == left.before:
        return None
    return left if backend.holds(left.during, left.before) else None


def _told(backend: Backend, left: LeftBehind) -> str:
    during, before = backend.describe(left.during), backend.describe(left.before)
    return f"an earlier run was killed in mode {during}; the mode before it was {before}"


class _Guard:
    """Sets a mode, and knows what to come back to."""

    def __init__(self, modes: PowerModes, backend: Backend, mode: PowerMode) -> None:
        self._modes, self._backend, self._mode = modes, backend, mode
        self._lease = Lease(modes.machine)
        self._snapshot: str | None = None  # to come back to; None where nothing is to be restored
        self._during: str | None = None  # what was set; None while that is not certain
        self._pid = os.getpid()
        self.before: PowerMode | None = None
        self.note = ""

    def set(self) -> None:
        """Set the mode; where this fails half way, `restore` comes back all the same."""
        backend = self._backend
        try:
            self._lease.take()
        except NeedsRootError:
            self.before, self._during = self._modes.current(), backend.snapshot()
            if self.before != self._mode:
                raise NeedsRootError(self._mode) from None
            return  # it is set already, so nothing has to be written
        # Not earlier: another run could still be restoring the mode before its own.
        before, self.before = backend.snapshot(), self._modes.current()
        if left := _left_behind(backend, self._lease):
            self.note = f"{_told(backend, left)}, which is restored in the end"
            log.warning("%s", self.note)
            before = left.before
        elif self.before == self._mode:
            self._lease.forget()
            self._during = before
            return
        self._change(before)

    def _change(self, before: str) -> None:
        """Write down what was before, then set."""
        backend = self._backend
        backend.check_ready()
        expected = backend.expected(self._mode)
        self._lease.remember(LeftBehind(backend.kind, before, expected, backend.survives_boot()))
        self._snapshot = before
        atexit.register(self.restore)
        try:
            backend.set(self._mode)
        except (NeedsRebootError, NeedsRootError):
            self._during = backend.snapshot()  # nothing was changed
            raise
        self._during = expected

    def changed(self) -> str:
        """See Applied."""
        try:
            if self._during is None or self._backend.holds(self._during):
                return ""
            now = self._backend.describe(self._backend.snapshot())
        except UnavailableError as err:
            return f"the power mode cannot be told any more: {err}"
        return f"somebody else has changed the power mode to {now} meanwhile"

    def restore(self) -> None:
        """Come back to the mode before; a second call does nothing. Never raises: what is wrong is told in the log."""
        if os.getpid() != self._pid:
            return  # a fork of us that ends
        atexit.unregister(self.restore)
        snapshot, self._snapshot = self._snapshot, None
        try:
            if snapshot is not None:
                self._come_back(snapshot)
        finally:
            self._lease.release()

    def _come_back(self, snapshot: str) -> None:
        why = ""
        for _ in range(_ATTEMPTS):
            if not (why := self._tried(snapshot)):
                return
        backend = self._backend
        log.error(
            "the power mode could NOT be restored (%s); it was %s before: %s",
            why,
            backend.describe(snapshot),
            backend.cure(snapshot),
        )

    def _tried(self, snapshot: str) -> str:
        """Why it failed; "" where it did not."""
        backend = self._backend
        try:
            now = backend.snapshot()
            if self._during is not None and now != snapshot and not backend.holds(self._during):
                said = backend.describe(now), backend.describe(snapshot)
                log.warning(
                    "somebody else has changed the power mode to %s, and it is left so; it was %s before", *said
                )
            elif self._during != snapshot:
                self._during = None  # where this fails half way, the rest is not somebody else's doing
                backend.restore(snapshot)
            self._lease.forget()
        except (EdgeFerError, OSError) as err:
            return str(err)
        return ""

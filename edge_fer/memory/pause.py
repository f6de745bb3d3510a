"""The privacy pause in the daemon: cameras are closed as asked, and proven to be so."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from edge_fer.events import Privacy, rfc3339
from edge_fer.memory.pause_file import (
    ALL,
    PAUSE_FILE,
    PROOF_FILE,
    Moment,
    Pause,
    PauseProof,
    PauseRequest,
    alone,
    moment,
    read_request,
    unreadable_request,
    write_proof,
    write_request,
)

log = logging.getLogger(__name__)

PAUSED = "privacy pause"
"""Why a camera is disabled, where it is so because of a pause."""

POLL_S = 0.25
"""Between two looks at the file."""


@dataclass(frozen=True, slots=True)
class PauseState:
    """What is wanted now."""

    cameras: tuple[str, ...] = ()  # to be closed, in the order of the configuration
    until_unix_ns: int | None = None  # when the last of them may open; None: when somebody says so
    by: str = ""  # who asked last
    since_unix_ns: int = 0  # when that was


class PausableCamera(Protocol):
    """What the control needs of a camera's reader, which begins disabled."""

    @property
    def camera(self) -> str:
        """Its name."""

    @property
    def closed(self) -> bool:
        """Whether it is disabled and its device is closed."""

    def disable(self) -> None:
        """Ask it to close its device; any number of times, never blocks."""

    def enable(self) -> None:
        """Let it open its device; any number of times, never blocks."""


class PauseControl:
    """Carries out what the pause file asks for: call `turn` in each turn of the main loop.

    A file that is damaged or cannot be read pauses all cameras, and `problem` says so. A missing one asks for nothing
    at the start, and does not end a pause that was seen. Small files are read and written, without waiting for the
    disk.
    """

    def __init__(
        self,
        folder: Path,
        cameras: Sequence[str],
        *,
        node: str,
        boot_id: str,
        clock: Callable[[], Moment] = moment,
    ) -> None:
        """Reads the file at once: `wanted.cameras` need never be opened. The folder need not exist."""
        self._folder, self._cameras, self._node, self._boot_id = folder, tuple(cameras), node, boot_id
        self._clock = clock
        self._seen: tuple[int, ...] | None = None  # of the file, as last read
        self._request = PauseRequest()
        self._next_poll_ns = 0
        self._proof: PauseProof | None = None
        self._published: Privacy | None = None
        self._file_problem = self._proof_problem = ""
        self.wanted = PauseState()
        self.poll()

    def use_cameras(self, cameras: Sequence[str]) -> None:
        """The configuration has these cameras now; `wanted` follows at once."""
        self._cameras = tuple(cameras)
        self.wanted = _state(self._request.pauses, self._cameras)

    @property
    def problem(self) -> str:
        """Why a pause is not as it was asked for, or cannot be proven to a command; "" where all is well."""
        return self._file_problem or self._proof_problem

    def poll(self) -> bool:
        """Look whether another pause is wanted now, by file and clock; returns whether it is. Costs one stat()."""
        now = self._clock()
        if now.boot_ns < self._next_poll_ns:
            return False
        self._next_poll_ns = now.boot_ns + round(POLL_S * 1e9)
        if (signature := self._signature()) != self._seen:
            self._seen = signature
            self._read(now)
        if not all(pause.holds(now) for pause in self._request.pauses):
            self._forget_ended(now)
        was, self.wanted = self.wanted, _state(self._request.pauses, self._cameras)
        return self.wanted != was

    def turn(self, readers: Iterable[PausableCamera]) -> Privacy | None:
        """Close and open cameras as is wanted; what to publish, retained, when that has changed.

        A pause is published once all its cameras are closed, and taken back one turn before one of them may open.
        """
        self.poll()
        paused, opened = set(self.wanted.cameras), set()
        readers = list(readers)
        for reader in readers:
            if reader.camera in paused:
                reader.disable()
                if not reader.closed:
                    opened.add(reader.camera)
        closed = tuple(name for name in self.wanted.cameras if name not in opened)
        self._answer(closed)
        privacy = self._privacy(closed)
        if privacy != self._published:
            self._published = privacy
            return privacy
        for reader in readers:
            if reader.camera not in paused:
                reader.enable()
        return None

    def _privacy(self, closed: Collection[str]) -> Privacy | None:
        """What may be said now; while a camera is still closing only what was said before, as far as it holds."""
        wanted, before = self.wanted, self._published
        cameras = list(wanted.cameras)
        if len(closed) < len(cameras):
            if before is None:
                return None
            cameras = [name for name in before.cameras if name in closed]
            if cameras == before.cameras:
                return before
        until_ns = wanted.until_unix_ns if cameras else None
        privacy = Privacy(
            paused=bool(cameras),
            cameras=cameras,
            until=None if until_ns is None else rfc3339(until_ns),
            by=wanted.by if cameras else "",
            since=rfc3339(self._clock().unix_ns),
        )
        return before if before and replace(privacy, since=before.since) == before else privacy

    def _answer(self, closed: tuple[str, ...]) -> None:
        """Tell the command that waits, in a file."""
        before = self._proof
        changed = before is None or (before.paused, before.closed) != (self.wanted.cameras, closed)
        proof = PauseProof(
            node=self._node,
            boot_id=self._boot_id,
            request=self._request.id,
            cameras=self._cameras,
            paused=self.wanted.cameras,
            closed=closed,
            since=rfc3339(self._clock().unix_ns) if changed or before is None else before.since,
        )
        if proof == before:
            return
        self._proof = proof
        try:
            write_proof(self._folder, proof)
            self._proof_problem = ""
        except OSError as err:
            self._proof_problem = f"{self._folder / PROOF_FILE}: cannot be written ({err.strerror})"

    def _signature(self) -> tuple[int, ...] | None:
        """Tells one content of the file from another; None where there is none, an error's number where unknown."""
        try:
            found = (self._folder / PAUSE_FILE).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as err:
            return (err.errno or -1,)
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode

    def _read(self, now: Moment) -> None:
        path, problem = self._folder / PAUSE_FILE, ""
        try:
            self._request = read_request(self._folder)
        except (FileNotFoundError, NotADirectoryError):
            if self._request.pauses:
                problem = f"{path}: is gone; the pause goes on, `edge-fer resume` ends it"
        except (OSError, ValueError) as err:
            why = (isinstance(err, OSError) and err.strerror) or "damaged"
            problem = f"{path}: {why}; all cameras are paused, `edge-fer resume` ends it"
            self._request = unreadable_request(now)
        if problem and problem != self._file_problem:
            log.warning("%s", problem)
        self._file_problem = problem

    def _forget_ended(self, now: Moment) -> None:
        """Also in the file: a clock that is not set yet would make it hold again after a restart."""
        left = tuple(pause for pause in self._request.pauses if pause.holds(now))
        self._request, self._file_problem = PauseRequest(self._request.id, left), ""
        try:
            with alone(self._folder):
                if self._signature() == self._seen:
                    write_request(self._folder, self._request, durable=False)
                    self._seen = self._signature()
        except OSError as err:
            log.info("%s: a pause that has ended stays in it (%s)", self._folder / PAUSE_FILE, err.strerror)


def _state(pauses: Sequence[Pause], cameras: Sequence[str]) -> PauseState:
    names = {pause.camera for pause in pauses}
    paused = tuple(name for name in cameras if ALL in names or name in names)
    of_them = [pause for pause in pauses if pause.camera == ALL or pause.camera in paused]
    if not paused or not of_them:
        return PauseState()
    newest = max(of_them, key=lambda pause: pause.since_unix_ns)
    untils = [pause.until_unix_ns for pause in of_them]
    until_ns = None if None in untils else max(until for until in untils if until is not None)
    return PauseState(paused, until_ns, newest.by, newest.since_unix_ns)

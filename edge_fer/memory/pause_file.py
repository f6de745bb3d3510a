"""What is asked for about a privacy pause, and what the daemon answers: two small files in the state folder."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import re
import time
import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field, StringConstraints, TypeAdapter

from edge_fer.errors import UnavailableError, UsageError
from edge_fer.memory.state_folder import read_file, replace_file

PAUSE_FILE = "pause.json"
"""What is asked for. Only a file that says so ends a pause, never one that is missing or damaged."""

PROOF_FILE = "paused.proof.json"
"""What the daemon has made of it."""

ALL = "*"
"""In place of a camera's name: every camera, those that are added later too."""

_KERNEL_BOOT = Path("/proc/sys/kernel/random/boot_id")
_LOCK_FILE, _LOCK_ATTEMPTS, _LOCK_PAUSE_S = "pause.lock", 200, 0.05

_CAMERA = "[a-z0-9-]{1,63}"
_Text = Annotated[str, StringConstraints(max_length=100)]
_TimeNs = Annotated[int, Field(ge=0, le=2**62)]  # until the year 2116


class Moment(NamedTuple):
    """Now, by the clock on the wall and by the one that nobody can set."""

    unix_ns: int
    boot_ns: int  # since the machine started, its sleep included
    kernel_boot_id: str  # of this run of the machine; "" where it is not known


@dataclass(frozen=True, slots=True)
class Pause:
    """One wish for privacy."""

    camera: Annotated[str, StringConstraints(pattern=rf"^({_CAMERA}|\*)$")]  # its name, or ALL
    by: _Text
    since_unix_ns: _TimeNs
    since_boot_ns: _TimeNs
    kernel_boot_id: _Text
    for_ns: _TimeNs | None  # None: until somebody ends it

    @property
    def until_unix_ns(self) -> int | None:
        """When it ends, by the clock that it was made by."""
        return None if self.for_ns is None else self.since_unix_ns + self.for_ns

    def holds(self, now: Moment) -> bool:
        """Whether it has not ended.

        In the same run of the machine, setting the clock changes nothing. After a restart the clock on the wall counts;
        while it is before the time when the pause was made, it is not set yet, and the pause holds.
        """
        if self.for_ns is None:
            return True
        if now.kernel_boot_id and now.kernel_boot_id == self.kernel_boot_id:
            return now.boot_ns - self.since_boot_ns < self.for_ns
        return now.unix_ns - self.since_unix_ns < self.for_ns


@dataclass(frozen=True, slots=True)
class PauseRequest:
    """What the pause file holds."""

    id: _Text = ""  # new with each request, so that its answer can be told from an older one
    pauses: Annotated[tuple[Pause, ...], Field(max_length=1000)] = ()


@dataclass(frozen=True, slots=True)
class PauseProof:
    """What the daemon answers."""

    node: str
    boot_id: str
    request: str  # id of the request that it knows
    cameras: tuple[str, ...]  # of its configuration
    paused: tuple[str, ...]  # wanted to be closed
    closed: tuple[str, ...]  # of these, those that are
    since: str  # of this state
    schema_version: int = 1


_REQUEST, _PROOF = TypeAdapter(PauseRequest), TypeAdapter(PauseProof)


def moment() -> Moment:
    """Now, by this machine."""
    return Moment(time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME), _kernel_boot_id())


def ask_pause(
    folder: Path, cameras: Sequence[str], for_ns: int | None, *, by: str, known: Collection[str] | None, now: Moment
) -> PauseRequest:
    """Ask for a pause of these cameras, or of ALL without any; returns what the file asks for now.

    A pause of the same camera is replaced, others stay. Where only an empty file can be written (a full disk), that is
    done: it pauses all cameras until somebody ends it. UsageError names an unknown camera and the `known` ones;
    UnavailableError where nothing can be written at all.
    """
    _check_known(cameras, known)
    names = list(dict.fromkeys(cameras)) or [ALL]
    with _changing(folder):
        kept = [pause for pause in _present(folder, now).pauses if pause.camera not in names and pause.holds(now)]
        pauses = (*kept, *(_new_pause(name, for_ns, by, now) for name in names))
        try:
            return write_request(folder, PauseRequest(uuid.uuid4().hex, pauses))
        except OSError as err:
            try:
                replace_file(folder / PAUSE_FILE, b"", durable=False)
            except OSError:
                raise UnavailableError(f"{folder / PAUSE_FILE}: cannot be written ({err.strerror})") from err
            return unreadable_request(now)


def ask_resume(folder: Path, cameras: Sequence[str], *, known: Collection[str] | None, now: Moment) -> PauseRequest:
    """Ask that these cameras, or all, are opened again; returns what the file asks for now. Errors as `ask_pause`."""
    _check_known(cameras, known)
    with _changing(folder):
        present = _present(folder, now).pauses
        if cameras and known is None and any(pause.camera == ALL for pause in present):
            raise UsageError("all cameras are paused, and their names are not known here: resume all, without --camera")
        single = [
            replace(pause, camera=name)
            for pause in present
            for name in ((known or ()) if pause.camera == ALL else [pause.camera])
        ]
        pauses = tuple(pause for pause in single if pause.camera not in cameras and pause.holds(now)) if cameras else ()
        try:
            return write_request(folder, PauseRequest(uuid.uuid4().hex, pauses))
        except OSError as err:
            raise UnavailableError(f"{folder / PAUSE_FILE}: cannot be written ({err.strerror})") from err


def read_request(folder: Path) -> PauseRequest:
    """What is asked for. OSError where it cannot be read, ValueError where it is damaged."""
    content = read_file(folder / PAUSE_FILE)
    request = _REQUEST.validate_json(content, strict=True)
    # The type has defaults and passes over keys that it does not know: `{}` would ask for no pause.
    if set(json.loads(content)) != {field.name for field in fields(PauseRequest)}:
        raise ValueError("not a request")
    return request


def unreadable_request(now: Moment) -> PauseRequest:
    """What a file asks for that says nothing: privacy."""
    return PauseRequest("", (_new_pause(ALL, None, "damaged file", now),))


def write_request(folder: Path, request: PauseRequest, *, durable: bool = True) -> PauseRequest:
    """Write what is asked for, and return it. OSError."""
    replace_file(folder / PAUSE_FILE, json.dumps(asdict(request)).encode(), durable=durable)
    return request


def read_proof(folder: Path) -> PauseProof | None:
    """The daemon's answer; None where there is none that can be read. UnavailableError for the wrong user."""
    try:
        return _PROOF.validate_json(read_file(folder / PROOF_FILE), strict=True)
    except PermissionError as err:
        raise UnavailableError(f"state folder {folder}: {err.strerror}; use sudo, or the daemon's user") from err
    except (OSError, ValueError):
        return None


def write_proof(folder: Path, proof: PauseProof) -> None:
    """Answer; does not wait for the disk, since it is only about now. OSError."""
    replace_file(folder / PROOF_FILE, json.dumps(asdict(proof)).encode(), durable=False)


@contextlib.contextmanager
def alone(folder: Path, *, attempts: int = 1) -> Iterator[None]:
    """Nobody else changes the pause file meanwhile. BlockingIOError where somebody does, another OSError otherwise."""
    fd = os.open(folder / _LOCK_FILE, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        with contextlib.suppress(OSError):  # made by another user
            os.fchmod(fd, 0o644)
        for left in reversed(range(attempts)):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not left:
                    raise
                time.sleep(_LOCK_PAUSE_S)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def _changing(folder: Path) -> Iterator[None]:
    """As `alone`, for a command."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(alone(folder, attempts=_LOCK_ATTEMPTS))
        except BlockingIOError as err:
            raise UnavailableError(f"{folder / _LOCK_FILE}: another command holds it; try again") from err
        except PermissionError as err:
            raise UnavailableError(f"{folder}: {err.strerror}; use sudo, or the daemon's user") from err
        except OSError:
            pass  # a full disk: who writes last counts then, as without a lock
        yield


def _present(folder: Path, now: Moment) -> PauseRequest:
    try:
        return read_request(folder)
    except (FileNotFoundError, NotADirectoryError):
        return PauseRequest()
    except (OSError, ValueError):
        return unreadable_request(now)


def _check_known(cameras: Sequence[str], known: Collection[str] | None) -> None:
    if known is not None and (unknown := [name for name in cameras if name not in known]):
        raise UsageError(f"unknown camera {unknown[0]!r}; this node has {', '.join(known)}")
    if wrong := [name for name in cameras if not re.fullmatch(_CAMERA, name)]:
        raise UsageError(f"found camera {wrong[0]!r}; a name is 1 to 63 lower case letters, digits and hyphens")


def _new_pause(camera: str, for_ns: int | None, by: str, now: Moment) -> Pause:
    return Pause(camera, by[:100], now.unix_ns, now.boot_ns, now.kernel_boot_id, for_ns)


@functools.cache
def _kernel_boot_id() -> str:
    try:
        return _KERNEL_BOOT.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""

"""`edge-fer pause` and `edge-fer resume`: ask the daemon of a node on this machine, and wait for its answer."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_fer.errors import UnavailableError, UsageError
from edge_fer.memory.pause_file import Moment, PauseProof, PauseRequest, ask_pause, ask_resume, moment, read_proof
from edge_fer.memory.state_folder import SYSTEM_FOLDER, daemon_runs, state_folder

ANSWER_S = 5.0
"""How long the daemon has to close its cameras before the command says that they are not."""

LONGEST_S = 365 * 86_400

_LOOK_S = 0.05
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class NoDaemonError(UnavailableError):
    """No daemon of a node has ever run on this machine."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What to print, and how to end."""

    text: str
    exit_code: int  # 0: the daemon has confirmed it; 1: it has not


@dataclass(frozen=True, slots=True)
class Patience:
    """How a command waits."""

    answer_s: float = ANSWER_S
    sleep: Callable[[float], None] = time.sleep


def pause_cameras(
    folder: Path,
    cameras: Sequence[str] = (),
    *,
    for_s: float | None = None,
    known: Collection[str] | None = None,
    by: str = "command line",
    clock: Callable[[], Moment] = moment,
    patience: Patience | None = None,
) -> Outcome:
    """Pause these cameras of the node with this state folder, or all, and wait until they are closed.

    `known` are the cameras of the node, where the configuration is at hand; otherwise they are those that its daemon
    has told. UsageError for an unknown one, UnavailableError where the request cannot be written.
    """
    known = _known(folder, known)
    for_ns = None if for_s is None else round(for_s * 1e9)
    request = ask_pause(folder, cameras, for_ns, by=by, known=known, now=clock())
    kept = "the pause is kept, and it will start with these cameras closed"
    if not (proof := _answer(folder, request, lambda proof: _all_closed(proof, cameras), patience)):
        return _no_answer(folder, request, kept)
    wanted = cameras or proof.paused
    if opened := [name for name in wanted if name not in proof.closed]:
        seconds = (patience or Patience()).answer_s
        return Outcome(f"not paused: {_cameras(opened)} not closed after {seconds:g} s", 1)
    note = "" if request.id else "; the request could not be written whole (is the disk full?), so all are paused"
    return Outcome(f"paused: {_cameras(wanted)} closed since {proof.since}{note}", 0)


def resume_cameras(
    folder: Path,
    cameras: Sequence[str] = (),
    *,
    known: Collection[str] | None = None,
    clock: Callable[[], Moment] = moment,
    patience: Patience | None = None,
) -> Outcome:
    """End the pause of these cameras, or of all; errors as `pause_cameras`."""
    request = ask_resume(folder, cameras, known=_known(folder, known), now=clock())
    if not (proof := _answer(folder, request, lambda _: True, patience)):
        return _no_answer(folder, request, "the pause is ended, and it will start with these cameras open")
    still = f"; still paused: {', '.join(proof.paused)}" if proof.paused else ""
    resumed = [name for name in cameras or proof.cameras if name not in proof.paused]
    return Outcome(f"resumed: {_cameras(resumed, 'is', 'are')} watched again{still}", 0)


def duration_s(text: str) -> float:
    """`90s`, `30m`, `2h`, `1h30m`, `7d` as seconds; UsageError for anything else."""
    parts = re.findall(r"([0-9]{1,6})([smhd])", text)
    total = float(sum(int(number) * _UNIT_S[unit] for number, unit in parts))
    if "".join(number + unit for number, unit in parts) != text or not 0 < total <= LONGEST_S:
        raise UsageError(f"found {text!r}; a duration is given as 90s, 30m, 2h, 1h30m or 7d, and is 365d at most")
    return total


def find_state_folder(
    configured: Path | None, node: str, environ: Mapping[str, str] = os.environ, system: Path = SYSTEM_FOLDER
) -> Path:
    """The folder of the node's daemon, which may have been started by systemd or by this user.

    A running daemon goes first, then one that has run. NoDaemonError names where none was found.
    """
    places = [configured] if configured else [state_folder(None, node, environ), system / node, system]
    found = [(place, *_belongs(place, node, is_known=configured is not None)) for place in places]
    for place, is_of_node, _ in found:
        if is_of_node and daemon_runs(place):
            return place
    for _, _, refusal in found:
        if refusal:  # the one that runs may be the one that cannot be looked into
            raise refusal
    for place, is_of_node, _ in found:
        if is_of_node:
            return place
    looked = ", ".join(str(place) for place in places)
    raise NoDaemonError(f"no daemon of node {node!r} has run here (looked in {looked}); give --config or --node")


def _belongs(place: Path, node: str, *, is_known: bool) -> tuple[bool, UnavailableError | None]:
    """Whether it is a folder of this node, and why that cannot be told."""
    try:
        proof = read_proof(place)
    except UnavailableError as refusal:
        return False, refusal
    return (proof is not None and proof.node == node) or (is_known and place.is_dir()), None


def _known(folder: Path, known: Collection[str] | None) -> Collection[str] | None:
    if known is not None:
        return known
    proof = read_proof(folder)
    return proof.cameras if proof else None


def _answer(
    folder: Path, request: PauseRequest, done: Callable[[PauseProof], bool], patience: Patience | None
) -> PauseProof | None:
    """The daemon's newest answer to this request: as soon as all is done, or after the time for it."""
    patience = patience or Patience()
    proof = None
    for _ in range(max(1, round(patience.answer_s / _LOOK_S))):
        if not daemon_runs(folder):
            return None
        proof = read_proof(folder)
        if proof and proof.request == request.id and done(proof):
            return proof
        patience.sleep(_LOOK_S)
    return proof if proof and proof.request == request.id else None


def _all_closed(proof: PauseProof, cameras: Sequence[str]) -> bool:
    return all(name in proof.closed for name in cameras or proof.cameras)


def _no_answer(folder: Path, request: PauseRequest, kept: str) -> Outcome:
    kept = kept if request.id else "an empty pause file is kept (is the disk full?), and it will start with all closed"
    if daemon_runs(folder):
        return Outcome(f"not confirmed: the daemon of state folder {folder} does not answer; is it stuck?", 1)
    return Outcome(f"no daemon runs with state folder {folder}; {kept}", 1)


def _cameras(names: Sequence[str], one: str = "is", more: str = "are") -> str:
    return f"camera {names[0]} {one}" if len(names) == 1 else f"cameras {', '.join(names)} {more}"

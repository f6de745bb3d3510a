"""What is remembered of releases: which runs, which ran before, and a switch that is on its way."""

import json
import os
import time
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

from deploy.release.files import read_file, remove_file, write_file
from deploy.release.layout import Layout

SCHEMA = 1
_REMEMBERED = 10
"""Failures, and releases that ran."""


class Pending(NamedTuple):
    """A switch that is neither confirmed nor undone."""

    to: str
    origin: str  # the release that ran before; "" at the first installation
    since_unix_s: int
    gate_s: float  # how long it may take to be healthy, at the next boot, too
    hold_s: float
    config: bool = False  # the configuration is replaced; the one before lies beside it
    password: bool = False
    started: bool = False  # the service was restarted with it
    undoing: bool = False  # it was given up

    def to_json(self) -> Dict[str, Any]:
        """As it stands in the file."""
        fields = dict(self._asdict())
        fields["from"], fields["since"] = fields.pop("origin"), fields.pop("since_unix_s")
        return fields


class State(NamedTuple):
    """What state.json holds."""

    current: str = ""  # the last one that was confirmed
    previous: str = ""
    pending: Optional[Pending] = None
    failed: Tuple[Mapping[str, Any], ...] = ()  # release, when (unix seconds), why; the newest last
    history: Tuple[str, ...] = ()  # releases that were confirmed, the newest first

    def confirmed(self, name: str) -> "State":
        """The release passed its gate."""
        previous = self.current if self.current != name else self.previous
        history = (name, *(other for other in self.history if other != name))
        return self._replace(current=name, previous=previous, pending=None, history=history[:_REMEMBERED])

    def undone(self, name: str, why: str) -> "State":
        """The switch to this release was undone."""
        failure = {"release": name, "when": int(time.time()), "why": why}
        return self._replace(pending=None, failed=(*self.failed, failure)[-_REMEMBERED:])

    def without(self, name: str) -> "State":
        """The release is gone."""
        return self._replace(
            current="" if self.current == name else self.current,
            previous="" if self.previous == name else self.previous,
            history=tuple(other for other in self.history if other != name),
        )


def load_state(layout: Layout) -> State:
    """An empty state where there is none; where the file is damaged, what the link `current` tells."""
    data = read_file(layout.state_file)
    if data is None:
        return State(current=linked_release(layout))
    try:
        told = json.loads(data.decode())
        pending = told["pending"]
        return State(
            current=str(told["current"] or ""),
            previous=str(told["previous"] or ""),
            pending=None if pending is None else _pending(pending),
            failed=tuple(dict(failure) for failure in told["failed"]),
            history=tuple(str(name) for name in told["history"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return State(current=linked_release(layout))


def save_state(layout: Layout, state: State) -> None:
    """Keep it. The flag that has a pending switch finished at boot is there whenever one is, and goes after it."""
    if state.pending is not None and not layout.pending_flag.exists():
        write_file(layout.pending_flag, f"{state.pending.to}\n".encode())
    told = {
        "schema": SCHEMA,
        "current": state.current or None,
        "previous": state.previous or None,
        "pending": state.pending.to_json() if state.pending else None,
        "failed": state.failed,
        "history": state.history,
    }
    write_file(layout.state_file, (json.dumps(told, indent=1, sort_keys=True) + "\n").encode())
    if state.pending is None:
        remove_file(layout.pending_flag)


def linked_release(layout: Layout) -> str:
    """The release that `current` points to; "" where it points to none."""
    if not layout.current.is_symlink():
        return ""
    name = os.path.basename(os.readlink(str(layout.current)))
    return name if name and layout.release(name).is_dir() else ""


def _pending(told: Mapping[str, Any]) -> Pending:
    flags = {key: bool(told.get(key)) for key in ("config", "password", "started", "undoing")}
    return Pending(
        str(told["to"]),
        str(told["from"] or ""),
        int(told["since"]),
        float(told["gate_s"]),
        float(told["hold_s"]),
        **flags,
    )

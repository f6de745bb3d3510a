"""Two instances under one node id: who keeps it.

Each instance claims its node on every connect. Of two, the one with the smaller boot id judges: it compares its own
uptime with that of the claim, and the older one keeps the node. If that is itself, it says so in a claim that names
whom it rejects; if not, it leaves. The other never judges: it tells its own claim to whoever claims, so that the judge
knows of it, and leaves when it is rejected. So there is one judgement for a pair, whatever the order of the messages
and however long they take; if each compared for itself, two that start at once could both leave, or both stay.
"""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Callable

from edge_fer.events import Claim

LONGEST = 2000
"""Bytes of a claim that is looked at."""

_OLDEST_S = 1e10
_BOOT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ANSWERS, _PERIOD_S = 20, 10.0  # at most: whoever sends rubbish must not make this node flood the broker
_RIVALS = 100


class Guard:
    """Judges claims on a node; knows no network. One thread."""

    def __init__(self, node: str, boot_id: str, *, host: str, uptime_s: Callable[[], float]) -> None:
        self._node, self._boot_id, self._host, self._uptime_s = node, boot_id, host, uptime_s
        self._judged: dict[str, None] = {}  # boot ids of those who must leave
        self._noticed: dict[str, None] = {}
        self._answered_s: deque[float] = deque(maxlen=_ANSWERS)
        self.fatal = ""  # why this instance must leave; "" as long as it need not
        self.notices: list[str] = []  # of other instances, once for each; whoever logs them empties it

    def claim(self, rejects: str = "") -> Claim:
        """What this instance says of itself now."""
        return Claim(boot_id=self._boot_id, uptime_s=round(self._uptime_s(), 3), host=self._host, rejects=rejects)

    def hear(self, payload: bytes, *, retained: bool = False) -> Claim | None:
        """Judge what was heard on the topic of claims; a claim to be published in answer, if any.

        Own claims, retained ones (of whenever) and rubbish are passed over. Sets `fatal` where this instance must
        leave; after that, it says nothing any more.
        """
        other = None if retained or self.fatal else _read(payload)
        if other is None or other.boot_id == self._boot_id:
            return None
        host = _printable(other.host)
        if self._boot_id < other.boot_id:
            if other.boot_id not in self._judged and other.uptime_s > self._uptime_s():
                self._leave(other.boot_id, host)
                return None
            _remember(self._judged, other.boot_id)
            answer = self._answer(rejects=other.boot_id)
        elif other.rejects == self._boot_id:
            self._leave(other.boot_id, host)
            return None
        else:
            # A rejection of somebody else is an answer to that one, and needs none.
            answer = None if other.rejects else self._answer()
        if _remember(self._noticed, other.boot_id):
            self.notices.append(
                f"another edge-fer, {other.boot_id} on host {host}, claims node {self._node!r}, which is held by this "
                f"one ({self._boot_id}); whichever has run for longer keeps it"
            )
        return answer

    def _answer(self, rejects: str = "") -> Claim | None:
        now_s = self._uptime_s()
        if len(self._answered_s) == _ANSWERS and now_s - self._answered_s[0] < _PERIOD_S:
            return None
        self._answered_s.append(now_s)
        return self.claim(rejects)

    def _leave(self, boot_id: str, host: str) -> None:
        self.fatal = (
            f"node {self._node!r} belongs to another edge-fer, {boot_id} on host {host}, which has run for longer than "
            f'this one ({self._boot_id} on host {self._host}); give this one another name: node = "..." in its '
            "configuration, or --node"
        )


def _remember(boot_ids: dict[str, None], new: str) -> bool:
    """Whether it is new; the oldest is forgotten where there are many."""
    if new in boot_ids:
        return False
    if len(boot_ids) >= _RIVALS:
        del boot_ids[next(iter(boot_ids))]
    boot_ids[new] = None
    return True


def _read(payload: bytes) -> Claim | None:
    """None for what is no claim."""
    try:
        found = json.loads(payload) if len(payload) <= LONGEST else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    boot_id, uptime_s, rejects = (found.get(key, "") for key in ("boot_id", "uptime_s", "rejects"))
    if not (isinstance(boot_id, str) and _BOOT_ID.fullmatch(boot_id) and isinstance(rejects, str)):
        return None
    if not isinstance(uptime_s, (int, float)) or isinstance(uptime_s, bool):
        return None
    if not (0 <= uptime_s <= _OLDEST_S and math.isfinite(uptime_s)):
        return None
    return Claim(boot_id=boot_id, uptime_s=float(uptime_s), host=str(found.get("host", "")), rejects=rejects)


def _printable(host: str) -> str:
    """As it may stand in a log: whoever may write on the topic chose it."""
    return re.sub(r"[^A-Za-z0-9._-]", "?", host[:64]) or "unknown"

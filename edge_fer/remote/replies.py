"""Answers to commands, so few that no flood of commands can get in the way of events."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import NamedTuple

from edge_fer.events import Reply, rfc3339
from edge_fer.messages import Message, message
from edge_fer.privacy import hide_password
from edge_fer.remote.requests import Asker, Refusal

log = logging.getLogger(__name__)

PER_SECOND = 10
MAX_WAITING = 32
LONGEST_TEXT = 500


class Outcome(NamedTuple):
    """What became of a command."""

    asker: Asker
    ok: bool
    text: str


class Replies:
    """Publishes at most PER_SECOND replies a second. What was carried out waits for its turn; refusals do not."""

    def __init__(
        self,
        publish: Callable[[Message], None],
        *,
        node: str,
        boot_id: str,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        unix_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._publish, self._node, self._boot_id = publish, node, boot_id
        self._clock_ns, self._unix_ns = clock_ns, unix_ns
        self._waiting: deque[Outcome] = deque()
        self._left, self._filled_ns = float(PER_SECOND), clock_ns()
        self.dropped = 0

    def say(self, outcome: Outcome) -> None:
        """Reply to a command that was carried out, or failed."""
        log.info("command %s: %s", outcome.asker.command, outcome.text)
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(outcome)
        else:
            self.dropped += 1

    def turn(self, refusals: list[Refusal]) -> None:
        """Send what may be sent now."""
        now_ns = self._clock_ns()
        self._left = min(PER_SECOND, self._left + (now_ns - self._filled_ns) / 1e9 * PER_SECOND)
        self._filled_ns = now_ns
        while self._waiting and self._left >= 1:
            self._send(self._waiting.popleft())
        for refusal in refusals:
            if self._left >= 1:
                log.debug("command %s refused: %s", refusal.asker.command, refusal.why)
                self._send(Outcome(refusal.asker, ok=False, text=refusal.why))
            else:
                self.dropped += 1

    def _send(self, outcome: Outcome) -> None:
        self._left -= 1
        asker = outcome.asker
        reply = Reply(
            command=asker.command,
            ok=outcome.ok,
            message=hide_password(outcome.text)[:LONGEST_TEXT],
            id=asker.id,
            occurred_at=rfc3339(self._unix_ns()),
            boot_id=self._boot_id,
        )
        plain = message(reply, self._node, asker.command)
        if asker.response_topic != plain.topic:
            self._publish(plain)
        if asker.response_topic:
            self._publish(replace(plain, topic=asker.response_topic, correlation=asker.correlation, body=asdict(reply)))

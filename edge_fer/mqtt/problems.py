"""What keeps messages from the broker, for log and health."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

UNREACHABLE, LOGIN, TLS = "broker-unreachable", "broker-login", "broker-tls"
REFUSED, QUOTA, TOO_LARGE = "broker-refused", "broker-quota", "broker-too-large"
BROKER_PROBLEMS = (UNREACHABLE, LOGIN, TLS, REFUSED, QUOTA, TOO_LARGE)

MOST_NAMED = 5
"""Topics that a text names; a node with fifty cameras would fill it."""

_MOST_PASSING = 100
"""Topics: whoever gives commands chooses where answers go."""

_CURE = {
    REFUSED: "check what it allows to {user}",
    QUOTA: "its quota for {user} is used up; they are tried again",
    TOO_LARGE: "they are lost; raise its message_size_limit or max_packet_size",
}


class Problems:
    """Problems by code, and those of topics; thread safe. Each is logged when it comes, and when it is cured."""

    def __init__(self, broker: str, user: Callable[[], str]) -> None:
        """`broker` is its address without a password, `user` as whom this node is known to it."""
        self._broker, self._user = broker, user
        self._lock = threading.Lock()
        self._texts: dict[str, str] = {}
        self._topics: dict[str, dict[str, str]] = {}  # by code: why, of each topic
        self._passing: set[str] = set()  # topics that are not tried again on this connection
        self.lost_events = 0  # that the broker can never take
        self._suspect = ""

    def all(self) -> dict[str, str]:
        """Code and text of each of now."""
        with self._lock:
            told = {code: self._about_topics(code, topics) for code, topics in self._topics.items() if topics}
            for code, text in self._texts.items():
                told[code] = f"{text}; {told[code]}" if code in told else text
            return told

    def tell(self, code: str, text: str) -> None:
        """There is this problem; its text may change. Whoever finds it logs it."""
        with self._lock:
            self._texts[code] = text

    def cure(self, *codes: str) -> None:
        """There are no such problems (any more), but for those of topics."""
        with self._lock:
            for code in codes:
                self._texts.pop(code, None)

    def refuse(self, code: str, topic: str, why: str, *, passing: bool = False) -> None:
        """The broker does not take messages on this topic; logged once for each of the first topics.

        `passing`: it will not be tried again on this connection, so that a cure would not be noticed.
        """
        with self._lock:
            topics = self._topics.setdefault(code, {})
            known = topic in topics
            if not known and passing and len(self._passing) >= _MOST_PASSING:
                return
            if passing:
                self._passing.add(topic)
            topics[topic] = why
            speak = not known and len(topics) <= MOST_NAMED
        if speak:
            cure = _CURE[code].format(user=self._user())
            log.error("broker %s refuses messages on %s (%s): %s", self._broker, topic, why, cure)

    def accept(self, topic: str) -> None:
        """The broker has taken a message on this topic."""
        if not self._topics:  # so nearly always; a lock for each message would be waste
            return
        with self._lock:
            cured = [code for code, topics in self._topics.items() if topics.pop(topic, None) is not None]
            self._topics = {code: topics for code, topics in self._topics.items() if topics}
        for code in cured:
            log.info("broker %s takes messages on %s again (%s)", self._broker, topic, code)

    def suspect(self, message: str) -> bool:
        """A connection broke at this message; returns whether the one before did so, too."""
        again, self._suspect = message == self._suspect, message
        return again

    def forget_passing(self) -> None:
        """There is a new connection, where they will be tried again."""
        with self._lock:
            for topics in self._topics.values():
                for topic in self._passing & topics.keys():
                    del topics[topic]
            self._passing.clear()

    def _about_topics(self, code: str, topics: dict[str, str]) -> str:
        named = ", ".join(list(topics)[:MOST_NAMED])
        more = f" and {len(topics) - MOST_NAMED} more" if len(topics) > MOST_NAMED else ""
        whys = ", ".join(dict.fromkeys(topics.values()))
        count = f"{len(topics)} topics" if len(topics) > 1 else "a topic"
        # What to do first, for health cuts what is long.
        cure = _CURE[code].format(user=self._user())
        return f"broker {self._broker} refuses messages on {count} ({whys}): {cure}: {named}{more}"

"""Keeps what Home Assistant was told about this node right: also of what is gone.

Home Assistant forgets an entity only where its component is told as gone (a platform and nothing else) while Home
Assistant knows it. One that is merely missing stays, and so does one that was told as gone while Home Assistant was
not running. So a component that the configuration has no more is told as gone until Home Assistant has started once;
then it is made known and told as gone again, and forgotten.
"""

from __future__ import annotations

import json
import logging
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, get_args

from edge_fer.homeassistant.discovery import stand_in
from edge_fer.homeassistant.entities import Platform
from edge_fer.messages import Message
from edge_fer.mqtt.incoming import Incoming

log = logging.getLogger(__name__)

STEP_NS = 3_000_000_000
"""Home Assistant takes about a second to make an entity of a component, and then to remove it."""

MOST_GONE = 1000
_LONGEST_BYTES = 4_000_000
_KEY = re.compile(r"[a-z0-9_-]{1,150}")
_PLATFORMS = frozenset(get_args(Platform))

Components = dict[str, dict[str, Any]]


class Announcer:
    """Publishes the discovery message of a node, with the components that are gone from it."""

    def __init__(self, message: Message, node: str, publish: Callable[[Message], None]) -> None:
        """`message` as `discovery` makes it."""
        self._message, self._node, self._publish = message, node, publish
        self._arrived: deque[bytes] = deque(maxlen=4)
        self._gone: dict[str, Platform] = {}
        self._steps: deque[tuple[int, Callable[[], None]]] = deque()

    @property
    def topic(self) -> str:
        """Where it publishes, and reads what was there before."""
        return self._message.topic

    @property
    def gone(self) -> Mapping[str, Platform]:
        """What is still to be removed, by key."""
        return self._gone

    def start(self) -> None:
        """Announce the node."""
        self._tell({key: {"platform": platform} for key, platform in self._gone.items()})

    def replace(self, message: Message) -> None:
        """Another configuration: announce it, and tell as gone what it has no more."""
        before, self._message = self._message, message
        self._note_gone(_components(before.body))
        self._gone = {key: platform for key, platform in self._gone.items() if key not in message.body["components"]}
        self._steps.clear()
        self.start()

    def handle(self, incoming: Incoming) -> None:
        """Take what was announced before this connection; from its thread."""
        if incoming.retained and incoming.payload:
            self._arrived.append(incoming.payload)

    def born(self, now_ns: int) -> None:
        """Home Assistant has started, and may still remember what is gone."""
        if not self._gone or self._steps:
            return
        self._tell({key: stand_in(platform, self._node, key) for key, platform in self._gone.items()})
        self._steps.extend([(now_ns + STEP_NS, self.start), (now_ns + 2 * STEP_NS, self._forget)])

    def turn(self, now_ns: int) -> None:
        """Do what is due; from the main thread."""
        while self._arrived:
            if self._note_gone(_read(self._arrived.popleft())):
                log.info("Home Assistant still has %s; taken back", ", ".join(sorted(self._gone)))
                self.start()
        while self._steps and now_ns >= self._steps[0][0]:
            self._steps.popleft()[1]()

    def _forget(self) -> None:
        self._gone = {}
        self.start()

    def _note_gone(self, announced: Iterator[tuple[str, Platform]]) -> bool:
        """Whether there is more that is gone than before."""
        known = len(self._gone)
        for key, platform in announced:
            if key not in self._message.body["components"] and len(self._gone) < MOST_GONE:
                self._gone[key] = platform
        return len(self._gone) > known

    def _tell(self, gone: Components) -> None:
        body = self._message.body
        self._publish(replace(self._message, body={**body, "components": {**body["components"], **gone}}))


def _read(payload: bytes) -> Iterator[tuple[str, Platform]]:
    """What a discovery message of this node announced. Anybody may have written it: what makes no sense is nothing."""
    if len(payload) > _LONGEST_BYTES:
        return iter(())
    try:
        return _components(json.loads(payload))
    except (ValueError, RecursionError):
        return iter(())


def _components(body: object) -> Iterator[tuple[str, Platform]]:
    components = body.get("components") if isinstance(body, Mapping) else None
    for key, told in (components if isinstance(components, Mapping) else {}).items():
        platform = told.get("platform") if isinstance(told, Mapping) else None
        if isinstance(platform, str) and platform in _PLATFORMS and _KEY.fullmatch(key):
            yield key, platform  # type: ignore[misc]

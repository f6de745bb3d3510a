"""What a broker still holds of cameras and rules that the configuration has no more."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping

from edge_fer.channels import ALERT, CAMERA_STATE, CAMERA_STATUS, Channel, topic
from edge_fer.messages import Message, cleared
from edge_fer.mqtt.incoming import Handler, Incoming

log = logging.getLogger(__name__)

_OF_CAMERAS = (CAMERA_STATUS, CAMERA_STATE)
_OF_RULES = (ALERT,)


class Leftovers:
    """Takes back retained topics of this node that belong to no camera or rule.

    Each topic at most once per connection: two that write and clear in turn must not go on for ever. The handlers run
    in the thread of the connection, and `publish` must take messages from there without blocking.
    """

    def __init__(
        self, node: str, cameras: Collection[str], rules: Collection[str], publish: Callable[[Message], None]
    ) -> None:
        """`cameras` and `rules` are the names in the configuration."""
        self._node, self._publish = node, publish
        self._cameras, self._rules = frozenset(cameras), frozenset(rules)
        self._taken_back: set[str] = set()

    @property
    def subscriptions(self) -> Mapping[str, Handler]:
        """What to hear at each connection, with who takes it."""
        return {topic(channel, self._node, "+"): self._handle for channel in (*_OF_CAMERAS, *_OF_RULES)}

    def opened(self) -> None:
        """A new connection: the broker may have found its old memory again."""
        self._taken_back = set()

    def reload(self, cameras: Collection[str], rules: Collection[str]) -> None:
        """Another configuration: take back what is gone with it."""
        gone_cameras, gone_rules = self._cameras - set(cameras), self._rules - set(rules)
        self._cameras, self._rules = frozenset(cameras), frozenset(rules)
        for message in taken_back(self._node, sorted(gone_cameras), sorted(gone_rules)):
            self._publish(message)

    def _handle(self, incoming: Incoming) -> None:
        where = incoming.topic
        # An empty payload is the echo of taking it back, and what is not retained is somebody's news.
        if not (incoming.payload and incoming.retained) or where in self._taken_back:
            return
        if (found := self._find(where)) is None:
            return
        self._taken_back.add(where)
        log.info("%s belongs to nothing in the configuration; taken back", where)
        self._publish(cleared(found[0], self._node, found[1]))

    def _find(self, where: str) -> tuple[Channel, str] | None:
        """Channel and name of a topic of this node that belongs to nothing."""
        for channel in (*_OF_CAMERAS, *_OF_RULES):
            before, _, after = topic(channel, self._node, "+").partition("+")
            name = where.removeprefix(before).removesuffix(after)
            known = self._rules if channel in _OF_RULES else self._cameras
            if name and "/" not in name and where == f"{before}{name}{after}" and name not in known:
                return channel, name
        return None


def taken_back(node: str, cameras: Collection[str], rules: Collection[str]) -> Iterator[Message]:
    """What takes back all that is retained of these cameras and rules."""
    for camera in cameras:
        for channel in _OF_CAMERAS:
            yield cleared(channel, node, camera)
    for rule in rules:
        for channel in _OF_RULES:
            yield cleared(channel, node, rule)

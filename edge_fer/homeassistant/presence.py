"""All that the daemon does for Home Assistant, behind four calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from edge_fer.board_watch import Senses
from edge_fer.config import Config
from edge_fer.events import NodeInfo
from edge_fer.homeassistant.announcer import Announcer
from edge_fer.homeassistant.birth import Birth, birth_topic
from edge_fer.homeassistant.discovery import NO_SENSES, announcement, discovery, discovery_topic
from edge_fer.messages import Message
from edge_fer.mqtt.incoming import Handler, Incoming


class HomeAssistant:
    """The node's presence in Home Assistant; where it is switched off, it takes back what it finds of itself.

    `subscriptions` must be made at each connection before anything is published: what was announced before tells what
    is gone since. `publish` takes messages from any thread; `refresh` makes all states due again.
    """

    def __init__(
        self,
        config: Config,
        info: NodeInfo,
        publish: Callable[[Message], None],
        refresh: Callable[[], None],
        senses: Senses = NO_SENSES,
    ) -> None:
        """Nothing is published yet; `senses` is what the board is known to tell."""
        self._settings, self._node = config.homeassistant, config.node
        self._config, self._info, self._senses = config, info, senses
        self._publish, self._refresh = publish, refresh
        self._announcer = Announcer(discovery(config, info, senses), config.node, publish)
        self._birth = Birth(self._born, self._settings.birth_jitter_s)

    @property
    def subscriptions(self) -> Mapping[str, Handler]:
        """What it wants to hear."""
        prefix = self._settings.prefix
        if not self._settings.enabled:
            return {discovery_topic(prefix, self._node): self._take_back}
        return {self._announcer.topic: self._announcer.handle, birth_topic(prefix): self._birth.handle}

    def start(self) -> None:
        """Announce the node."""
        if self._settings.enabled:
            self._announcer.start()

    def turn(self, now_ns: int) -> None:
        """Do what is due; main thread."""
        if self._settings.enabled:
            self._announcer.turn(now_ns)
            self._birth.turn(now_ns)

    def reload(self, config: Config, info: NodeInfo) -> None:
        """Another configuration with the same `[homeassistant]`, which needs a restart to change; main thread."""
        if self._settings.enabled:
            self._config = config.model_copy(update={"homeassistant": self._settings})
            self._info = info
            self._announcer.replace(discovery(self._config, info, self._senses))

    def use_senses(self, senses: Senses) -> None:
        """What the board is known to tell now; a sensor that is found late shows up late. Main thread."""
        if senses != self._senses:
            self._senses = senses
            if self._settings.enabled:
                self._announcer.replace(discovery(self._config, self._info, senses))

    def _born(self, now_ns: int) -> None:
        self._refresh()
        self._announcer.born(now_ns)

    def _take_back(self, incoming: Incoming) -> None:
        if incoming.retained and incoming.payload:
            message = announcement(self._settings.prefix, self._node, {})
            self._publish(replace(message, clears=True))

"""The table `[homeassistant]`: the model here is the manual of its keys."""

from __future__ import annotations

from pydantic import Field

from edge_fer.toml import Settings


class HomeAssistantSettings(Settings):
    """`[homeassistant]`: the node shows up in Home Assistant by itself."""

    enabled: bool = True
    """false: nothing is announced, and what was announced before is taken back."""

    prefix: str = Field(default="homeassistant", max_length=100, pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$")
    """The discovery prefix that the MQTT integration of Home Assistant is set to."""

    birth_jitter_s: float = Field(default=10.0, ge=0, le=300)
    """When Home Assistant has started, states are sent again after a random part of this: a fleet must not do it at
    once."""

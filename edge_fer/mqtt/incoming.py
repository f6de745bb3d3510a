"""What arrives from a broker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message that a broker delivered."""

    topic: str
    payload: bytes
    retained: bool  # it was published before this subscription
    response_topic: str | None = None  # of MQTT 5: where an answer is wanted
    correlation: bytes | None = None  # of MQTT 5: goes back with the answer
    properties: Mapping[str, str] = field(default_factory=dict)  # of MQTT 5: the user's own


Handler = Callable[[Incoming], None]
"""Called in the thread of the connection: must neither block nor raise."""

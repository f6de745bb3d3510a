"""How much may wait for a broker that is away."""

from __future__ import annotations

from pydantic import Field

from edge_fer.toml import Settings


class OutboxSettings(Settings):
    """`[outbox]`: how much waits for a broker that is away. Over a bound the oldest events go, and are counted."""

    max_events: int = Field(default=200_000, ge=1, le=5_000_000)
    max_mb: float = Field(default=256, ge=1, le=100_000)
    """Of topics and payloads; the file is about a third larger."""

    max_age_h: float = Field(default=168, ge=0.1, le=8760)
    """Events older than this are not news to anybody."""

    drain_per_s: int = Field(default=200, ge=1, le=10_000)
    """Late events in a second, after an outage; a camera without backlog does not wait for them."""

"""`[power]`: how often the board's sensors are read."""

from __future__ import annotations

from pydantic import Field

from edge_fer.toml import Settings


class PowerSettings(Settings):
    """`[power]`: watts, temperatures and clocks of the board."""

    enabled: bool = True
    """false: no sensor is read and nothing is told of them."""

    sample_s: float = Field(default=2.0, ge=0.2, le=60)
    """How often the sensors are read; energy is integrated over these samples. Told every `telemetry_s`."""

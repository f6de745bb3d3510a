"""`[governor]`: when the daemon looks less often."""

from __future__ import annotations

from pydantic import Field

from edge_fer.toml import Settings


class GovernorSettings(Settings):
    """`[governor]`: limits of heat and watts, and how slow it may get when nobody is there. Live cameras only."""

    enabled: bool = True
    """false: heat, watts and throttling never make it look less often; `idle` is of its own."""

    max_temperature_c: float | None = Field(default=None, ge=30, le=120)
    """Of the hottest zone; by default 5 degrees below where the kernel throttles (85 on ARM and 95 on PCs
    where it does not tell)."""

    max_power_w: float | None = Field(default=None, gt=0, le=2000)
    """Of the whole board, where it is measured or estimated; no limit without it."""

    idle: bool = True
    """false: a camera that sees nobody is looked at as often as any other."""

    idle_after_s: float = Field(default=20.0, ge=1, le=86_400)
    """A camera that saw nobody for so long is looked at less often."""

    idle_fps: float = Field(default=5.0, ge=0.5, le=10)
    """How often then, the whole frame each time; somebody who comes is found that much later, and a face that is seen
    for a shorter time than between two looks may be missed."""

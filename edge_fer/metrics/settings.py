"""Where the metrics are."""

from __future__ import annotations

import ipaddress

from pydantic import Field, field_validator

from edge_fer.toml import Settings


class MetricsSettings(Settings):
    """`[metrics]`: text for Prometheus over HTTP."""

    port: int | None = Field(default=None, ge=1, le=65535)
    """Where http://HOST:PORT/metrics is; nothing listens without it."""

    host: str = "127.0.0.1"
    """IP address that it listens at. There is neither a password nor encryption: beyond this machine, put a proxy with
    both before it."""

    @field_validator("host")
    @classmethod
    def _is_an_address(cls, host: str) -> str:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(f"found {host!r}; right is an IP address of this machine, such as 127.0.0.1") from None
        return host

"""HOST, as a user gives it: which machine to deploy to, as whom, at which port."""

from __future__ import annotations

import re
from typing import NamedTuple

from edge_fer.errors import UsageError

_HOST = re.compile(
    r"(?:(?P<user>[^@\s:/]+)@)?(?P<address>\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[\w][\w.-]*)(?::(?P<port>\d{1,5}))?"
)

RIGHT = "HOST=[user@]address[:port], an IPv6 address in brackets"


class Target(NamedTuple):
    """A machine that ssh can reach; what is None is left to ssh and its configuration."""

    address: str  # without brackets
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{user}{address}" + (f":{self.port}" if self.port else "")

    @property
    def login(self) -> str:
        """What ssh takes as its destination."""
        return f"{self.user}@{self.address}" if self.user else self.address

    @property
    def rsync_login(self) -> str:
        """The same for rsync, whose paths begin after a colon."""
        return self.login.replace(self.address, f"[{self.address}]") if ":" in self.address else self.login


def parse_target(text: str) -> Target:
    """A target. UsageError where the text is none: one with a hyphen in front would be an option of ssh."""
    if not text:
        raise UsageError(f"no host: give {RIGHT}")
    found = _HOST.fullmatch(text)
    if found is None or text.startswith("-") or (found["user"] or "").startswith("-"):
        raise UsageError(f"{text!r} is no host: give {RIGHT}")
    port = int(found["port"]) if found["port"] else None
    if port is not None and not 1 <= port <= 65535:  # noqa: PLR2004 - of TCP
        raise UsageError(f"{text!r}: port {port} does not exist; give {RIGHT}")
    return Target(found["address"].strip("[]"), found["user"], port)

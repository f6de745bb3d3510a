"""What every command works with."""

from typing import Callable

from deploy.release.host import Host
from deploy.release.layout import Layout
from deploy.release.systemd import Systemd
from deploy.release.told import Told

Checkpoint = Callable[[str], None]


def _on(_: str) -> None:
    """Go on."""


class Work:
    """A board, and how to tell of what is done to it."""

    def __init__(self, layout: Layout, host: Host, told: Told, checkpoint: Checkpoint = _on) -> None:
        """`checkpoint` is called with a name between any two steps that change something: where a kill may come."""
        self.layout, self.host, self.told, self.checkpoint = layout, host, told, checkpoint
        self.systemd = Systemd(host)

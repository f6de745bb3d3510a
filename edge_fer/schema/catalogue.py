"""What travels on which channel: the list that schemas, AsyncAPI document and samples are made from."""

from __future__ import annotations

import re
from typing import NamedTuple

from edge_fer.channels import ALERT_EVENTS, CHANNELS, COMMAND, STATUS, Channel
from edge_fer.events import Alert
from edge_fer.messages import CHANNEL_OF
from edge_fer.remote.requests import BODIES

REQUESTS: dict[str, type] = {str(command): body for command, body in BODIES.items()}
"""Command -> the type of its request."""

_PAYLOAD_ON: dict[Channel, type] = {
    **{channel: payload for payload, channel in CHANNEL_OF.items()},
    ALERT_EVENTS: Alert,
}


class Entry(NamedTuple):
    """One kind of message."""

    name: str  # as files and `--channel` have it
    channel: Channel
    payload: type | None  # None: plain text, see STATUS
    command: str = ""  # of a request


def channel_name(channel: Channel) -> str:
    """The topic without its parameters: `camera-events`."""
    return re.sub(r"/?\{\w+\}", "", channel.topic).replace("/", "-")


def catalogue() -> dict[str, Entry]:
    """Every kind of message by its name, in the order of the channels; requests are named `cmd-<command>`."""
    entries: list[Entry] = []
    for channel in CHANNELS:
        name = channel_name(channel)
        if channel is COMMAND:
            entries += [Entry(f"{name}-{command}", channel, payload, command) for command, payload in REQUESTS.items()]
        else:
            entries.append(Entry(name, channel, None if channel is STATUS else _PAYLOAD_ON[channel]))
    return {entry.name: entry for entry in entries}

"""Where messages go besides the broker: the standard output, or several places at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TextIO

from edge_fer.errors import UnavailableError
from edge_fer.events import rfc3339
from edge_fer.messages import Message, Publisher


class EventPrinter:
    """Writes events as JSON lines; states and telemetry are left to the broker."""

    def __init__(self, out: TextIO, on_closed: Callable[[], None]) -> None:
        """`on_closed` is called once when nobody reads any more, as in `edge-fer run ... --print | head -1`."""
        self._out, self._on_closed = out, on_closed
        self._open = True

    def publish(self, message: Message) -> None:
        """Write the message if it is an event."""
        if not (self._open and message.tells_expression):
            return
        line = message.sent(rfc3339(time.time_ns()), replayed=False).to_json().decode()
        try:
            self._out.write(line + "\n")
            self._out.flush()
        except BrokenPipeError:
            self._open = False
            self._on_closed()
        except OSError as err:
            raise UnavailableError(f"standard output: events cannot be written ({err.strerror})") from err


class EveryPublisher:
    """Hands each message to all of several publishers, in order."""

    def __init__(self, publishers: Sequence[Publisher]) -> None:
        self._publishers = publishers

    def publish(self, message: Message) -> None:
        """Hand it on."""
        for publisher in self._publishers:
            publisher.publish(message)

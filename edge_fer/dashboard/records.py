"""Messages as JSON lines, for scripts."""

from __future__ import annotations

import json
from typing import Any

from edge_fer.channels import BASE
from edge_fer.dashboard.mailbox import Received
from edge_fer.dashboard.payload import read_json
from edge_fer.events import rfc3339


def record(received: Received) -> str:
    """One line of ASCII: `payload` is the JSON that came, text where it is none, null where nothing came.

    What is not valid UTF-8 is told by U+FFFD in the text.
    """
    unix_ns, incoming = received
    _, _, below = incoming.topic.partition(f"{BASE}/")
    node, _, topic = below.partition("/")
    line = {
        "received_at": rfc3339(unix_ns),
        "node": node,
        "topic": topic,
        "retained": incoming.retained,
    }
    try:
        return _line({**line, "payload": _payload(incoming.payload)})
    except RecursionError:  # it could be read just so, but is nested too deeply to be written again
        return _line({**line, "payload": _text(incoming.payload)})


def _line(keys: dict[str, Any]) -> str:
    # All that is not ASCII is escaped, so no name and no text can steer a terminal.
    return json.dumps(keys, separators=(",", ":"), allow_nan=False).replace("\x7f", "\\u007f")


def _payload(payload: bytes) -> Any:  # noqa: ANN401 - JSON is any of its kinds
    if not payload:
        return None
    try:
        return read_json(payload)
    except ValueError:
        return _text(payload)


def _text(payload: bytes) -> str:
    return payload.decode("utf-8", "replace")

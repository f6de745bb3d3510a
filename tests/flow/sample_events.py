"""The events of the sample clip, and the command that writes the golden list: python tests/flow/sample_events.py"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from edge_fer.config import load_config
from edge_fer.messages import Message
from edge_fer.service import running

GOLDEN = Path(__file__).with_name("sample_events.json")
KEPT = ("seq", "type", "track", "expression", "clip_ms", "box", "reason")


class Collector:
    def __init__(self) -> None:
        self.messages: list[Message] = []

    def publish(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [dict(message.body) for message in self.messages if message.tells_expression]


def play(uri: str = "sample:", **tables: Any) -> Collector:
    """The whole daemon on a clip, but without a broker."""
    collector = Collector()
    config = load_config(None, {"node": "lab", "camera": {"front": {"uri": uri}}, **tables})
    with running(config, [collector]) as daemon:
        daemon.run(threading.Event())
    return collector


if __name__ == "__main__":
    golden = [{key: event[key] for key in KEPT} for event in play().events]
    GOLDEN.write_text("[\n" + ",\n".join(json.dumps(event) for event in golden) + "\n]\n")

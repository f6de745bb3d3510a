"""What a session does while it may not send yet, on a connection that only counts."""

from __future__ import annotations

import socket

from realbrokers import NODE, event, state

from edge_fer.envelope import envelope
from edge_fer.mqtt.control import Control, Patience
from edge_fer.mqtt.guard import Guard
from edge_fer.mqtt.problems import Problems
from edge_fer.mqtt.session import Served, Session
from edge_fer.outbox.outbox import Outbox


class Counting:
    """A connection that ends when it is waited for the first time."""

    is_mqtt5 = True
    window = 20
    largest_packet = 1_000_000
    garbled = False

    def __init__(self) -> None:
        self.end = ""
        self.told = None
        self.listener: object = None
        self.timeouts_s: list[float] = []

    def step(self, _waker: socket.socket, timeout_s: float) -> None:
        self.timeouts_s.append(timeout_s)
        self.end = "lost"

    def publish(self, _where: str, _payload: bytes, **_more: object) -> int:
        return 1

    def subscribe(self, _where: str, **_more: object) -> int:
        return 1


def test_while_others_may_object_what_waits_to_be_sent_keeps_no_core_busy() -> None:
    outbox, control, link = Outbox(), Control(), Counting()
    outbox.put(state("happiness"))
    outbox.put(event(1))
    guard = Guard(NODE, "boot", host="attic", uptime_s=lambda: 1.0)
    problems = Problems("mqtt://broker", lambda: "")
    served = Served(NODE, "boot", outbox, guard, problems, {}, Patience(), control, envelope("plain"))
    Session(link, served).serve(first=True)  # type: ignore[arg-type]
    assert outbox.next_in_s() == 0  # it could go at once
    assert len(link.timeouts_s) == 1
    assert link.timeouts_s[0] > 0.5  # it is waited for, not asked again and again
    control.close()

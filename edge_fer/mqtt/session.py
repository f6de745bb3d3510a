"""What happens on one connection, from its first claim to its goodbye."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_fer.channels import CLAIM, COMMAND, STATUS, topic
from edge_fer.events import Claim
from edge_fer.messages import Message, message
from edge_fer.mqtt.connecting import boot_property
from edge_fer.mqtt.control import Control, Patience
from edge_fer.mqtt.guard import Guard
from edge_fer.mqtt.incoming import Handler, Incoming
from edge_fer.mqtt.link import Link
from edge_fer.mqtt.problems import LOGIN, QUOTA, REFUSED, TLS, TOO_LARGE, Problems
from edge_fer.outbox.outbox import Outbox, Sent
from edge_fer.outbox.rows import WaitingEvent

log = logging.getLogger(__name__)

ONLINE, OFFLINE = b"online", b"offline"

# Sending these again would be refused again.
_INCURABLE = {"Packet too large": TOO_LARGE, "Payload format invalid": REFUSED, "Topic name invalid": REFUSED}
_NEVER_S = float("inf")


@dataclass(frozen=True)
class Served:
    """What all connections of a publisher have in common."""

    node: str
    boot_id: str
    outbox: Outbox
    guard: Guard
    problems: Problems
    subscriptions: Mapping[str, Handler]
    patience: Patience
    control: Control
    envelope: Callable[[Message], Message]


class _OnTheWay(NamedTuple):
    topic: str
    passing: bool = False  # nobody tries it again
    id: str = ""
    size: int = 0


class Session:
    """Serves one accepted connection. Used by the thread of the connection only."""

    def __init__(self, link: Link, served: Served) -> None:
        self._link, self._served = link, served
        self._outbox, self._guard, self._problems = served.outbox, served.guard, served.problems
        self._patience, self._control = served.patience, served.control
        self._status_topic, self._claim_topic = topic(STATUS, served.node), topic(CLAIM, served.node)
        self._began_s = time.monotonic()
        self._asked: dict[int, str] = {}  # subscriptions without an answer yet, by message id
        self._on_the_way: dict[int, _OnTheWay] = {}  # by message id, in the order of sending
        self._holds: dict[str, tuple[float, float]] = {}  # by topic: until when, for how long
        self._online_s = _NEVER_S  # when `online` was published last
        self._online_again_s = _NEVER_S  # when it must be published again
        self._unsent = 0
        self.claimed = False  # whether others had the time to object
        self.finished = False  # whether all was delivered, and the goodbye said
        link.listener = self

    def serve(self, *, first: bool) -> None:
        """Send what there is to send until the connection ends, this instance must leave, or stop() and all is sent.

        On the `first` connection of this process, nothing is published before others could object to its claim.
        """
        self._problems.forget_passing()
        self._outbox.opened()  # so that what is decided while others may object does not count as late
        try:
            self._subscribe(self._claim_topic)
            self._publish_claim(self._guard.claim())
            if first:
                self._await_objection()
            if not self._guard.fatal and not self._link.end:
                self.claimed = True
                self._work()
        finally:
            self._give_up_what_breaks_connections()
            self._outbox.closed()
        if self._guard.fatal:
            # The status belongs to the other one: nothing is said of it, and the last will is taken back.
            self._disconnect()

    def acknowledged(self, message_id: int, code: ReasonCode) -> None:
        """See Listener."""
        where, passing, _, _ = self._on_the_way.pop(message_id, _OnTheWay(""))
        reason = str(code)
        if not code.is_failure:
            self._outbox.acknowledged(message_id)
            self._holds.pop(where, None)
            self._problems.accept(where)
        elif where and (problem := _INCURABLE.get(reason)):
            sent = self._outbox.acknowledged(message_id)
            self._problems.lost_events += bool(sent and sent.event)
            self._problems.refuse(problem, where, reason, passing=passing)
        elif where:
            if passing:
                self._outbox.acknowledged(message_id)
            else:
                self._hold(message_id, where)
            self._problems.refuse(QUOTA if reason == "Quota exceeded" else REFUSED, where, reason, passing=passing)

    def granted(self, message_id: int, codes: Sequence[ReasonCode]) -> None:
        """See Listener."""
        where = self._asked.pop(message_id, None)
        if where is not None and (refusal := next((code for code in codes if code.is_failure), None)):
            self._problems.refuse(REFUSED, f"{where} (to be read)", str(refusal), passing=True)

    def received(self, message: Incoming) -> None:
        """See Listener."""
        if message.topic == self._claim_topic:
            if answer := self._guard.hear(message.payload, retained=message.retained):
                self._publish_claim(answer)
            while self._guard.notices:
                log.warning("%s", self._guard.notices.pop())
        elif message.topic == self._status_topic and message.payload == OFFLINE and self._online_s < _NEVER_S:
            # The last will of an earlier connection, which the broker only now found to be dead.
            due_s = max(time.monotonic(), self._online_s + self._patience.heal_s)
            self._online_again_s = min(self._online_again_s, due_s)
        for where, handler in self._served.subscriptions.items():
            if paho.topic_matches_sub(where, message.topic):
                _hand_over(message, handler)

    def _await_objection(self) -> None:
        until_s = time.monotonic() + self._patience.claim_s
        while not (self._link.end or self._guard.fatal or self._control.stopping.is_set()):
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return
            self._wait(left_s)

    def _work(self) -> None:
        self._send_status(ONLINE)
        # After `online`, so that what was retained before it does not come back as news.
        for where in dict.fromkeys((self._status_topic, *self._served.subscriptions)):
            self._subscribe(where)
        while not (self._link.end or self._guard.fatal):
            self._send_waiting()
            if self._control.stopping.is_set() and self._outbox.idle:
                self._say_goodbye()
                self.finished = True
                return
            now_s = time.monotonic()
            if now_s >= self._online_again_s:
                log.info("status was set to offline by an earlier connection of this node; online again")
                self._send_status(ONLINE)
            if now_s - self._began_s > self._patience.told_s:
                self._problems.cure(LOGIN, TLS)
            if now_s - self._began_s > self._patience.retry_max_s:
                self._problems.cure(REFUSED, QUOTA, TOO_LARGE)  # this connection was not closed because of them
            self._step(self._online_again_s - now_s)

    def _say_goodbye(self) -> None:
        self._send_status(OFFLINE)
        while not (self._link.end or self._outbox.idle or self._guard.fatal):
            self._step()
            self._send_waiting()  # what is taken back, because it has only now arrived
        if not self._guard.fatal:
            self._disconnect()

    def _disconnect(self) -> None:
        if not self._link.end:
            self._link.disconnect()
        while not self._link.end:
            self._wait()

    def _step(self, longest_s: float = _NEVER_S) -> None:
        """Until there is something to read or to send."""
        self._wait(min(longest_s, self._outbox.next_in_s()))

    def _wait(self, longest_s: float = _NEVER_S) -> None:
        """Until there is something to read: while nothing may be sent, what waits would keep a core busy."""
        left_s = self._control.left_s
        if left_s <= 0:
            self._link.abandon("stopped")
        else:
            # A second at most, because paho looks after the keep-alive only when it is called.
            self._link.step(self._control.socket, min(1.0, left_s, longest_s))

    def _send_waiting(self) -> None:
        while not self._link.end and (what := self._outbox.next(self._link.window)):
            self._send(*what)

    def _send(self, message: Message, event: WaitingEvent | None) -> None:
        message = self._served.envelope(message)
        payload = message.to_json()
        properties = _properties(message) if self._link.is_mqtt5 else None
        size = _packet_bytes(message.topic, payload, properties)
        sent = Sent(message.topic, event)
        if size > self._link.largest_packet:
            if message.qos:
                # For the outbox it was sent and taken: waiting would not make it smaller. paho's ids are positive.
                self._unsent -= 1
                self._outbox.sent(self._unsent, sent)
                self._outbox.acknowledged(self._unsent)
            self._problems.lost_events += event is not None
            self._problems.refuse(TOO_LARGE, message.topic, f"{size} bytes, at most {self._link.largest_packet}")
            return
        number = self._link.publish(
            message.topic, payload, qos=message.qos, retain=message.retain, properties=properties
        )
        if message.qos:
            self._outbox.sent(number, sent)
            is_live, name = message.kept == "live", str(message.body.get("id", ""))
            self._on_the_way[number] = _OnTheWay(message.topic, is_live, name, size)

    def _send_status(self, status: bytes) -> None:
        is_online = status == ONLINE
        self._online_s = time.monotonic() if is_online else _NEVER_S
        self._online_again_s = _NEVER_S
        properties = boot_property(self._served.boot_id, PacketTypes.PUBLISH) if self._link.is_mqtt5 else None
        number = self._link.publish(
            self._status_topic, status, qos=STATUS.qos, retain=STATUS.retain, properties=properties
        )
        self._outbox.sent(number, Sent(self._status_topic, None))
        self._on_the_way[number] = _OnTheWay(self._status_topic)

    def _publish_claim(self, claim: Claim) -> None:
        said = message(claim, self._served.node)
        properties = _properties(said) if self._link.is_mqtt5 else None
        number = self._link.publish(said.topic, said.to_json(), qos=said.qos, retain=said.retain, properties=properties)
        self._on_the_way[number] = _OnTheWay(said.topic, passing=True)

    def _subscribe(self, where: str) -> None:
        # A command that is retained must be known as such also when it arrives while this node is connected.
        is_command = where.startswith(topic(COMMAND, self._served.node))
        self._asked[self._link.subscribe(where, as_published=is_command)] = where

    def _give_up_what_breaks_connections(self) -> None:
        """A message whose refusal cannot be read would end every connection, and hold up all others for ever.

        mosquitto up to at least 2.0.11 answers what is above its message_size_limit with a reason code that MQTT has
        not for that packet, and paho then closes. Brokers answer in order (MQTT-4.6.0-2), so it is the oldest that has
        no answer; at the second time it counts as refused.
        """
        if not self._link.garbled or not self._on_the_way:
            return
        number, suspect = next(iter(self._on_the_way.items()))
        if self._problems.suspect(f"{suspect.topic} {suspect.id}"):
            sent = self._outbox.acknowledged(number)
            self._problems.lost_events += bool(sent and sent.event)
            self._problems.refuse(TOO_LARGE, suspect.topic, f"{suspect.size} bytes, and a wrong answer to it")

    def _hold(self, message_id: int, where: str) -> None:
        """The broker refuses it, but may not for ever: keep it, and try again later, while other topics go on."""
        now_s = time.monotonic()
        until_s, hold_s = self._holds.get(where, (0.0, 0.0))
        if now_s >= until_s:  # those that were on their way together count once
            hold_s = min(self._patience.hold_max_s, max(self._patience.hold_min_s, 2 * hold_s))
            until_s = now_s + hold_s
            self._holds[where] = (until_s, hold_s)
        self._outbox.returned(message_id, until_s - now_s)
        if where == self._status_topic and self._online_s < _NEVER_S:
            self._online_again_s = until_s


def _hand_over(message: Incoming, handler: Callable[[Incoming], None]) -> None:
    try:
        handler(message)
    except Exception as err:  # noqa: BLE001 - somebody's message must not end the thread that delivers all others
        # Its text may hold what was received.
        log.error("message on %s was not handled: %s", message.topic, type(err).__name__)  # noqa: TRY400


def _properties(message: Message) -> Properties | None:
    """Of MQTT 5."""
    if message.expiry_s is None and message.correlation is None and message.content_type is None:
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if message.expiry_s is not None:
        properties.MessageExpiryInterval = message.expiry_s
    if message.correlation is not None:
        properties.CorrelationData = message.correlation
    if message.content_type is not None:
        properties.ContentType = message.content_type
    return properties


def _packet_bytes(where: str, payload: bytes, properties: Properties | None) -> int:
    """Of a PUBLISH at most: header and length 5, length of the topic 2, id 2, properties with their length."""
    packed = len(properties.pack()) if properties else 1  # type: ignore[no-untyped-call]
    return 9 + len(where.encode()) + packed + len(payload)

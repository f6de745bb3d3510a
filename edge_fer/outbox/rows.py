"""What the database keeps: events on their way to a row and back, and what one transaction changes."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from edge_fer.messages import Message
from edge_fer.outbox.open_tracks import OpenTrack, TrackKey


@dataclass(slots=True, eq=False)
class WaitingEvent:
    """An event that the broker has not acknowledged."""

    message: Message
    number: int  # of the order in which they were decided
    size: int  # bytes of topic and body
    put_ns: int  # of the wall clock
    late: bool  # it met a time without connection, or a restart: it is history when it arrives
    stored: bool = False  # it is safe on disk
    kept_back: bool = False  # the broker refused it at first


class Rows(NamedTuple):
    """What is kept of a topic."""

    events: int
    size: int
    oldest_ns: int


@dataclass(frozen=True, slots=True)
class Contents:
    """What was found in the file."""

    topics: Mapping[str, Rows] = field(default_factory=dict)
    last_number: int = 0
    open_tracks: tuple[OpenTrack, ...] = ()
    losses: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Changes:
    """What one transaction writes. Written twice it is the same as once."""

    events: Sequence[WaitingEvent] = ()
    removed: Collection[int] = ()  # numbers of events
    tracks: Mapping[TrackKey, Mapping[str, Any] | None] = field(default_factory=dict)
    still_open: Collection[str] = ()  # boots whose open tracks are known to be open now
    losses: Mapping[str, int] = field(default_factory=dict)  # in all, by reason


class Loaded(NamedTuple):
    """Events of a topic, oldest first."""

    events: list[WaitingEvent]
    damaged: list[tuple[int, int]]  # number and size of those that are not what was written


def event_of(message: Message, number: int, put_ns: int, *, late: bool) -> WaitingEvent:
    """A message that is to be kept."""
    return WaitingEvent(message, number, len(message.topic.encode()) + len(message.to_json()), put_ns, late)


def event_row(event: WaitingEvent, shift_ns: int) -> tuple[object, ...]:
    """In the order of the table; `shift_ns` is what the wall clock was found to be wrong by when it was put."""
    message, body = event.message, event.message.to_json()
    crc = _crc(message.topic, body)
    return (
        *(event.number, message.topic, message.qos, message.retain, message.expiry_s),
        *(event.put_ns + shift_ns, event.size, crc, body),
    )


def event_from(
    topic: str, number: int, qos: int, retain: int, expiry_s: int | None, put_ns: int, size: int, crc: int, body: bytes
) -> WaitingEvent | None:
    """Of a row; None for anything but what was written: a bit that a card has lost must not be published."""
    if not isinstance(body, bytes) or crc != _crc(topic, body):
        return None
    message = Message(topic, qos, bool(retain), json.loads(body), "every", expiry_s)
    return WaitingEvent(message, number, size, put_ns, late=False, stored=True)


def _crc(topic: str, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(topic.encode()))

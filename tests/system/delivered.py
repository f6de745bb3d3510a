"""What a careful subscriber keeps of the events, and what must be true of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties


class CarefulSubscriber:
    """Has a session (clean start off, QoS 1) at the broker, comes back by itself, and keeps every event."""

    def __init__(self, port: int, topic: str = "edge-fer/#", name: str = "store") -> None:
        self._port, self._topic = port, topic
        self._lock = threading.Lock()
        self._got: list[tuple[str, dict[str, Any]]] = []
        self.connected = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_connect = lambda *_: self._client.subscribe(self._topic, 1)
        self._client.on_subscribe = lambda *_: self.connected.set()
        self._client.on_disconnect = lambda *_: self.connected.clear()
        self._client.on_message = self._keep
        self._client.reconnect_delay_set(1, 1)
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 7 * 24 * 3600
        self._client.connect("127.0.0.1", port, clean_start=False, properties=session)
        self._client.loop_start()

    def _keep(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        if message.topic.endswith("/events"):
            with self._lock:
                self._got.append((message.topic, json.loads(message.payload)))

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """All of them as they came, with their topics; repetitions too."""
        with self._lock:
            return list(self._got)

    def ids(self) -> set[str]:
        with self._lock:
            return {body["id"] for _, body in self._got}

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def first_times(events: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """By topic, in the order in which each id was heard first."""
    seen: set[str] = set()
    by_topic: dict[str, list[dict[str, Any]]] = {}
    for topic, body in events:
        if body["id"] not in seen:
            seen.add(body["id"])
            by_topic.setdefault(topic, []).append(body)
    return by_topic


def same_when_repeated(events: Iterable[tuple[str, dict[str, Any]]]) -> bool:
    """Whether what came again is the same event: all but when it was published and whether it waited."""
    kept: dict[str, dict[str, Any]] = {}
    for _, body in events:
        told = {key: value for key, value in body.items() if key not in ("published_at", "replayed")}
        if kept.setdefault(body["id"], told) != told:
            return False
    return True

"""A broker of MQTT 5 (or 3.1.1) that answers as it is told: for what no real one can be made to say."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass
class ScriptedBroker:
    """Serves one client after another; `puback` gives the reason code for each topic and payload."""

    puback: Callable[[str, bytes], int] = lambda _topic, _payload: 0
    suback: Callable[[str], int] = lambda _topic: 1
    connack: Callable[[bytes], bytes] = lambda _packet: bytes([0x20, 3, 0, 0, 0])
    """Of the body of CONNECT."""

    taken: list[tuple[str, bytes]] = field(default_factory=list)
    connects: list[bytes] = field(default_factory=list)
    goodbyes: int = 0
    port: int = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[ScriptedBroker]:
        self._ending = threading.Event()
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port = server.getsockname()[1]
            thread = threading.Thread(target=self._accept, args=(server,))
            thread.start()
            try:
                yield self
            finally:
                self._ending.set()
                socket.create_connection(server.getsockname()).close()
                thread.join()

    def _accept(self, server: socket.socket) -> None:
        while not self._ending.is_set():
            client, _address = server.accept()
            client.settimeout(0.2)
            with client, contextlib.suppress(ConnectionError):  # it may go in the middle of an answer
                self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        while (packet := self._packet(client)) is not None:
            kind, body = packet
            if kind == 0x10:
                self.connects.append(body)
                self._is_5 = body[6] == 5
                client.sendall(self.connack(body))
            elif kind == 0x30:
                self._published(client, packet_flags=self._flags, body=body)
            elif kind == 0x80:
                start = 5 if self._is_5 else 4  # behind the properties
                length = int.from_bytes(body[start - 2 : start], "big")
                code = self.suback(body[start : start + length].decode())
                client.sendall(self._answer(0x90, body[:2], bytes([0, code]) if self._is_5 else bytes([code])))
            elif kind == 0xC0:
                client.sendall(bytes([0xD0, 0]))
            elif kind == 0xE0:
                self.goodbyes += 1

    def _published(self, client: socket.socket, packet_flags: int, body: bytes) -> None:
        length = int.from_bytes(body[:2], "big")
        topic, rest = body[2 : 2 + length].decode(), body[2 + length :]
        qos = packet_flags >> 1 & 3
        number, rest = (rest[:2], rest[2:]) if qos else (b"", rest)
        payload = rest[1 + rest[0] :] if self._is_5 else rest  # properties here are shorter than 128 bytes
        code = self.puback(topic, payload)
        if code < 0x80:
            self.taken.append((topic, payload))
        if qos:
            client.sendall(self._answer(0x40, number, bytes([code, 0]) if self._is_5 else b""))

    def _answer(self, kind: int, number: bytes, more: bytes) -> bytes:
        return bytes([kind, len(number) + len(more)]) + number + more

    def _packet(self, client: socket.socket) -> tuple[int, bytes] | None:
        head = self._read(client, 1)
        if not head:
            return None
        self._flags = head[0] & 0x0F
        size = shift = 0
        while True:
            digit = self._read(client, 1)
            if not digit:
                return None
            size |= (digit[0] & 0x7F) << shift
            shift += 7
            if digit[0] < 0x80:
                break
        body = self._read(client, size)
        return None if body is None else (head[0] & 0xF0, body)

    def _read(self, client: socket.socket, size: int) -> bytes | None:
        """None at the end."""
        read = b""
        while len(read) < size:
            try:
                more = client.recv(size - len(read))
            except TimeoutError:
                if self._ending.is_set():
                    return None
                continue
            except OSError:
                return None
            if not more:
                return None
            read += more
        return read

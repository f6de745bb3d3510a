"""What systemd is to a service: the socket that it tells how it goes."""

from __future__ import annotations

import socket
import time
from contextlib import suppress


class Manager:
    """The end of a service manager: a real datagram socket."""

    def __init__(self, address: str) -> None:
        """`address` as in $NOTIFY_SOCKET."""
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1))
        self._socket.settimeout(0)

    def messages(self) -> list[str]:
        """Those that wait."""
        found = []
        with suppress(BlockingIOError):
            while True:
                found.append(self._socket.recv(65536).decode())
        return found

    def lines(self) -> list[str]:
        """Their lines."""
        return [line for message in self.messages() for line in message.splitlines()]

    def wait_for(self, line: str, timeout_s: float = 120) -> list[str]:
        """The messages up to the one with this line."""
        found: list[str] = []
        until_s = time.monotonic() + timeout_s
        while not any(line in message.splitlines() for message in found):
            assert time.monotonic() < until_s, f"no {line}, but {found}"
            found += self.messages()
            time.sleep(0.01)
        return found

    def close(self) -> None:
        """Nobody listens any more."""
        self._socket.close()

"""Tells a child process an RTSP address that must not stand among its words: it is sent on from a port on loopback.

For ffmpeg before 5.0, whose playlists cannot choose TCP. Only a process of the same user is told the address, once.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
from pathlib import Path

VISIT_S = 10.0
"""How long the visitor is waited for, and its request."""

MAX_REQUEST_BYTES = 4096
CONNECTED = "01"
_PORT, _STATE, _UID = 1, 3, 7  # columns of /proc/net/tcp


class Redirect:
    """A port on loopback that answers its first visitor with `302` and the address, and is then closed."""

    def __init__(self, url: str) -> None:
        self._answer = f"RTSP/1.0 302 Found\r\nCSeq: {{}}\r\nLocation: {url}\r\n\r\n"
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self._listener.settimeout(VISIT_S)
        self._port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, name="rtsp-redirect", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """What the child is told to open."""
        return f"rtsp://127.0.0.1:{self._port}/"

    def close(self) -> None:
        """Wait no longer for a visitor."""
        with contextlib.suppress(OSError):  # it has come and gone
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _serve(self) -> None:
        # Whatever goes wrong here, the child finds no camera and says so.
        with self._listener, contextlib.suppress(OSError):
            visitor, (_, port) = self._listener.accept()
            with visitor:
                visitor.settimeout(VISIT_S)
                if not is_own_connection(port, self._port):
                    return
                request = b""
                while b"\r\n\r\n" not in request and len(request) < MAX_REQUEST_BYTES:
                    if not (part := visitor.recv(MAX_REQUEST_BYTES)):
                        return
                    request += part
                number = re.search(rb"CSeq: *(\d+)", request, re.IGNORECASE)
                visitor.sendall(self._answer.format(int(number[1]) if number else 1).encode())


def is_own_connection(from_port: int, to_port: int, proc_root: Path = Path("/proc")) -> bool:
    """Whether the connection between two ports of loopback was opened by a process of this user."""
    ends = f"0100007F:{from_port:04X}", f"0100007F:{to_port:04X}"
    for line in (proc_root / "net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if tuple(words[_PORT:_STATE]) == ends and words[_STATE] == CONNECTED:
            return int(words[_UID]) == os.geteuid()
    return False

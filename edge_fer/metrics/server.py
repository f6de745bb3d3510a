"""Answers Prometheus."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import socketserver
import sys
import threading
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from edge_fer.errors import UnavailableError

log = logging.getLogger(__name__)

CLIENTS_MAX = 8
"""Served at once; more are turned away."""

SILENCE_S = 10.0
"""A client that says nothing for so long is hung up on."""


class MetricsServer:
    """HTTP in threads of its own: whoever asks never waits for the daemon, nor the daemon for whoever asks."""

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        """Listens at once; UnavailableError names the address that it cannot listen at. Port 0 takes a free one."""
        try:
            self._server = _Server(host, port)
        except OSError as err:
            reason = os.strerror(err.errno) if err.errno else str(err)
            raise UnavailableError(
                f"metrics: nothing can listen at {host}, port {port} ({reason}): stop what listens there, or give "
                "another metrics.port or metrics.host"
            ) from err
        self._server.set_app(make_wsgi_app(registry, disable_compression=True))
        if not ipaddress.ip_address(host).is_loopback:
            log.warning("metrics: everyone who reaches %s can read them, without a password", host)
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Stop listening; those who are being answered are not waited for."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(WSGIRequestHandler):
    timeout = SILENCE_S

    def log_message(self, *_: object) -> None:
        """Requests are no news."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._free = threading.BoundedSemaphore(CLIENTS_MAX)
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # Not that of HTTPServer, which asks a name server for the name of the address, for as long as that takes.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as socketserver has it
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, _request: object, client_address: object) -> None:
        # Clients that hang up early are no news either.
        log.debug("metrics: the answer to %s failed", client_address, exc_info=sys.exc_info())

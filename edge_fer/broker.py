"""An MQTT broker on loopback for the first run: in a thread, or as a process (`python -m edge_fer.broker`)."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import signal
import sys
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import click

from edge_fer.errors import EdgeFerError, UnavailableError

if TYPE_CHECKING:
    from types import FrameType

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
STOP_S = 1.0
"""What amqtt gets to stop by itself; then its tasks are cancelled."""

CONNECT_S = 10.0
"""How long a client may take to say CONNECT."""

_GOODBYE_S = 0.1
"""What amqtt gets to deal with a DISCONNECT before it learns that the connection has ended."""

_REFUSE_VERSION = bytes([0x20, 2, 0, 1])  # CONNACK of MQTT 3.1.1: unacceptable protocol version
_MQTT311_LEVEL = 4
_DISCONNECT = b"\xe0"
"""First byte of the packet, read alone; as a byte of a length it is followed by another too, and nothing is lost."""


class EmbeddedBroker:
    """amqtt on 127.0.0.1, open to every local client, MQTT 3.1.1 only; a context manager.

    UnavailableError where amqtt is not installed, or where the port is taken; with `fallback` (or port 0) another port
    is taken then, see `port`. Nothing is kept on disk.
    """

    def __init__(self, port: int = 1883, *, fallback: bool = False) -> None:
        self.port = port
        self._fallback = fallback
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """For clients on this machine."""
        return f"mqtt://{HOST}:{self.port}"

    def __enter__(self) -> EmbeddedBroker:  # noqa: PYI034 - Self needs Python 3.11
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when clients can connect."""
        if importlib.util.find_spec("amqtt") is None:
            raise UnavailableError("the embedded broker needs the package amqtt: pip install 'edge-fer[demo]'")
        # They report every packet, and at INFO every connection and change of state.
        for chatty in ("amqtt", "transitions"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        started: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="broker", daemon=True)
        self._thread.start()
        try:
            self.port = started.result()
        except ImportError as err:
            raise UnavailableError(f"amqtt is installed but does not import: {err}") from err
        except OSError as err:
            raise UnavailableError(
                f"port {self.port} of {HOST} cannot be used for the embedded broker ({os.strerror(err.errno or 0)}): "
                "stop what listens there, or give another port"
            ) from err

    def stop(self) -> None:
        """Close all connections and end the thread, within 2 s; does nothing where it does not run."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._loop is not None and self._stopping is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._stopping.set)
        thread.join(2 * STOP_S)

    def _run(self, started: Future[int]) -> None:
        try:
            asyncio.run(self._serve(started))
        except Exception as err:
            if started.done():
                raise
            started.set_exception(err)  # the caller of start() gets it

    async def _serve(self, started: Future[int]) -> None:
        from amqtt.broker import Broker

        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_exception_handler(_tell_quietly)
        # "external": amqtt opens no socket of its own, because it cannot tell which port it got.
        broker = Broker(
            {
                "listeners": {"default": {"type": "external"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
        await broker.start()

        writers: set[asyncio.StreamWriter] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.add(writer)
            await _welcome(broker, reader, writer)
            writers.discard(writer)

        try:
            server = await self._listen(connected)
            started.set_result(server.sockets[0].getsockname()[1])
            await self._stopping.wait()
            server.close()
        finally:
            await _shut_down(broker)
            # Closed while the loop still runs; CPython 3.13.0 complains of those that it finds open afterwards.
            for writer in writers:
                writer.close()
            await asyncio.sleep(_GOODBYE_S)

    async def _listen(self, connected: Any) -> asyncio.Server:  # noqa: ANN401 - the callback type of asyncio
        try:
            return await asyncio.start_server(connected, HOST, self.port)
        except OSError:
            if not self._fallback:
                raise
        return await asyncio.start_server(connected, HOST, 0)


class _Rereader:
    """What amqtt reads from: first what was read to look at it, then the stream."""

    def __init__(self, head: bytes, stream: asyncio.StreamReader, broker: Any) -> None:  # noqa: ANN401
        self._head, self._stream, self._broker = head, stream, broker
        self._goodbye = False

    async def read(self, n: int = -1) -> bytes:
        if n < 0:
            head, self._head = self._head, b""
            return head + await self._stream.read()
        head, self._head = self._head[:n], self._head[n:]
        # Not for nothing: a stream that was reset meanwhile raises even where no byte of it is wanted.
        read = head + await self._read_exactly(n - len(head)) if n > len(head) else head
        if read == _DISCONNECT:
            self._goodbye = True
            self._head += await self._stream.readexactly(1)  # now, while the client is still there
            await self._let_deliver()
        return read

    async def _read_exactly(self, n: int) -> bytes:
        try:
            return await self._stream.readexactly(n)
        except asyncio.IncompleteReadError:
            if self._goodbye:
                # An end at once after it makes amqtt forget the goodbye, and publish the last will.
                await asyncio.sleep(_GOODBYE_S)
            raise

    async def _let_deliver(self) -> None:
        """Hold a goodbye back: amqtt forgets what a client published, although acknowledged, once it has gone."""
        until_s = time.monotonic() + STOP_S
        while time.monotonic() < until_s and any(  # noqa: ASYNC110 - a queue of amqtt has no event for being empty
            not session.delivered_message_queue.empty()
            for session, _ in self._broker._sessions.values()  # noqa: SLF001 - amqtt is pinned to this minor version
        ):
            await asyncio.sleep(0.005)

    def feed_eof(self) -> None:
        self._stream.feed_eof()


async def _welcome(broker: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ANN401
    """Hand a client to amqtt, but refuse MQTT 5 here.

    amqtt takes the properties of an MQTT 5 CONNECT with a last will for lengths, and waits for ever for bytes that
    never come, without an answer.
    """
    from amqtt.adapters import StreamWriterAdapter

    try:
        head = await asyncio.wait_for(_read_head(reader), CONNECT_S)
        if head[-5:-1] == b"MQTT" and head[-1] > _MQTT311_LEVEL:
            writer.write(_REFUSE_VERSION)
            await writer.drain()
        else:
            await broker.external_connected(_Rereader(head, reader, broker), StreamWriterAdapter(writer), "default")
    except (OSError, EOFError, asyncio.TimeoutError) as err:
        log.debug("a client left before it was connected: %s", err)
    finally:
        writer.close()


async def _read_head(reader: asyncio.StreamReader) -> bytes:
    """CONNECT up to the protocol level: type, remaining length (1 to 4 bytes), name with its length, level."""
    head = await reader.readexactly(2)
    while head[-1] & 0x80 and len(head) < 5:  # noqa: PLR2004 - see above
        head += await reader.readexactly(1)
    return head + await reader.readexactly(7)


async def _shut_down(broker: Any) -> None:  # noqa: ANN401 - amqtt is optional
    # It warns of last wills that nobody is there to get any more.
    logging.getLogger("amqtt").setLevel(logging.ERROR)
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(broker.shutdown(), STOP_S)


def _tell_quietly(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Clients that vanish make amqtt raise in places where nobody catches; that is no news."""
    log.debug("broker: %s", context.get("message"), exc_info=context.get("exception"))


def _wait_for_end_of_input(stop: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while os.read(sys.stdin.fileno(), 1):
            pass
    stop.set()


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=1883, show_default=True, help="0: any free port.")
@click.option("--with-parent", is_flag=True, help="End with the standard input, so with who started it; not by Ctrl-C.")
def main(port: int, with_parent: bool) -> None:  # noqa: FBT001 - click passes options by name
    """A broker for a first try, on 127.0.0.1 only, until SIGTERM or Ctrl-C."""
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    # Ctrl-C in a terminal reaches all its processes; the parent still has to say goodbye to the broker.
    signal.signal(signal.SIGINT, signal.SIG_IGN if with_parent else handle)
    if with_parent:
        threading.Thread(target=_wait_for_end_of_input, args=(stop,), daemon=True).start()
    try:
        with EmbeddedBroker(port) as broker:
            click.echo(f"listening on {HOST}:{broker.port}")
            stop.wait()
    except EdgeFerError as err:
        click.echo(f"edge-fer: {err}", err=True)
        sys.exit(err.exit_code)


if __name__ == "__main__":
    main()

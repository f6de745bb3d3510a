"""One session of `edge-fer watch`: from the first connection to Ctrl-C."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import select
import signal
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal, TextIO

from edge_fer.dashboard.fleet import Fleet
from edge_fer.dashboard.lines import ChangeLines
from edge_fer.dashboard.mailbox import Mailbox, Received
from edge_fer.dashboard.records import record
from edge_fer.errors import EdgeFerError, UnavailableError
from edge_fer.login import BrokerAddress, Credentials
from edge_fer.mqtt.subscriber import Connection, Subscriber

if TYPE_CHECKING:
    from rich.console import Console

Output = Literal["screen", "lines", "json"]

REFRESH_S = 0.5
SHARE_OF_TIME = 0.25
"""How much of one core drawing may take; a fleet that costs more is drawn less often."""

NODES_DRAWN = 200
"""More than any terminal has lines."""


def watch(
    address: BrokerAddress,
    output: Output,
    *,
    nodes: Sequence[str] = (),
    credentials: Credentials = Credentials(),  # noqa: B008 - frozen
    tls: ssl.SSLContext | None = None,
    seconds: float | None = None,
) -> None:
    """Show what nodes publish on the standard output until Ctrl-C, SIGTERM, the time is over or nobody reads any more.

    The broker may be away for as long as it likes. UnavailableError where it refuses the login at first, where the
    time is over without a connection, and for a screen without rich.
    """
    if output == "screen" and importlib.util.find_spec("rich") is None:
        raise UnavailableError("the live view needs the package rich: pip install 'edge-fer[watch]', or use --json")
    with ExitStack() as stack:
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        # Raised in whatever goes on, so that a reader who does not read cannot hold it up.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        stack.callback(signal.signal, signal.SIGTERM, before)
        session = Session(address, seconds=seconds, tell=None if output == "screen" else _tell)
        subscriber = Subscriber(
            address,
            on_message=session.mailbox.put,
            on_change=session.on_change,
            nodes=nodes,
            credentials=credentials,
            tls=tls,
        )
        stack.callback(subscriber.stop)
        subscriber.start()
        session.is_fed = lambda: subscriber.alive
        if output == "screen":
            from rich.console import Console

            session.show_screen(Console())
        elif output == "json":
            session.show_json(sys.stdout)
        else:
            session.show_lines(sys.stdout)


def as_options(text: str) -> str:
    """With the keys of a configuration, which there is none of here, as what was typed."""
    text = re.sub(r"broker\.(ca|cert|key|password)_file", r"--\1-file", text)
    return text.replace("broker.url", "--broker")


def has_no_reader(out: TextIO) -> bool:
    """Whether it is a pipe that nobody reads any more; writing would tell, but there may be nothing to write."""
    try:
        number = out.fileno()
    except (OSError, ValueError):  # io.StringIO has none
        return False
    poll = select.poll()
    poll.register(number, 0)
    return any(happened & select.POLLERR for _, happened in poll.poll(0))


class Session:
    """What is received, and how it stands with the broker; mailbox and on_change are for a Subscriber's thread."""

    def __init__(
        self, address: BrokerAddress, *, seconds: float | None = None, tell: Callable[[str], None] | None = None
    ) -> None:
        """`tell` gets news about the connection where there is no screen that shows them."""
        self.mailbox = Mailbox()
        self.is_fed: Callable[[], bool] = lambda: True
        self._address, self._tell = address, tell
        self._until_s = float("inf") if seconds is None else time.monotonic() + seconds
        self._lock = threading.Lock()
        self._news: list[Connection] = []
        self._connection = Connection(connected=False, text="connecting ...")
        self._was_connected = False
        self._dropped = 0
        self._draw_at_s = 0.0

    def on_change(self, connection: Connection) -> None:
        """The connection to the broker changed."""
        with self._lock:
            self._news.append(connection._replace(text=as_options(connection.text)))
        self.mailbox.wake()

    def show_json(self, out: TextIO) -> None:
        """Each message as a JSON line."""
        self._write(out, lambda received: [record(received)])

    def show_lines(self, out: TextIO) -> None:
        """Each change as a line."""
        self._write(out, ChangeLines(Fleet()).take)

    def show_screen(self, console: Console) -> None:
        """A live picture."""
        from rich.live import Live

        from edge_fer.dashboard.screen import Screen

        fleet = Fleet()
        with Live(console=console, screen=True, auto_refresh=False) as live:
            for batch in self._batches(lambda: self._draw_at_s - time.monotonic()):
                for received in batch:
                    fleet.take(received.incoming, received.unix_ns)
                began_s = time.monotonic()
                if began_s >= self._draw_at_s:
                    now_ns = time.time_ns()
                    view = fleet.view(now_ns, NODES_DRAWN)
                    live.update(Screen(view, now_ns, broker=self._header, connected=self._well), refresh=True)
                    took_s = time.monotonic() - began_s
                    self._draw_at_s = began_s + max(REFRESH_S, took_s / SHARE_OF_TIME)

    @property
    def _well(self) -> bool:
        return self._connection.connected and not self._connection.refused

    @property
    def _header(self) -> str:
        dropped = f"; {self.mailbox.dropped} messages came too fast and are lost" if self.mailbox.dropped else ""
        return f"broker {self._address} {self._connection.text}{dropped}"

    def _write(self, out: TextIO, lines_of: Callable[[Received], Iterable[str]]) -> None:
        with contextlib.suppress(BrokenPipeError):
            for batch in self._batches(lambda: 1.0):
                if not batch and has_no_reader(out):
                    break
                for received in batch:
                    for line in lines_of(received):
                        out.write(f"{line}\n")
                        out.flush()

    def _batches(self, patience_s: Callable[[], float]) -> Iterator[list[Received]]:
        """What was received, over and over, until the time is over."""
        while (left_s := self._until_s - time.monotonic()) > 0:
            batch = self.mailbox.take(max(0.0, min(left_s, patience_s(), 1.0)))
            self._take_news()
            if not self.is_fed():
                raise EdgeFerError(
                    "the thread that receives has ended by itself: a fault of edge-fer, please report it"
                )
            yield batch
        if not self._was_connected:
            raise UnavailableError(f"broker {self._address} {self._connection.text}")

    def _take_news(self) -> None:
        with self._lock:
            news, self._news = self._news, []
        for connection in news:
            self._connection = connection
            # Later it may be the broker that is being set up anew; at first, waiting does not help.
            if connection.refused and not self._was_connected:
                raise UnavailableError(f"broker {self._address} {connection.text}")
            self._was_connected = self._was_connected or connection.connected
            if self._tell:
                self._tell(f"broker {self._address} {connection.text}")
        if self._tell and self.mailbox.dropped > self._dropped:
            self._dropped = self.mailbox.dropped
            self._tell(f"{self._dropped} messages came faster than they could be written, and are lost")


def _tell(text: str) -> None:
    print(f"edge-fer: {text}", file=sys.stderr)  # noqa: T201 - of a command, not of the daemon

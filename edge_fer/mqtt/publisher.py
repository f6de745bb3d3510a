"""A publisher that outlives its connections."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from edge_fer.envelope import EnvelopeKind
from edge_fer.envelope import envelope as envelope_of
from edge_fer.login import BrokerAddress, Login, TlsFiles
from edge_fer.messages import Message
from edge_fer.mqtt.connecting import Connector
from edge_fer.mqtt.control import Control, Patience
from edge_fer.mqtt.dialling import NAMES, NoConnectionError
from edge_fer.mqtt.guard import Guard
from edge_fer.mqtt.incoming import Handler
from edge_fer.mqtt.link import Link
from edge_fer.mqtt.problems import LOGIN, QUOTA, REFUSED, TLS, TOO_LARGE, UNREACHABLE, Problems
from edge_fer.mqtt.session import Served, Session
from edge_fer.outbox.outbox import Outbox

log = logging.getLogger(__name__)

_LOSS = "has taken nothing for so long that events are lost, the oldest first"
_NONE: Mapping[str, Handler] = MappingProxyType({})

# What a broker may say when it closes a connection, and the problem that it is.
_CLOSED = {
    "Not authorized": REFUSED,
    "Topic name invalid": REFUSED,
    "Payload format invalid": REFUSED,
    "Quota exceeded": QUOTA,
    "Message rate too high": QUOTA,
    "Packet too large": TOO_LARGE,
}


class MqttPublisher:
    """Publishes to a broker that may be away; one thread of its own does all network work.

    Events are kept in the outbox (where none is given, in memory) until acknowledged, and sent in order of their topic;
    of a state the newest is kept, and sent again at each connection; samples are lost without connection.
    MQTT 5, or 3.1.1 where the broker refuses 5, does not answer it or closes. What arrives on a topic of
    `subscriptions` goes to its handler (to each whose filter matches), from the thread of the publisher, as each change
    of the connection goes to `on_change` as text. ConfigError for files of `login` and `tls_files` that are of no use.
    """

    def __init__(
        self,
        address: BrokerAddress,
        *,
        node: str,
        boot_id: str,
        login: Login | None = None,
        tls_files: TlsFiles = TlsFiles(),  # noqa: B008 - frozen
        keepalive_s: int = 30,
        outbox: Outbox | None = None,
        subscriptions: Mapping[str, Handler] = _NONE,
        envelope: EnvelopeKind = "plain",
        on_change: Callable[[str], None] | None = None,
        patience: Patience | None = None,
        host: str | None = None,
        uptime_s: Callable[[], float] | None = None,
    ) -> None:
        """`subscriptions` may be filled until start().

        `host` and `uptime_s` are what another instance of this node is told; by default, of this process.
        """
        self._address = address
        self._on_change = on_change
        self._patience = patience or Patience()
        self._outbox = outbox or Outbox()
        self._control = Control()
        self._outbox.on_ready = self._control.wake
        self.on_connected: Callable[[], None] = _nobody
        """Called at each connection, before anything arrives; from the thread of the publisher."""
        self._connector = Connector(
            address,
            node=node,
            boot_id=boot_id,
            login=login or Login(address, environ={}),
            tls_files=tls_files,
            keepalive_s=keepalive_s,
            answer_s=self._patience.answer_s,
            control=self._control,
        )
        self._problems = Problems(str(address), lambda: self._connector.user)
        began_s = time.monotonic()
        self._guard = Guard(
            node,
            boot_id,
            host=host or socket.gethostname(),
            uptime_s=uptime_s or (lambda: time.monotonic() - began_s),
        )
        self._served = Served(
            node,
            boot_id,
            self._outbox,
            self._guard,
            self._problems,
            subscriptions,
            self._patience,
            self._control,
            envelope_of(envelope),
        )
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._without_since_s: float | None = began_s  # None while there is a connection
        self._has_claimed = False
        self._session: Session | None = None  # while there is a connection
        self._unreachable = ""  # why, at the last attempt
        self._reported: set[str] = set()
        self._known_dropped = 0

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted a connection that still lasts, and nobody objects to this node."""
        session = self._session
        return session is not None and session.claimed

    @property
    def why_not_connected(self) -> str:
        """For people; "" while there is a connection. Any thread."""
        if self.connected:
            return ""
        return "asks whether another daemon has this node" if self._session else self._unreachable or "connecting"

    @property
    def alive(self) -> bool:
        """Whether the thread runs; False after start() and before stop() means that it crashed."""
        return self._thread.is_alive()

    @property
    def fatal(self) -> str:
        """Why this instance must end, "" as long as it need not: another one holds this node. Nothing is sent then."""
        return self._guard.fatal

    @property
    def problems(self) -> Mapping[str, str]:
        """What keeps messages from the broker: code -> text for people. Any thread; a copy."""
        problems = self._problems.all()
        since_s = self._without_since_s
        away_s = 0.0 if since_s is None else time.monotonic() - since_s
        if away_s >= self._patience.unreachable_s and not problems.keys() & {LOGIN, TLS}:
            why = self._unreachable or "not connected"
            problems[UNREACHABLE] = f"broker {self._address} {why}; without a connection for {away_s:.0f} s"
        return problems

    @property
    def pending(self) -> int:
        """Events that the broker has not acknowledged yet."""
        return self._outbox.pending

    @property
    def acknowledged(self) -> int:
        """Events that the broker has acknowledged, or can never take."""
        return self._outbox.acknowledged_events

    @property
    def dropped(self) -> int:
        """Events that were lost: too many or too much waited, or for too long."""
        return self._outbox.dropped

    @property
    def refused(self) -> int:
        """Events that were thrown away because the broker can never take them: too large, or no valid message."""
        return self._problems.lost_events

    def start(self) -> None:
        """Connect, in the background, for as long as it takes; once."""
        self._without_since_s = time.monotonic()
        self._thread.start()

    def publish(self, message: Message) -> None:
        """Take over a message; any thread, never blocks."""
        self._outbox.put(message)
        known, self._known_dropped = self._known_dropped, self._outbox.dropped  # some are dropped a moment after a put
        if self._known_dropped > known and _LOSS not in self._reported:
            # Only logged: on_change belongs to the other thread, and may block.
            self._reported.add(_LOSS)
            log.warning("broker %s %s", self._address, _LOSS)
        self._control.wake()

    def take_back(self, message: Message) -> None:
        """Take over a message that takes a topic back, unless this run has a state of it; any thread."""
        self._outbox.take_back(message)
        self._control.wake()

    def refresh(self) -> None:
        """Publish every state again: somebody has forgotten them. Any thread."""
        self._outbox.refresh()
        self._control.wake()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Deliver what waits, then the status `offline`, then disconnect; returns within the timeout in any case.

        Without connection it tries once more if events wait. Where the timeout cuts it short, the connection is closed
        without a goodbye, so that the last will still says `offline`.
        """
        end_s = time.monotonic() + timeout_s
        self._control.stop(timeout_s * 0.9)  # the rest is for closing
        if self._thread.ident is not None:
            self._thread.join(max(0.0, end_s - time.monotonic()))
        if not self._thread.is_alive():
            self._control.close()
        if waiting := self.pending:
            what = "wait for the next start" if self._outbox.durable else "were not delivered"
            log.warning("broker %s: %d events %s", self._address, waiting, what)

    def _run(self) -> None:
        failures = 0
        try:
            while self._control.left_s > 0:
                is_last = self._control.stopping.is_set()
                if is_last and not self._outbox.pending:
                    return
                began_s = time.monotonic()
                link = self._connect()
                finished = link is not None and self._serve(link)
                if self._guard.fatal:
                    # Alive until stop(): whoever looks after threads must not take this for a crash.
                    self._control.stopping.wait()
                    return
                if is_last or finished:
                    return
                # A connection that breaks at once is as good as a failure.
                lasted = link is not None and time.monotonic() - began_s > self._patience.retry_max_s
                failures = 1 if lasted else failures + 1
                self._control.stopping.wait(self._patience.pause_s(failures))
        finally:
            self._control.close()

    def _connect(self) -> Link | None:
        """A connection that the broker has accepted; None, with the cause reported, where there is none."""
        try:
            link = self._connector.connect()
        except NoConnectionError as err:
            if problem := str(err):
                self._unreachable = problem.removesuffix("; retrying")
                if err.code != UNREACHABLE:
                    # Not both: health must not see a problem go and come at each attempt.
                    self._problems.cure(*({LOGIN, TLS} - {err.code}))
                    self._problems.tell(err.code, f"broker {self._address} {self._unreachable}")
                self._report(problem)
            return None
        self._reported.clear()
        self._tell(f"connected to {self._address} ({NAMES[link.is_mqtt5]}){self._outage()}", logging.INFO)
        self._without_since_s = None
        return link

    def _serve(self, link: Link) -> bool:
        """Whether all was delivered, and nothing remains to be done."""
        session = self._session = Session(link, self._served)
        self.on_connected()
        try:
            session.serve(first=not self._has_claimed)
        finally:
            self._session = None
            self._without_since_s = time.monotonic()
            self._problems.cure(LOGIN, TLS)
        if self._guard.fatal:
            self._tell(self._guard.fatal, logging.ERROR)
            return True
        self._has_claimed = self._has_claimed or session.claimed
        self._unreachable = f"was lost ({link.end})"
        if code := _CLOSED.get(str(link.told)):
            self._problems.tell(code, f"broker {self._address} closed the connection ({link.told})")
        if not self._control.stopping.is_set():
            self._tell(f"broker {self._address} lost ({_loss(link.end)}); retrying", logging.WARNING)
        return session.finished

    def _outage(self) -> str:
        without_s = time.monotonic() - (self._without_since_s or time.monotonic())
        lost = f"; {self._outbox.dropped} events were lost since the start" if self._outbox.dropped else ""
        return (
            f", after {without_s:.1f} s without a connection{lost}" if without_s >= self._patience.retry_min_s else lost
        )

    def _report(self, problem: str) -> None:
        """Once per cause and outage."""
        if problem not in self._reported:
            self._reported.add(problem)
            self._tell(f"broker {self._address} {problem}", logging.WARNING)

    def _tell(self, text: str, level: int) -> None:
        log.log(level, "%s", text)
        if self._on_change is not None:
            self._on_change(text)


def _nobody() -> None:
    """Nobody wants to know."""


def _loss(why: str) -> str:
    return f"{why}: is a program of another kind connected as this client?" if why == "Session taken over" else why

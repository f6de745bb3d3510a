"""The first run: everything at once in one process, and all of it gone at the end."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import click

from edge_fer.broker import EmbeddedBroker
from edge_fer.config import Config, load_config
from edge_fer.daemon import Daemon
from edge_fer.errors import UnavailableError
from edge_fer.login import parse_broker_url
from edge_fer.messages import Message
from edge_fer.service import running, stop_on_signals

BROKER_PORT = 1883
"""Where a subscriber looks first; another one is taken where a broker is already there."""


class _Lines:
    """Without a terminal: one plain line per event."""

    def publish(self, message: Message) -> None:
        from edge_fer.view import event_line

        if message.tells_expression:
            click.echo(event_line(message))


def show(tables: Mapping[str, Any], *, seconds: float | None, verbose: bool) -> None:
    """Run the demonstration until Ctrl-C, or for some seconds, and sum up.

    UnavailableError where the extra `demo` is missing, and whatever the daemon raises.
    """
    if importlib.util.find_spec("rich") is None:
        raise UnavailableError("the demonstration needs the package rich: pip install 'edge-fer[demo]'")
    from rich.console import Console

    console = Console()
    with ExitStack() as stack:
        stack.enter_context(_own_process_group())
        stop = stack.enter_context(stop_on_signals())
        _log_to(console, verbose=verbose)
        config = load_config(None, tables)
        if config.broker is None:
            embedded = stack.enter_context(EmbeddedBroker(BROKER_PORT, fallback=True))
            config = load_config(None, {**tables, "broker": {"url": f"mqtt://127.0.0.1:{embedded.port}"}})
        console.print(_how_to_subscribe(config), highlight=False, soft_wrap=True)
        started_s = time.monotonic()
        daemon = _run(console, config, stop, seconds)
        _sum_up(console, daemon, time.monotonic() - started_s)


def _run(console: Any, config: Config, stop: Any, seconds: float | None) -> Daemon:  # noqa: ANN401 - rich is optional
    from rich.live import Live

    from edge_fer.view import LiveView

    if not console.is_terminal:
        with running(config, [_Lines()]) as daemon:
            daemon.run(stop, seconds)
        return daemon
    events: list[LiveView] = []

    class ToView:
        def publish(self, message: Message) -> None:
            for view in events:
                view.publish(message)

    def on_broker(text: str) -> None:
        for view in events:
            view.broker = text

    with running(config, [ToView()], on_broker) as daemon:
        view = LiveView(daemon.pipeline, f"edge-fer, node {config.node}; Ctrl-C ends it")
        events.append(view)
        with Live(view, console=console, refresh_per_second=8):
            daemon.run(stop, seconds)
    return daemon


def _how_to_subscribe(config: Config) -> str:
    address = parse_broker_url(config.broker.url if config.broker else "")
    login = f" -u {address.user} -P PASSWORD" if address.user else ""
    login += " --capath /etc/ssl/certs" if address.tls else ""
    return (
        f"Publishing below edge-fer/{config.node}/ on {address}. From another terminal:\n"
        f"  mosquitto_sub -h {address.host} -p {address.port}{login} -t 'edge-fer/{config.node}/#' -v"
    )


def _sum_up(console: Any, daemon: Daemon, elapsed_s: float) -> None:  # noqa: ANN401 - rich is optional
    frames = sum(view.frames for view in daemon.pipeline.views.values())
    dropped = sum(daemon.inbox.dropped.values())
    cpu = time.process_time() / elapsed_s
    console.print(
        f"Done: {frames} frames in {elapsed_s:.0f} s, {dropped} dropped, {daemon.pipeline.events} events; "
        f"{cpu:.0%} of one core with broker and view.",
        highlight=False,
        soft_wrap=True,
    )


def _log_to(console: Any, *, verbose: bool) -> None:  # noqa: ANN401 - rich is optional
    """Log lines above the live view instead of through it."""
    from rich.logging import RichHandler

    handler = RichHandler(console=console, show_path=False, show_time=False, highlighter=None)
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s", handlers=[handler])


@contextmanager
def _own_process_group() -> Iterator[None]:
    """Take the terminal for this process alone, and give it back.

    Under `make run`, Ctrl-C would go to make as well, which then fails although everything ended in good order.
    """
    if not sys.stdin.isatty() or os.getpgrp() == os.getpid():
        yield
        return
    terminal, group_before = sys.stdin.fileno(), os.getpgrp()
    try:
        in_front = os.tcgetpgrp(terminal) == group_before
    except OSError:  # a terminal, but not the one that controls this process
        in_front = False
    if not in_front:
        yield
        return
    # Giving the terminal back from the background would stop this process; Ctrl-Z would stop it alone, and leave make
    # and the shell waiting for ever.
    for ignored in (signal.SIGTTOU, signal.SIGTSTP):
        signal.signal(ignored, signal.SIG_IGN)
    os.setpgid(0, 0)
    os.tcsetpgrp(terminal, os.getpgrp())
    try:
        yield
    finally:
        os.tcsetpgrp(terminal, group_before)

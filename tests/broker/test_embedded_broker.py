"""The broker for the first run."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from realbrokers import Make, Subscriber, free_port, wait_until

from edge_fer.broker import EmbeddedBroker
from edge_fer.errors import UnavailableError


def test_a_free_port_is_taken_for_port_0() -> None:
    with EmbeddedBroker(0) as broker:
        socket.create_connection(("127.0.0.1", broker.port)).close()
        assert broker.url == f"mqtt://127.0.0.1:{broker.port}"


def test_a_busy_port_is_an_error_that_names_it() -> None:
    with EmbeddedBroker(0) as first, pytest.raises(UnavailableError, match=f"port {first.port} .*in use"):
        EmbeddedBroker(first.port).start()


def test_a_busy_port_with_fallback_gives_another() -> None:
    with EmbeddedBroker(0) as first, EmbeddedBroker(first.port, fallback=True) as second:
        assert second.port != first.port
        socket.create_connection(("127.0.0.1", second.port)).close()


def test_it_listens_on_loopback_only() -> None:
    with EmbeddedBroker(0) as broker, socket.socket() as sock:
        sock.bind(("127.0.0.2", broker.port))  # free: the broker is not on every address


def test_it_stops_with_clients_connected_and_leaves_no_thread_and_no_noise(
    subscribe: Make[Subscriber], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    before = set(threading.enumerate())
    broker = EmbeddedBroker(free_port())
    broker.start()
    watcher = subscribe(broker.port)
    half_open = socket.create_connection(("127.0.0.1", broker.port))  # never says CONNECT
    broker.stop()
    broker.stop()
    watcher.close()
    half_open.close()
    wait_until(lambda: set(threading.enumerate()) <= before)
    assert capfd.readouterr().err == ""
    assert [record.getMessage() for record in caplog.records if record.levelno >= 30] == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", broker.port))


def test_clients_that_talk_rubbish_do_no_harm(subscribe: Make[Subscriber], capfd: pytest.CaptureFixture[str]) -> None:
    with EmbeddedBroker(0) as broker:
        for rubbish in (
            b"",
            b"\x10",
            b"GET / HTTP/1.1\r\n\r\n",
            b"\xff" * 64,
            b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x1e\xff\xff",
        ):
            with socket.create_connection(("127.0.0.1", broker.port)) as client:
                client.sendall(rubbish)
        subscribe(broker.port)  # still works
    assert "Traceback" not in capfd.readouterr().err


def test_mqtt_5_is_refused_as_a_version() -> None:
    """amqtt itself would read the properties as lengths, and never answer."""
    connect = b"\x10\x1f\x00\x04MQTT\x05\x2e\x00\x1e\x00\x00\x02ab\x00\x00\x03t/x\x00\x07offline"
    with EmbeddedBroker(0) as broker, socket.create_connection(("127.0.0.1", broker.port), timeout=60) as client:
        client.sendall(connect)
        assert client.recv(10) == b"\x20\x02\x00\x01"
        assert client.recv(10) == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_as_a_child_it_says_where_and_ends_well(number: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "edge_fer.broker", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        address, _, port = line.strip().rpartition(":")
        assert address == "listening on 127.0.0.1"
        with socket.create_connection(("127.0.0.1", int(port))):
            os.kill(child.pid, number)
            rest, errors = child.communicate(timeout=60)
    assert (child.returncode, rest, errors) == (0, "", "")


def test_as_a_child_it_does_not_outlive_who_started_it() -> None:
    """Not even one that is killed, whose end of the pipe the kernel closes; Ctrl-C alone does not end it."""
    command = [sys.executable, "-m", "edge_fer.broker", "--port", "0", "--with-parent"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        port = int(child.stdout.readline().rpartition(":")[2])
        child.send_signal(signal.SIGINT)
        with socket.create_connection(("127.0.0.1", port)):
            pass
        assert child.poll() is None
        child.stdin.close()
        assert child.wait(60) == 0


def test_as_a_child_on_a_busy_port_it_fails_with_69() -> None:
    with EmbeddedBroker(0) as broker:
        done = subprocess.run(
            [sys.executable, "-m", "edge_fer.broker", "--port", str(broker.port)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == os.EX_UNAVAILABLE
    assert f"port {broker.port}" in done.stderr
    assert "Traceback" not in done.stderr

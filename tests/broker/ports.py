"""Ports for the servers of the tests, which others do not take between the choice and the use, or between two uses."""

from __future__ import annotations

import itertools
import os
import random
import socket
from contextlib import suppress

# Below those that a kernel gives to connections and to servers that ask for any port.
FIRST_PORT, PORTS_OF_A_WORKER, WORKERS_MAX = 10_000, 1400, 16

# The workers of pytest-xdist are gw0, gw1, ...: each has ports of its own, and each run starts elsewhere among them.
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % WORKERS_MAX
_count = itertools.count(random.SystemRandom().randrange(PORTS_OF_A_WORKER))


def free_port() -> int:
    """Of 127.0.0.1; nothing has it, and no other test is given it."""
    for number in itertools.islice(_count, PORTS_OF_A_WORKER):
        port = FIRST_PORT + _worker * PORTS_OF_A_WORKER + number % PORTS_OF_A_WORKER
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise AssertionError("every port of this worker is taken")

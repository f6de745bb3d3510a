"""Started by qemu for each connection of the guest to its broker: joins standard input and output with HOST PORT.

Its standard error is the guest's connection, too, so nothing may be written to it.
"""

import os
import select
import socket
import sys

GUEST = 0  # a socket, both ways


def main() -> None:
    with socket.socket() as broker:
        if broker.connect_ex((sys.argv[1], int(sys.argv[2]))):
            return  # no broker: the guest's connection ends at once
        while True:
            readable, _, _ = select.select([GUEST, broker.fileno()], [], [])
            for source in readable:
                target = broker.fileno() if source == GUEST else GUEST
                try:
                    data = os.read(source, 65536)
                    _write(target, data)
                except OSError:
                    return
                if not data:
                    return  # one of them has ended, and so does the other


def _write(target: int, data: bytes) -> None:
    while data:
        data = data[os.write(target, data) :]


if __name__ == "__main__":
    main()

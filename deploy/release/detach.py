"""Work that goes on when the connection is cut by which it was started."""

import os
import signal
import sys
from typing import Callable

KILLED = 128
INTERRUPTED = KILLED + signal.SIGINT


def detached(work: Callable[[], int]) -> int:
    """Do the work in a process that no terminal and no parent can end, and wait for it; its exit code.

    What ssh and sudo started they end when the connection is cut; the child has left that group of processes.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setsid()
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
                signal.signal(number, signal.SIG_IGN)
            code = work()
        finally:
            os._exit(code)  # flushes nothing: what was told was flushed, and an output that is closed would raise
    try:
        return _code(os.waitpid(pid, 0)[1])
    except KeyboardInterrupt:
        message = "edge-fer-release: this goes on without a terminal; edge-fer-release status tells how it ends\n"
        os.write(2, message.encode())
        return INTERRUPTED


def _code(status: int) -> int:
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else KILLED + os.WTERMSIG(status)

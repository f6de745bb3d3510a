"""Real cameras on the network, as processes that a test can kill, stop and start again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType

import pytest
from ports import free_port
from typing_extensions import Self

HERE = Path(__file__).parent
SYSTEM_PYTHONS = ("/usr/bin/python3", "python3")


class StreamServer:
    """A server in a process group of its own, on a port that stays the same over restarts.

    `options` are those of the script: size="640x480", fps=15, user="carer", password="secret", clip=path ...
    Usable as a context manager; `start` returns itself.
    """

    script = ""
    python = sys.executable

    def __init__(self, **options: object) -> None:
        self.options: dict[str, object] = {"port": free_port(), **options}
        self.process: subprocess.Popen[str] | None = None

    @property
    def port(self) -> int:
        return int(str(self.options["port"]))

    def start(self, **changes: object) -> Self:
        """Start, or start again with other options; returns once it listens."""
        self.options.update(changes)
        flags = [f"--{name}={value}" for name, value in self.options.items()]
        self.process = subprocess.Popen(
            [self.python, str(HERE / self.script), *flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        assert ready.startswith("ready "), f"{self.script} did not start: {ready!r}"
        return self

    def kill(self) -> None:
        """SIGKILL for the server and its children; safe to repeat, and on one that stands still."""
        if self.process is not None:
            self._signal(signal.SIGKILL)
            self.process.wait()
            if self.process.stdout is not None:
                self.process.stdout.close()
            self.process = None

    def sigstop(self) -> None:
        """It keeps its connections and answers nothing more."""
        self._signal(signal.SIGSTOP)

    def sigcont(self) -> None:
        """It goes on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _login(self) -> str:
        user = self.options.get("user")
        return f"{user}:{self.options.get('password', '')}@" if user else ""


class RtspServer(StreamServer):
    """rtsp_server.py; skips the test where the system has no RTSP server."""

    script = "rtsp_server.py"

    def __init__(self, **options: object) -> None:
        self.python = python_with_rtsp()
        super().__init__(**options)

    @property
    def url(self) -> str:
        return f"rtsp://{self._login()}127.0.0.1:{self.port}/stream"


class MjpegServer(StreamServer):
    """mjpeg_server.py."""

    script = "mjpeg_server.py"

    @property
    def url(self) -> str:
        return f"http://{self._login()}127.0.0.1:{self.port}/stream"

    def mode(self, name: str) -> None:
        """normal, freeze, dark, stall, garbage, corrupt: for those who are connected too."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/mode/{name}", timeout=10) as answer:
            assert answer.status == 200


def python_with_rtsp() -> str:
    """A Python that has GStreamer's RTSP server; skips where there is none."""
    check = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    for name in SYSTEM_PYTHONS:
        python = shutil.which(name)
        if python and subprocess.run([python, "-c", check], capture_output=True, check=False).returncode == 0:
            return python
    pytest.skip(
        "no RTSP server on this machine (apt install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-ugly): "
        "NOT tested against it"
    )

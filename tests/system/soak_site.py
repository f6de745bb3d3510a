"""Where the faults happen: a broker, two cameras with faults, a healthy one, one that is dead, and the daemon."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "servers"), str(TESTS / "broker")]

from realbrokers import MOSQUITTO, Mosquitto, free_port  # noqa: E402 - after their folders are known
from soak_record import NODE  # noqa: E402
from streamservers import MjpegServer, RtspServer, StreamServer  # noqa: E402

from edge_fer.capture.open import SAMPLE_CLIP  # noqa: E402
from edge_fer.errors import UnavailableError  # noqa: E402

ROOT = TESTS.parent
HEALTHY, RTSP, MJPEG, DEAD = "steady", "hall", "door", "cellar"
PASSWORD = "not-for-anyone"  # noqa: S105 - of a server on loopback

CONNECT_S, STALL_S, FROZEN_S, DARK_S = 8.0, 3.0, 4.0, 3.0
"""The cameras' timeouts in the configuration."""

SLACK_S = 15.0
"""For starting programs on a slow, shared machine."""

BACK_S = 30.0 + CONNECT_S + SLACK_S
"""From the end of a fault to pictures: the longest pause between attempts, and one attempt."""

SIZES = ("320x240", "400x300")
LOST = frozenset({"offline", "stalled"})
STABLE_BROKER = "allow_anonymous true\npersistence true\nautosave_interval 1\nautosave_on_changes true"
"""It keeps the recorder's session over a SIGKILL, so that what comes meanwhile waits for it."""


class CannotMakeError(Exception):
    """This fault does not exist here, and why."""


def _nothing() -> None:
    """What was done ends by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong, and how it ends."""

    name: str
    camera: str  # "" where no camera is meant
    make: Callable[[], object]
    undo: Callable[[], object] = _nothing
    expected: frozenset[str] = LOST  # states that tell it; empty: any may
    within_s: float = STALL_S + SLACK_S
    hold_s: float = 0.0  # it lasts at least so long
    broker: bool = False


class Site:
    """All processes of a run, in a folder; ended with the stack."""

    def __init__(self, work: Path, stack: ExitStack) -> None:
        """Starts the servers; UnavailableError where a program is missing."""
        if MOSQUITTO is None:
            raise UnavailableError("mosquitto is not installed: apt-get install mosquitto")
        if not SAMPLE_CLIP.exists():
            raise UnavailableError("the sample clip is missing: run `make models`")
        self._work = work
        options = f"{STABLE_BROKER}\npersistence_location {work}/"
        self.broker = Mosquitto(work, options)
        stack.callback(self.broker.kill)
        self.broker.start()
        self.steady = stack.enter_context(MjpegServer(size="640x360", fps=12, clip=SAMPLE_CLIP))
        self.rtsp = stack.enter_context(RtspServer(size=SIZES[0], fps=8, pattern="pinwheel"))
        self.mjpeg = stack.enter_context(MjpegServer(size=SIZES[0], fps=8, user="carer", password=PASSWORD))
        self.daemon = self._start_daemon(stack)

    def faults(self, stop_s: float) -> list[Fault]:
        """Every kind of fault; those that stop a process last `stop_s`."""
        return [
            self._mode("frozen picture", "freeze", "frozen", FROZEN_S),
            self._mode("dark picture", "dark", "dark", DARK_S),
            self._mode("stalled stream", "stall", "stalled", STALL_S),
            self._mode("garbage bytes", "garbage", "offline stalled", STALL_S),
            # Decoders conceal damage: any state is right as long as the camera is back when the damage ends.
            self._mode("damaged pictures", "corrupt", "", STALL_S),
            *(fault for camera in (RTSP, MJPEG) for fault in self._server_faults(camera, stop_s)),
            *(fault for camera in (RTSP, MJPEG) for fault in self._child_faults(camera)),
            Fault(
                name="broker SIGKILL",
                camera="",
                make=self.broker.kill,
                undo=self.broker.start,
                expected=frozenset(),
                hold_s=stop_s / 3,
                broker=True,
            ),
        ]

    def output(self, name: str) -> str:
        """What the daemon wrote: "events" or "log"."""
        return (self._work / f"daemon.{name}").read_text(errors="replace")

    def _start_daemon(self, stack: ExitStack) -> subprocess.Popen[bytes]:
        urls = {
            HEALTHY: self.steady.url,
            RTSP: self.rtsp.url,
            MJPEG: self.mjpeg.url,
            DEAD: f"rtsp://127.0.0.1:{free_port()}/none",
        }
        (self._work / "soak.toml").write_text(config(urls, self.broker.port))
        command = [sys.executable, "-m", "edge_fer", "run", "--config", str(self._work / "soak.toml"), "--print"]
        events, log = (stack.enter_context((self._work / f"daemon.{name}").open("wb")) for name in ("events", "log"))
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=events, stderr=log, cwd=ROOT)
        stack.callback(daemon.wait)
        stack.callback(daemon.kill)
        return daemon

    def _mode(self, name: str, mode: str, expected: str, timeout_s: float) -> Fault:
        return Fault(
            name=name,
            camera=MJPEG,
            make=lambda: self.mjpeg.mode(mode),
            undo=lambda: self.mjpeg.mode("normal"),
            expected=frozenset(expected.split()),
            within_s=timeout_s + SLACK_S,
            hold_s=0 if expected else timeout_s + 2,
        )

    def _server_faults(self, camera: str, stop_s: float) -> list[Fault]:
        server = self._server_of(camera)

        def restart() -> None:
            server.kill()
            server.start(size=SIZES[server.options["size"] == SIZES[0]])

        return [
            Fault(name=f"{camera} server SIGKILL", camera=camera, make=server.kill, undo=server.start),
            Fault(name=f"{camera} server, another size", camera=camera, make=restart),
            Fault(
                name=f"{camera} server SIGSTOP",
                camera=camera,
                make=server.sigstop,
                undo=server.sigcont,
                expected=frozenset({"stalled"}),
                hold_s=stop_s,
            ),
        ]

    def _child_faults(self, camera: str) -> list[Fault]:
        def send(number: signal.Signals) -> Callable[[], object]:
            return lambda: self._child_of(camera).send_signal(number)

        stalled = frozenset({"stalled"})
        return [
            Fault(name=f"{camera} child SIGKILL", camera=camera, make=send(signal.SIGKILL)),
            Fault(name=f"{camera} child SIGSTOP", camera=camera, make=send(signal.SIGSTOP), expected=stalled),
        ]

    def _server_of(self, camera: str) -> StreamServer:
        return self.rtsp if camera == RTSP else self.mjpeg

    def _child_of(self, camera: str) -> psutil.Process:
        """The daemon's child that is connected to the camera's server."""
        port = self._server_of(camera).port
        for child in psutil.Process(self.daemon.pid).children(recursive=True):
            with suppress(psutil.Error):  # it has ended just now
                connections = getattr(child, "net_connections", None) or child.connections  # its name before psutil 6
                if any(connection.raddr and connection.raddr.port == port for connection in connections("tcp")):
                    return child
        raise CannotMakeError("no child process reads this camera")


def config(urls: dict[str, str], broker_port: int) -> str:
    """The daemon's configuration."""
    lines = [f'node = "{NODE}"', "telemetry_s = 1.0", f'broker.url = "mqtt://127.0.0.1:{broker_port}"']
    for camera, url in urls.items():
        lines += [f"[camera.{camera}]", f'uri = "{url}"', f"connect_timeout_s = {CONNECT_S}"]
        lines += [f"stall_timeout_s = {STALL_S}", f"frozen_after_s = {FROZEN_S}", f"dark_after_s = {DARK_S}"]
    return "\n".join([*lines, ""])

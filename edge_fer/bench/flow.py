"""The whole flow on one clip: CPU per frame by stage, as fast as it goes, and the time to the first event."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from edge_fer.bench.clips import address
from edge_fer.bench.delays import Delays
from edge_fer.bench.figures import PipelineRow
from edge_fer.bench.speed import NO_SENSOR, speed_of
from edge_fer.bench.window import Conditions, Watch, Window
from edge_fer.capture.uri import CameraUri
from edge_fer.classify import NetworkName
from edge_fer.config import load_config
from edge_fer.daemon import Daemon
from edge_fer.errors import UnavailableError
from edge_fer.look import CameraNews, Look, Observation
from edge_fer.messages import Message
from edge_fer.service import running

FIRST_EVENT_S = 30.0
"""How long the first event of a clip is waited for, in real time; a clip may be hours long."""

CAMERA = "clip"


class Nowhere:
    """A publisher that pays for the JSON, as a broker's client would."""

    def publish(self, message: Message) -> None:
        """Throw it away."""
        message.to_json()


class Passage:
    """What comes through a daemon's pipeline, and the window of it: from the making of this to the clip's end."""

    def __init__(self, daemon: Daemon, watch: Watch | None) -> None:
        """Nothing runs yet."""
        self._daemon, self.delays, self.faces_read = daemon, Delays(), 0
        # The pipeline's own is emptied with each sample of the daemon's telemetry.
        daemon.pipeline.latency = self.delays
        daemon.pipeline.listen(self._take)
        self._conditions: Conditions | None = None
        self._window, self._spent_ns = Window(watch), _spent_ns(daemon)

    def _take(self, seen: Observation) -> None:
        if isinstance(seen, Look):
            self.faces_read += sum(face.probabilities is not None for face in seen.faces)
        elif isinstance(seen, CameraNews) and seen.state == "offline":
            self.end()

    def end(self) -> Conditions:
        """What the window was like; a daemon that then waits for its broker is not in it."""
        if self._conditions is None:
            now_ns = _spent_ns(self._daemon)
            self.spent_ns = {what: spent_ns - self._spent_ns[what] for what, spent_ns in now_ns.items()}
            self._conditions = self._window.close()
        return self._conditions


def measure_flow(
    uri: CameraUri,
    network: NetworkName,
    *,
    watch: Watch | None = None,
    idle_w: float | None = None,
    no_energy: str = "",
    seconds: float | None = None,
) -> PipelineRow:
    """Play a clip as fast as it goes, once, or for so many seconds again and again: energy takes its time.

    CameraError and ModelError as the daemon raises them; UnavailableError where not one frame came through.
    """
    with broker_child() as broker:
        config = load_config(None, _tables(uri if seconds is None else address(uri, "loop=1"), network, broker))
        with running(config, [] if broker else [Nowhere()]) as daemon:
            passage = Passage(daemon, watch)
            daemon.run(threading.Event(), seconds)
            conditions = passage.end()
            rss_mb = psutil.Process().memory_info().rss / 1e6
    if not (frames := len(passage.delays.all_ms)):
        raise UnavailableError(f"no frame was looked at within {conditions.seconds:.1f} s; give more --seconds")
    missing = no_energy if watch else no_energy or NO_SENSOR
    delays_ns = [int(delay_ms * 1e6) for delay_ms in passage.delays.all_ms]
    return PipelineRow(
        clip=str(uri),
        frames=frames,
        faces_read=passage.faces_read,
        events=daemon.pipeline.events,
        stages_cpu_ms=_stages(passage.spent_ns, frames),
        speed=speed_of(delays_ns, passage.spent_ns["all"], conditions, idle_w, missing),
        first_event_s=_first_event_s(uri, network) if daemon.pipeline.events else None,
        rss_mb=round(rss_mb, 1),
        published_to="a broker on loopback" if broker else "nowhere: the extra 'demo' is not installed",
    )


@contextmanager
def broker_child() -> Iterator[str | None]:
    """A broker in a process of its own, so that its CPU is not counted; None where the extra `demo` is missing."""
    command = [sys.executable, "-m", "edge_fer.broker", "--port", "0", "--with-parent"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as child:
        try:
            line = child.stdout.readline() if child.stdout else ""
            yield f"mqtt://127.0.0.1:{int(line.rsplit(':', 1)[1])}" if ":" in line else None
        finally:
            child.terminate()


def _tables(uri: CameraUri | str, network: NetworkName, broker: str | None) -> dict[str, Any]:
    return {
        "node": "bench",
        "camera": {CAMERA: {"uri": address(uri) if isinstance(uri, CameraUri) else uri}},
        "model": {"network": network},
        "power": {"enabled": False},  # the bench reads the sensors itself
        **({"broker": {"url": broker}} if broker else {}),
    }


def _spent_ns(daemon: Daemon) -> dict[str, int]:
    """CPU time up to now: of each stage, of the main thread, of the MQTT client's, and of all threads."""
    stages = {str(stage): spent_ns for stage, spent_ns in daemon.pipeline.cpu_ns.items()}
    return {
        "decode": daemon.readers[0].decode_cpu_ns,
        **dict.fromkeys(("detect", "align", "classify", "track and decide", "publish"), 0),
        **stages,
        "main": time.thread_time_ns(),
        "mqtt": _thread_ns("mqtt"),
        "all": time.process_time_ns(),
    }


def _thread_ns(name: str) -> int:
    """CPU time of a thread that lives; 0 where there is none of this name."""
    found = next((thread.ident for thread in threading.enumerate() if thread.name == name), None)
    return time.clock_gettime_ns(time.pthread_getcpuclockid(found)) if found else 0


def _stages(spent_ns: dict[str, int], frames: int) -> dict[str, float]:
    """CPU milliseconds of one frame by stage; they add up to "all"."""
    stages = {what: spent_ns[what] for what in spent_ns if what not in ("main", "mqtt", "all")}
    decode_ns = stages["decode"]
    rest_ns = spent_ns["main"] + decode_ns - sum(stages.values())
    stages["publish"] += spent_ns["mqtt"]
    stages["waiting and rest"] = rest_ns
    # Of this program itself: it reads the sensors and draws a bar.
    stages["measuring"] = max(0, spent_ns["all"] - spent_ns["main"] - spent_ns["mqtt"] - decode_ns)
    stages["all but decode"], stages["all"] = spent_ns["all"] - decode_ns, spent_ns["all"]
    return {stage: round(nanoseconds / frames / 1e6, 4) for stage, nanoseconds in stages.items()}


def _first_event_s(clip: CameraUri, network: NetworkName) -> float | None:
    """Seconds from the start of a daemon's process to its first line of output; None where none came in time."""
    camera = f"{CAMERA}={address(clip, 'realtime=1')}"
    command = [sys.executable, "-m", "edge_fer", "run", "--camera", camera, "--network", network, "--print"]
    with tempfile.TemporaryDirectory() as folder:
        # A daemon of this machine has a state folder, and perhaps a pause, of its own.
        environment = {**os.environ, "STATE_DIRECTORY": folder}
        started_s = time.monotonic()
        with subprocess.Popen(
            [*command, "--node", "bench"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        ) as child:
            late = threading.Timer(FIRST_EVENT_S, child.terminate)
            late.start()
            try:
                line = child.stdout.readline() if child.stdout else ""
                elapsed_s = time.monotonic() - started_s
            finally:
                late.cancel()
                child.terminate()
    return round(elapsed_s, 2) if line else None

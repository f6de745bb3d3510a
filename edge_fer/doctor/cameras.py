"""Do the cameras give pictures? None is taken from a daemon that has it, and none is opened that is paused."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edge_fer.capture.device import check_device, holders, permission_hint
from edge_fer.capture.probe import Probe, probe
from edge_fer.capture.uri import CameraUri, parse_camera_uri
from edge_fer.doctor.apart import Apart
from edge_fer.doctor.finding import Finding, failed, ok, skipped, warning
from edge_fer.doctor.patient import Patient
from edge_fer.errors import CameraError, EdgeFerError, UnavailableError
from edge_fer.memory.pause_file import ALL, moment, read_request
from edge_fer.memory.state_folder import daemon_runs
from edge_fer.privacy import hide_password

if TYPE_CHECKING:
    from edge_fer.config import CameraSettings

FIRST_PICTURE_S, LOOK_S, REACH_S = 8.0, 0.5, 3.0
WHOLE_S = 20.0
"""For all cameras, which are looked at together."""

DEVICES = (
    ("video[0-9]*", "cameras"),
    ("dri/renderD*", "video decoders"),
    ("nvmap", "CSI cameras of a Jetson"),
    ("nvhost-vic", "CSI cameras of a Jetson"),
    ("vcio", "vcgencmd, which tells watts and under-voltage of a Raspberry Pi"),
)
"""Below /dev, and who needs them; each belongs to a group, mostly video or render."""

_DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443, "rtmp": 1935}


@dataclass(frozen=True, slots=True)
class _Daemon:
    """What is known of a running one."""

    runs: bool
    paused: Collection[str]  # cameras, or ALL
    unknown: str = ""  # why nothing is known


def check_devices(patient: Patient) -> list[Finding]:
    """Whether this user may open what cameras and sensors need."""
    place, found, closed = patient.place, 0, []
    for pattern, who in DEVICES:
        for path in sorted(place.dev.glob(pattern)):
            found += 1
            if not place.access(path, os.R_OK | os.W_OK):
                closed.append(warning(f"needed by {who}: {_of_hint(path)}", _hint(path), str(path)))
    if not found:
        return [skipped(f"no camera and no video decoder below {place.dev}")]
    return closed or [ok(f"this user may open all {found} of cameras and decoders")]


def check_cameras(patient: Patient) -> list[Finding]:
    """Each camera of the configuration, all together."""
    config = patient.config
    if config is None:
        return [skipped("no configuration")]
    daemon = _daemon(patient.state_dir)
    proc, until_s = patient.place.machine.proc, time.monotonic() + WHOLE_S
    looks = [
        (name, Apart(partial(_look, name, settings, daemon, proc), name)) for name, settings in config.camera.items()
    ]
    return [_answer(name, look, until_s) for name, look in looks]


def _answer(name: str, look: Apart[Finding], until_s: float) -> Finding:
    try:
        return look.result(until_s - time.monotonic())
    except TimeoutError:
        return failed(f"no answer within {WHOLE_S:g} s", "is its driver stuck? see dmesg; a restart helps", name)
    except (EdgeFerError, OSError, ValueError) as err:
        return failed(str(err), "edge-fer cameras --probe tries it alone", name)


def _daemon(folder: Path) -> _Daemon:
    """Where it cannot be known, cameras are left alone."""
    try:
        runs = daemon_runs(folder)
    except UnavailableError as err:
        return _Daemon(runs=True, paused=(ALL,), unknown=str(err))
    now = moment()
    try:
        pauses = [pause.camera for pause in read_request(folder).pauses if pause.holds(now)]
    except (FileNotFoundError, NotADirectoryError):
        pauses = []
    except (OSError, ValueError):  # as the daemon takes a file that says nothing
        pauses = [ALL]
    return _Daemon(runs, pauses)


def _look(name: str, settings: CameraSettings, daemon: _Daemon, proc: Path) -> Finding:
    uri = parse_camera_uri(settings.uri)
    if not settings.enabled:
        return skipped("enabled = false", name)
    if daemon.unknown:
        return skipped(f"whether it is paused is not known: {daemon.unknown}", name, cure="sudo edge-fer doctor")
    if name in daemon.paused or ALL in daemon.paused:
        return skipped("it is paused, and stays closed", name)
    if uri.scheme == "v4l2" and (by := holders(Path(uri.target), proc)):
        return _in_use(name, uri, by, daemon)
    if uri.live and daemon.runs:
        return _beside(name, uri)
    return _seen(name, uri, probe(uri, min(settings.connect_timeout_s, FIRST_PICTURE_S), look_s=LOOK_S))


def _in_use(name: str, uri: CameraUri, by: list[str], daemon: _Daemon) -> Finding:
    told = f"{uri}: in use by {', '.join(by)}"
    if daemon.runs and len(by) == 1:
        return ok(f"{told}; the daemon of this node runs", name)
    return warning(told, "only one program can read a camera: end the other one", name)


def _beside(name: str, uri: CameraUri) -> Finding:
    """As much as can be told while the daemon reads it."""
    if uri.scheme == "v4l2":
        try:
            check_device(Path(uri.target))
        except CameraError as err:
            return failed(str(err), "edge-fer cameras lists what is attached", name)
        return warning(f"{uri}: is there, but the running daemon does not have it open", "see the daemon's log", name)
    if uri.scheme != "url":
        return skipped(f"{uri}: the running daemon has it; its topic camera/{name}/status tells how it is", name)
    parts = urlsplit(uri.target)
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme.lower())
    if port is None:
        return skipped(f"{uri}: the running daemon has it", name)
    try:
        socket.create_connection((str(parts.hostname), port), REACH_S).close()
    except OSError as err:
        return failed(f"{uri}: not reachable ({err.strerror or err})", "is it on, and in this network?", name)
    return ok(f"{uri}: reachable; the running daemon reads it", name)


def _seen(name: str, uri: CameraUri, found: Probe) -> Finding:
    if found.problem:
        problem = hide_password(found.problem)
        told = problem if str(uri) in problem else f"{uri}: {problem}"
        if "busy" in problem:
            return warning(told, "only one program can read a camera: end the other one", name)
        return failed(told, f"try it alone: edge-fer cameras --probe; {_advice(uri)}", name)
    rate = f", {found.fps:g} pictures a second" if found.fps is not None else ""
    return ok(f"{uri}: {found.width}x{found.height}{rate}, the first after {found.first_picture_s:g} s", name)


def _advice(uri: CameraUri) -> str:
    if uri.scheme == "url":
        return "are address, user and password right, and the camera on?"
    if uri.live:
        return "is it plugged in, its cable seated?"
    return "is the path right, and readable for this user?"


def _hint(path: Path) -> str:
    return permission_hint(path).partition("; ")[2].partition(": ")[2]


def _of_hint(path: Path) -> str:
    return permission_hint(path).partition(": sudo")[0]

"""Which cameras are attached to this machine, under names that stay theirs."""

from __future__ import annotations

import errno
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_fer.capture.device import permission_hint, why_unusable
from edge_fer.capture.v4l2 import FrameSize, Ioctl, PixelFormat, V4l2Device, kernel_ioctl, read_device

RPICAM_LIST_S = 20.0
JETSON_SENSOR = "tegra-video"
PI_SENSORS = ("unicam", "rp1-cfe")
NO_CAMERAS = (*PI_SENSORS, "bcm2835-isp", "bcm2835-codec", "pispbe", "rpi-hevc-dec")
"""Drivers of a Raspberry Pi whose devices are parts of what rpicam: reads, or codecs."""

_RPICAM = re.compile(r"^\s*(\d+) : (\S+) \[.*?\]")
_MODES = re.compile(r"'(\S+)' :")
_MODE = re.compile(r"(\d+)x(\d+) \[([\d.]+) fps")


@dataclass(frozen=True, slots=True)
class AttachedCamera:
    """A camera that this machine has."""

    address: str  # for the configuration; stays the same when cameras are plugged in another order, if that is possible
    device: str  # /dev/video0 now; empty where there is no such file
    name: str
    formats: tuple[PixelFormat, ...]
    usable: bool
    problem: str  # why it is not usable; empty if it is


def list_cameras(
    dev_root: Path = Path("/dev"),
    sys_root: Path = Path("/sys"),
    usr_root: Path = Path("/usr"),
    ioctl: Ioctl = kernel_ioctl,
) -> list[AttachedCamera]:
    """V4L2 cameras, CSI cameras of a Jetson, and those that a Raspberry Pi's programs (on PATH) name; empty if none."""
    names = _stable_names(dev_root)
    cameras: list[AttachedCamera] = []
    sensors: list[tuple[Path, V4l2Device]] = []
    pi = False
    for path in _video_devices(dev_root):
        address = f"v4l2:{names.get(path.resolve(), path)}"
        try:
            device = read_device(path, ioctl)
        except OSError as err:
            if problem := _closed(path, err):
                name = _sys_name(sys_root, path)
                cameras.append(AttachedCamera(address, str(path), name, (), usable=False, problem=problem))
            continue
        pi |= device.driver in PI_SENSORS
        if device.driver == JETSON_SENSOR:
            sensors.append((path, device))
        elif device.captures and device.driver not in NO_CAMERAS:
            cameras.append(_attached(address, path, device, why_unusable(device)))
    return [*cameras, *_jetson_cameras(sensors, usr_root), *_pi_cameras(sensor_seen=pi)]


def parse_rpicam_list(text: str) -> list[AttachedCamera]:
    """What `rpicam-hello --list-cameras` prints."""
    cameras: list[AttachedCamera] = []
    sizes: dict[str, list[FrameSize]] = {}
    for block in re.split(r"(?m)^(?=\s*\d+ : )", text):
        if not (head := _RPICAM.match(block)):
            continue
        sizes, packing = {}, ""
        for line in block.splitlines():
            if named := _MODES.search(line):
                packing = named[1]
            if mode := _MODE.search(line):
                size = FrameSize(int(mode[1]), int(mode[2]), (float(mode[3]),))
                sizes.setdefault(packing, []).append(size)
        formats = tuple(PixelFormat(name, tuple(found)) for name, found in sizes.items())
        cameras.append(AttachedCamera(f"rpicam:{head[1]}", "", head[2], formats, usable=True, problem=""))
    return cameras


def _video_devices(dev_root: Path) -> list[Path]:
    numbered = [path for path in dev_root.glob("video*") if path.name.removeprefix("video").isdecimal()]
    return sorted(numbered, key=lambda path: int(path.name.removeprefix("video")))


def _stable_names(dev_root: Path) -> dict[Path, Path]:
    """Device -> its link by serial number, or else by socket."""
    links = [*sorted(dev_root.glob("v4l/by-path/*")), *sorted(dev_root.glob("v4l/by-id/*"))]
    return {link.resolve(): link for link in links}


def _attached(address: str, path: Path, device: V4l2Device, problem: str) -> AttachedCamera:
    return AttachedCamera(address, str(path), device.name, device.formats, usable=not problem, problem=problem)


def _closed(path: Path, err: OSError) -> str:
    """Why a camera that is there tells nothing; empty for what is no video device or was just unplugged."""
    if err.errno in (errno.EACCES, errno.EPERM):
        return permission_hint(path)
    return "the device is busy: another program has it open" if err.errno == errno.EBUSY else ""


def _sys_name(sys_root: Path, path: Path) -> str:
    try:
        return (sys_root / "class/video4linux" / path.name / "name").read_text().strip()
    except OSError:
        return path.name


def _jetson_cameras(sensors: Iterable[tuple[Path, V4l2Device]], usr_root: Path) -> Iterator[AttachedCamera]:
    """A Jetson numbers its sensors in the order of their devices."""
    plugin = any(usr_root.glob("lib/*/gstreamer-1.0/libgstnvarguscamerasrc.so"))
    missing = [] if shutil.which("gst-launch-1.0") else ["gstreamer1.0-tools"]
    missing += [] if plugin else ["nvidia-l4t-gstreamer"]
    problem = f"install {' and '.join(missing)}" if missing else ""
    for number, (path, device) in enumerate(sensors):
        yield _attached(f"csi:{number}", path, device, problem)


def _pi_cameras(*, sensor_seen: bool) -> list[AttachedCamera]:
    program = shutil.which("rpicam-hello") or shutil.which("libcamera-hello")
    if program is None:
        if not sensor_seen:
            return []
        problem = "install rpicam-apps (before Raspberry Pi OS 12: libcamera-apps)"
        return [AttachedCamera("rpicam:0", "", "CSI camera", (), usable=False, problem=problem)]
    try:
        ran = subprocess.run(
            [program, "--list-cameras"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=RPICAM_LIST_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        problem = f"{Path(program).name} --list-cameras does not answer ({err})"
        return [AttachedCamera("rpicam:0", "", "CSI camera", (), usable=False, problem=problem)]
    return parse_rpicam_list(ran.stdout)

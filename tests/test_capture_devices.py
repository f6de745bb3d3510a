"""V4L2 cameras: a kernel that is played by the rules of linux/videodev2.h, and what is told of what is attached."""

from __future__ import annotations

import ctypes
import errno
import grp
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_fer.capture.attached import AttachedCamera, list_cameras
from edge_fer.capture.device import check_device, holders, permission_hint, rows_of, wants_mjpg, why_unusable
from edge_fer.capture.listing import show_cameras, show_probes
from edge_fer.capture.open import open_source
from edge_fer.capture.probe import Probe, probe
from edge_fer.capture.source import Picture
from edge_fer.capture.uri import parse_camera_uri
from edge_fer.capture.v4l2 import PixelFormat, V4l2Device, read_device
from edge_fer.errors import CameraError

CAPTURE, METADATA, M2M, DEVICE_CAPS = 0x1, 0x00800000, 0x00008000, 0x80000000
YUYV, MJPG, BAYER = (int.from_bytes(code, "little") for code in (b"YUYV", b"MJPG", b"RG10"))


# The structures as the C compiler lays them out, so that the offsets of the code are checked and not repeated.
class Capability(ctypes.Structure):
    _fields_ = (
        *(("driver", ctypes.c_char * 16), ("card", ctypes.c_char * 32), ("bus_info", ctypes.c_char * 32)),
        *(("version", ctypes.c_uint32), ("capabilities", ctypes.c_uint32), ("device_caps", ctypes.c_uint32)),
        ("reserved", ctypes.c_uint32 * 3),
    )


class FormatDesc(ctypes.Structure):
    _fields_ = (
        *(("index", ctypes.c_uint32), ("type", ctypes.c_uint32), ("flags", ctypes.c_uint32)),
        *(("description", ctypes.c_char * 32), ("pixelformat", ctypes.c_uint32), ("mbus_code", ctypes.c_uint32)),
        ("reserved", ctypes.c_uint32 * 3),
    )


class SizeEnum(ctypes.Structure):
    _fields_ = (
        *(("index", ctypes.c_uint32), ("pixel_format", ctypes.c_uint32), ("type", ctypes.c_uint32)),
        *(("numbers", ctypes.c_uint32 * 6), ("reserved", ctypes.c_uint32 * 2)),
    )


class IntervalEnum(ctypes.Structure):
    _fields_ = (
        *(("index", ctypes.c_uint32), ("pixel_format", ctypes.c_uint32)),
        *(("width", ctypes.c_uint32), ("height", ctypes.c_uint32), ("type", ctypes.c_uint32)),
        *(("numbers", ctypes.c_uint32 * 6), ("reserved", ctypes.c_uint32 * 2)),
    )


@dataclass
class FakeDevice:
    card: str = "HD Webcam"
    driver: str = "uvcvideo"
    device_caps: int = CAPTURE
    formats: dict[int, dict[tuple[int, int], list[tuple[int, int]]]] = field(default_factory=dict)
    any_size: bool = False


WEBCAM = FakeDevice(
    formats={
        YUYV: {(640, 480): [(1, 30), (1, 15)]},
        MJPG: {(1280, 720): [(1, 30)], (640, 480): [(1001, 30000)]},
    }
)


class FakeKernel:
    """Answers for the files of a folder that stands for /dev; a file of another name is no video device (ENOTTY)."""

    def __init__(self, devices: dict[str, FakeDevice]) -> None:
        self.devices = devices

    def __call__(self, fd: int, request: int, argument: bytearray) -> int:
        device = self.devices.get(Path(os.readlink(f"/proc/self/fd/{fd}")).name)  # noqa: PTH115
        kinds = {0: Capability, 2: FormatDesc, 74: SizeEnum, 75: IntervalEnum}
        structure = kinds.get(request & 0xFF)
        if device is None or structure is None or (request >> 8) & 0xFF != ord("V"):
            raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")
        direction = 2 if structure is Capability else 3
        assert request >> 30 == direction
        assert (request >> 16) & 0x3FFF == ctypes.sizeof(structure) == len(argument)
        self._answer(device, structure.from_buffer(argument))
        return 0

    def _answer(self, device: FakeDevice, entry: ctypes.Structure) -> None:
        if isinstance(entry, Capability):
            entry.driver, entry.card = device.driver.encode(), device.card.encode()
            entry.capabilities, entry.device_caps = CAPTURE | METADATA | DEVICE_CAPS, device.device_caps
        elif isinstance(entry, FormatDesc):
            if entry.type != 1 or not device.device_caps & CAPTURE:
                raise OSError(errno.EINVAL, "Invalid argument")
            entry.pixelformat = self._nth(list(device.formats), entry.index)
        elif isinstance(entry, SizeEnum):
            sizes = list(device.formats.get(entry.pixel_format, {}))
            if device.any_size:
                entry.type = 3
                entry.numbers[:] = (32, 1920, 2, 32, 1080, 2)
            else:
                entry.type = 1
                entry.numbers[:2] = self._nth(sizes, entry.index)
        elif isinstance(entry, IntervalEnum):
            rates = device.formats.get(entry.pixel_format, {}).get((entry.width, entry.height), [])
            entry.type = 1
            entry.numbers[:2] = self._nth(rates, entry.index)

    @staticmethod
    def _nth(entries: list, index: int):  # noqa: ANN205 - numbers or pairs
        if index >= len(entries):
            raise OSError(errno.EINVAL, "Invalid argument")
        return entries[index]


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Folders that stand for /dev, /sys and /usr."""
    found = tuple(tmp_path / name for name in ("dev", "sys", "usr"))
    for root in found:
        root.mkdir()
    return found  # type: ignore[return-value]


def cameras_of(roots: tuple[Path, Path, Path], **devices: FakeDevice) -> list[AttachedCamera]:
    for name in devices:
        (roots[0] / name).touch()
    return list_cameras(*roots, ioctl=FakeKernel(devices))


def by_id(roots: tuple[Path, Path, Path], name: str, device: str, kind: str = "by-id") -> None:
    folder = roots[0] / "v4l" / kind
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).symlink_to(f"../../{device}")


@pytest.fixture(autouse=True)
def _no_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is installed on this machine must not count."""
    empty = tmp_path / "bin"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))


def test_a_webcam_has_a_stable_address_and_its_sizes(roots: tuple[Path, Path, Path]) -> None:
    by_id(roots, "usb-ACME_HD_Webcam_123-video-index0", "video0")
    by_id(roots, "platform-usb-0:1:1.0-video-index0", "video0", "by-path")
    (camera,) = cameras_of(roots, video0=WEBCAM, video1=FakeDevice(device_caps=METADATA))
    assert camera.address == f"v4l2:{roots[0]}/v4l/by-id/usb-ACME_HD_Webcam_123-video-index0"
    assert (camera.device, camera.name, camera.usable, camera.problem) == (f"{roots[0]}/video0", "HD Webcam", True, "")
    assert parse_camera_uri(camera.address).target == camera.address.removeprefix("v4l2:")
    yuyv, mjpg = camera.formats
    assert yuyv.fourcc == "YUYV"
    assert [(size.width, size.height, size.fps) for size in yuyv.sizes] == [(640, 480, (30.0, 15.0))]
    assert [(size.width, size.height, size.fps) for size in mjpg.sizes] == [
        *((640, 480, (29.97,)), (1280, 720, (30.0,)))
    ]


def test_a_camera_without_a_serial_number_is_named_by_its_socket(roots: tuple[Path, Path, Path]) -> None:
    by_id(roots, "platform-usb-0:1:1.0-video-index0", "video0", "by-path")
    assert cameras_of(roots, video0=WEBCAM)[0].address.endswith("/v4l/by-path/platform-usb-0:1:1.0-video-index0")


def test_cameras_come_in_the_order_of_their_numbers_and_codecs_are_none(roots: tuple[Path, Path, Path]) -> None:
    devices = {f"video{number}": WEBCAM for number in (10, 2, 0)}
    found = cameras_of(roots, **devices, video11=FakeDevice(device_caps=M2M), video12=FakeDevice(driver="bcm2835-isp"))
    assert [Path(camera.device).name for camera in found] == ["video0", "video2", "video10"]


def test_a_device_that_takes_any_size_lists_the_usual_ones(roots: tuple[Path, Path, Path]) -> None:
    (camera,) = cameras_of(roots, video0=FakeDevice(formats={YUYV: {}}, any_size=True))
    sizes = [(size.width, size.height) for size in camera.formats[0].sizes]
    assert (640, 480) in sizes
    assert (1920, 1080) in sizes


def test_a_sensor_without_a_converter_is_listed_with_what_to_use(roots: tuple[Path, Path, Path]) -> None:
    (camera,) = cameras_of(roots, video0=FakeDevice(formats={BAYER: {(1920, 1080): [(1, 30)]}}))
    assert not camera.usable
    assert "RG10" in camera.problem
    assert "csi:0" in camera.problem


def test_csi_cameras_of_a_jetson_need_its_plugin(roots: tuple[Path, Path, Path], tmp_path: Path) -> None:
    sensor = FakeDevice(card="vi-output, imx219 9-0010", driver="tegra-video", formats={BAYER: {}})
    first, second = cameras_of(roots, video0=sensor, video1=sensor)
    assert (first.address, second.address) == ("csi:0", "csi:1")
    assert first.problem == "install gstreamer1.0-tools and nvidia-l4t-gstreamer"
    plugin = roots[2] / "lib/aarch64-linux-gnu/gstreamer-1.0/libgstnvarguscamerasrc.so"
    plugin.parent.mkdir(parents=True)
    plugin.touch()
    program = tmp_path / "bin" / "gst-launch-1.0"
    program.touch(mode=0o755)
    assert [camera.usable for camera in cameras_of(roots, video0=sensor, video1=sensor)] == [True, True]


def test_a_raspberry_pi_without_its_programs_names_their_package(roots: tuple[Path, Path, Path]) -> None:
    (camera,) = cameras_of(roots, video0=FakeDevice(driver="unicam", formats={BAYER: {}}))
    assert (camera.address, camera.usable) == ("rpicam:0", False)
    assert "rpicam-apps" in camera.problem


def test_a_raspberry_pi_is_asked_for_its_cameras(roots: tuple[Path, Path, Path], tmp_path: Path) -> None:
    program = tmp_path / "bin" / "rpicam-hello"
    program.write_text(
        "#!/bin/sh\n[ \"$*\" = --list-cameras ] || exit 2\necho '0 : imx219 [3280x2464 10-bit RGGB] (/base/x)'\n"
    )
    program.chmod(0o755)
    (camera,) = cameras_of(roots, video0=FakeDevice(driver="unicam", formats={BAYER: {}}))
    assert (camera.address, camera.name, camera.usable) == ("rpicam:0", "imx219", True)


def test_nothing_attached_is_an_empty_list(roots: tuple[Path, Path, Path]) -> None:
    assert cameras_of(roots) == []


def test_a_busy_or_forbidden_camera_is_listed_with_its_name_and_the_reason(roots: tuple[Path, Path, Path]) -> None:
    (roots[0] / "video0").touch()
    name = roots[1] / "class/video4linux/video0/name"
    name.parent.mkdir(parents=True)
    name.write_text("HD Webcam\n")

    def refuse(number: int) -> AttachedCamera:
        def ioctl(*_: object) -> int:
            raise OSError(number, os.strerror(number))

        (camera,) = list_cameras(*roots, ioctl=ioctl)
        return camera

    assert "busy" in refuse(errno.EBUSY).problem
    assert "usermod -aG" in refuse(errno.EACCES).problem
    assert refuse(errno.EACCES).name == "HD Webcam"


def test_the_real_kernel_says_that_dev_null_is_no_video_device() -> None:
    with pytest.raises(OSError, match="Inappropriate ioctl") as error:
        read_device(Path("/dev/null"))
    assert error.value.errno == errno.ENOTTY
    with pytest.raises(CameraError, match="/dev/null: not a video device"):
        check_device(Path("/dev/null"))


def test_no_permission_names_the_group_of_the_device() -> None:
    group = grp.getgrgid(os.stat("/dev/null").st_gid).gr_name  # noqa: PTH116
    with pytest.raises(CameraError, match=rf"group '{group}': sudo usermod -aG {group} USER"):
        check_device(Path("/dev/null"), access=lambda _path, _mode: False)


def test_a_group_without_a_name_is_told_by_its_number(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give a file to another group")
    device = tmp_path / "video0"
    device.touch()
    os.chown(device, -1, 54321)
    assert "usermod -aG 54321" in permission_hint(device)


def test_who_holds_a_device_is_told(tmp_path: Path) -> None:
    device, link = tmp_path / "video0", tmp_path / "camera"
    device.touch()
    link.symlink_to(device)
    assert holders(link) == []
    other = subprocess.Popen(
        [sys.executable, "-c", f"f = open({str(device)!r})\nprint(flush=True)\ninput()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout is not None
    other.stdout.readline()
    (holder,) = holders(link)
    assert holder.endswith(f" ({other.pid})")
    assert holder.startswith(Path(sys.executable).resolve().name[:6])
    other.communicate(b"\n")


@pytest.mark.parametrize(
    ("size", "offered", "wanted"),
    [
        ((1280, 720), ["YUYV", "MJPG"], True),
        ((1280, 720), ["YUYV"], False),
        ((640, 480), ["YUYV", "MJPG"], False),
        (None, ["YUYV", "MJPG"], False),
    ],
)
def test_big_pictures_are_asked_for_compressed(
    size: tuple[int, int] | None, offered: list[str], *, wanted: bool
) -> None:
    device = V4l2Device("cam", "uvcvideo", captures=True, formats=tuple(PixelFormat(code, ()) for code in offered))
    assert wants_mjpg(size, device) is wanted


def test_a_metadata_device_sends_to_its_sister() -> None:
    assert "other /dev/video*" in why_unusable(V4l2Device("cam", "uvcvideo", captures=False, formats=()))


def test_the_layouts_are_those_of_the_kernel() -> None:
    sizes = [ctypes.sizeof(kind) for kind in (Capability, FormatDesc, SizeEnum, IntervalEnum)]
    assert sizes == [104, 64, 44, 52]


class Hung:
    """A driver that never answers; an abort does not reach it."""

    finite, lossless = False, False

    def __init__(self) -> None:
        self.aborted, self.release = threading.Event(), threading.Event()

    def pictures(self) -> Iterator[Picture]:
        self.release.wait(600)
        yield from ()

    def abort(self) -> None:
        self.aborted.set()

    def close(self) -> None:
        """Nothing."""


def test_a_probe_tells_size_and_frame_rate(sample_clip: Path) -> None:
    found = probe(parse_camera_uri(f"file:{sample_clip}?realtime=1"), timeout_s=60)
    assert (found.width, found.height, found.problem) == (640, 360, "")
    assert found.fps == pytest.approx(24, abs=0.5)


def test_a_probe_is_not_misled_by_a_burst_at_the_start() -> None:
    class Burst(Hung):
        def pictures(self) -> Iterator[Picture]:
            # Four at once and then one each 100 ms: 7 of 10 intervals.
            for time_ms in (0, 0, 0, 0, 100, 200, 300, 400, 500, 600, 700):
                yield Picture(np.zeros((48, 64, 3), np.uint8), time_ms * 1_000_000, time_ms)

    assert probe(parse_camera_uri("sample:"), timeout_s=60, opener=lambda _: Burst()).fps == 10


def test_a_probe_of_what_hangs_ends() -> None:
    hung = Hung()
    found = probe(parse_camera_uri("/dev/video0"), timeout_s=0.05, opener=lambda _: hung)
    assert found.problem == "no picture within 0.05 s"
    assert hung.aborted.is_set()
    hung.release.set()


def test_a_probe_tells_what_is_wrong(tmp_path: Path) -> None:
    found = probe(parse_camera_uri(f"{tmp_path}/missing.mp4"), timeout_s=60)
    assert "no such file" in found.problem
    assert found.width is None


def test_a_probe_of_a_text_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    assert "not a picture" in probe(parse_camera_uri(str(tmp_path / "text.jpg")), timeout_s=60).problem


def test_the_list_for_people(roots: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    cameras = cameras_of(roots, video0=WEBCAM, video1=FakeDevice(formats={BAYER: {}}))
    show_cameras(cameras, {cameras[0].address: Probe(cameras[0].address, 640, 480, 29.9, 0.5, "")})
    shown = capsys.readouterr().out
    assert f"v4l2:{roots[0]}/video0\n    HD Webcam ({roots[0]}/video0)\n" in shown
    assert "MJPG  640x480 at 29.97 fps, 1280x720 at 30 fps" in shown
    assert "works: 640x480, 29.9 pictures per second, the first after 0.5 s" in shown
    assert "NOT usable: gives the raw data" in shown


def test_the_list_for_programs(roots: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    cameras = cameras_of(roots, video0=WEBCAM)
    show_cameras(cameras, {cameras[0].address: Probe(cameras[0].address, 640, 480, 29.9, 0.5, "")}, as_json=True)
    (shown,) = json.loads(capsys.readouterr().out)
    assert shown["formats"][0] == {"fourcc": "YUYV", "sizes": [{"width": 640, "height": 480, "fps": [30.0, 15.0]}]}
    assert shown["probe"]["fps"] == 29.9


def test_an_empty_list_says_what_to_try(capsys: pytest.CaptureFixture[str]) -> None:
    show_cameras([])
    assert "No camera is attached" in capsys.readouterr().out
    show_cameras([], as_json=True)
    assert json.loads(capsys.readouterr().out) == []


def test_probes_of_addresses_are_shown_without_passwords(capsys: pytest.CaptureFixture[str]) -> None:
    found = probe(parse_camera_uri("http://carer:s3cret@127.0.0.1:9/snapshot.jpg"), timeout_s=60)
    show_probes([found])
    shown = capsys.readouterr().out
    assert "NO pictures" in shown
    assert "refused" in shown
    assert "s3cret" not in shown


def test_a_missing_device_is_told_before_anything_is_opened() -> None:
    with pytest.raises(CameraError, match="no such device"):
        open_source(parse_camera_uri("v4l2:/dev/v4l/by-id/usb-not-there?size=640x480"))


def test_a_picture_that_comes_as_one_row_gets_its_rows_back() -> None:
    """Seen with OpenCV 4.11 on a real kernel, with a camera whose format is BGR3."""
    picture = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    size = {cv2.CAP_PROP_FRAME_WIDTH: 6.0, cv2.CAP_PROP_FRAME_HEIGHT: 4.0}
    assert np.array_equal(rows_of(picture.reshape(1, -1), size.__getitem__), picture)
    assert rows_of(picture, size.__getitem__) is picture
    other = np.zeros((1, 7), np.uint8)
    assert rows_of(other, size.__getitem__) is other

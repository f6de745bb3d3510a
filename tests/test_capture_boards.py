"""CSI cameras of a Jetson and a Raspberry Pi: their programs are scripts that obey the real ones' rules."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_capture import pictures

from edge_fer.capture.attached import parse_rpicam_list
from edge_fer.capture.open import open_source
from edge_fer.capture.uri import parse_camera_uri
from edge_fer.errors import CameraError

# Between nvarguscamerasrc and a converter only NVMM memory fits; its messages go to standard output.
GST_LAUNCH = """
import re
words = sys.argv[1:]
assert words[:2] == ["-q", "nvarguscamerasrc"], words
sensor = int(re.fullmatch(r"sensor-id=(\\d+)", words[2])[1])
assert words[3] == words[5] == words[7] == words[9] == "!", words
assert re.fullmatch(r"video/x-raw\\(memory:NVMM\\),width=\\d+,height=\\d+,framerate=\\d+/\\d+", words[4]), words
assert words[6] == "nvvidconv"
assert words[8].startswith("video/x-raw,format=I420")
print("GST_ARGUS: Creating output stream", flush=True)
if sensor > 0:
    print("Error generated. gstnvarguscamerasrc.cpp, execute:740 No cameras available", flush=True)
    sys.exit(0)
print("GST_ARGUS: Running with following settings:\\n   Camera index = 0", flush=True)
source = ["videotestsrc", "is-live=true", "pattern=red", "!", words[4].replace("(memory:NVMM)", "")]
os.execv(REAL, [REAL, "-q", *source, "!", "videoconvert", "!", words[8], *words[9:]])
"""

# Rows are padded to 64 bytes; the picture uses all 256 levels; timeout 0 means for ever.
RPICAM_VID = """
import argparse
parser = argparse.ArgumentParser(allow_abbrev=False)
for name in ("camera", "width", "height", "timeout"):
    parser.add_argument("--" + name, type=int, required=True)
parser.add_argument("--framerate", type=float, required=True)
parser.add_argument("--codec", choices=["h264", "mjpeg", "yuv420"], required=True)
parser.add_argument("--nopreview", action="store_true")
parser.add_argument("--flush", action="store_true")
parser.add_argument("--output", required=True)
args = parser.parse_args()
assert args.codec == "yuv420" and args.output == "-" and args.timeout == 0 and args.nopreview
print("[0:01:02.3] [99]  INFO Camera camera_manager.cpp:326 libcamera v0.5.1", file=sys.stderr)
if args.camera > 0:
    sys.exit("ERROR: *** no cameras available ***")
stride = (args.width + 63) // 64 * 64
white = bytes([255]) * (stride * args.height) + bytes([128]) * (stride * args.height // 2)
while True:
    sys.stdout.buffer.write(white)
    sys.stdout.buffer.flush()
    time.sleep(1 / args.framerate)
"""

RPICAM_LIST = """\
Available cameras
-----------------
0 : imx708_wide [4608x2592 10-bit RGGB] (/base/axi/pcie@120000/rp1/i2c@80000/imx708@1a)
    Modes: 'SRGGB10_CSI2P' : 1536x864 [120.13 fps - (768, 432)/3072x1728 crop]
                             2304x1296 [56.03 fps - (0, 0)/4608x2592 crop]
                             4608x2592 [14.35 fps - (0, 0)/4608x2592 crop]

1 : imx219 [3280x2464 10-bit RGGB] (/base/axi/pcie@120000/rp1/i2c@88000/imx219@10)
    Modes: 'SRGGB8' : 640x480 [206.65 fps - (1000, 752)/1280x960 crop]
           'SRGGB10_CSI2P' : 640x480 [206.65 fps - (1000, 752)/1280x960 crop]
                             3280x2464 [21.19 fps - (0, 0)/3280x2464 crop]
"""

Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a program before all others on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def write(name: str, body: str) -> None:
        path = tmp_path / name
        path.write_text(f"#!{sys.executable}\nimport os, sys, time\n{body}")
        path.chmod(0o755)

    return write


@pytest.fixture
def gst_launch() -> str:
    program = shutil.which("gst-launch-1.0")
    if program is None:
        pytest.skip("GStreamer is not installed (apt install gstreamer1.0-tools): csi: NOT tested")
    return program


def test_a_csi_camera_of_a_jetson_gives_its_size(gst_launch: str, install: Install) -> None:
    install("gst-launch-1.0", f"REAL = {gst_launch!r}\n{GST_LAUNCH}")
    found = pictures("csi:0?size=320x240&fps=30", 3)
    assert [picture.bgr.shape for picture in found] == 3 * [(240, 320, 3)]
    blue, green, red = found[0].bgr[100, 100]
    assert red > 200
    assert max(blue, green) < 60


def test_a_jetson_without_that_camera_says_so(gst_launch: str, install: Install) -> None:
    install("gst-launch-1.0", f"REAL = {gst_launch!r}\n{GST_LAUNCH}")
    with pytest.raises(CameraError, match=r"csi:1: no such camera on the CSI connectors"):
        pictures("csi:1", 1)


def test_gstreamer_without_the_plugin_of_jetpack_names_its_package(gst_launch: str) -> None:
    if Path("/usr/lib/aarch64-linux-gnu/gstreamer-1.0/libgstnvarguscamerasrc.so").exists():
        pytest.skip(f"{gst_launch} has nvarguscamerasrc: this is a Jetson")
    with pytest.raises(CameraError, match="no nvarguscamerasrc; install nvidia-l4t-gstreamer"):
        pictures("csi:0", 1)


@pytest.mark.parametrize("program", ["rpicam-vid", "libcamera-vid"])
def test_a_camera_of_a_raspberry_pi_by_either_name_of_its_program(install: Install, program: str) -> None:
    install(program, RPICAM_VID)
    found = pictures("rpicam:0?size=128x96&fps=50", 3)
    assert [picture.bgr.shape for picture in found] == 3 * [(96, 128, 3)]
    assert np.all(found[0].bgr == 255), "all 256 levels are used, so white is white"


def test_a_raspberry_pi_without_that_camera_says_so(install: Install) -> None:
    install("rpicam-vid", RPICAM_VID)
    with pytest.raises(CameraError, match=r"rpicam:1: .*no cameras available"):
        pictures("rpicam:1", 1)


@pytest.mark.parametrize(
    ("uri", "package"), [("csi:0", "gstreamer1.0-tools.*nvidia-l4t-gstreamer"), ("rpicam:0", "rpicam-apps")]
)
def test_a_missing_program_names_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, package: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CameraError, match=f"no such program; install {package}"):
        open_source(parse_camera_uri(uri))


def test_the_list_of_a_raspberry_pi_is_understood() -> None:
    wide, plain = parse_rpicam_list(RPICAM_LIST)
    assert (wide.address, wide.name, wide.usable) == ("rpicam:0", "imx708_wide", True)
    (packed,) = wide.formats
    assert [(size.width, size.height, size.fps) for size in packed.sizes] == [
        *((1536, 864, (120.13,)), (2304, 1296, (56.03,)), (4608, 2592, (14.35,)))
    ]
    assert plain.address == "rpicam:1"
    assert [(form.fourcc, len(form.sizes)) for form in plain.formats] == [("SRGGB8", 1), ("SRGGB10_CSI2P", 2)]
    assert parse_rpicam_list("No cameras available!\n") == []

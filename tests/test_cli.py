"""Bad input: a message that names what is wrong, the right exit code, no traceback."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_fer.card import card_path
from edge_fer.classify import model_path
from edge_fer.cli import main
from edge_fer.tflite import installed_runtimes

GOOD_CAMERA = "[camera.front]\nuri = 'sample:'\n"


@pytest.mark.parametrize(
    ("argv", "code", "told"),
    [
        (["run"], 2, "no camera: give --camera"),
        (["run", "--camera", "sample:"], 2, "nowhere to publish to"),
        (["run", "--camera", "a=sample:", "--camera", "a=sample:", "--print"], 2, "'a' is given twice"),
        (["run", "--colour"], 2, "No such option"),
        (["jump"], 2, "No such command 'jump'"),
        (["run", "--camera", "webcam:0", "--print"], 78, "camera.camera1.uri: webcam:0: unknown kind of camera"),
        (
            ["run", "--camera", "front=/nowhere/clip.mp4", "--print"],
            69,
            "camera front: /nowhere/clip.mp4: no such file",
        ),
        (["run", "--camera", "/dev/video-none", "--print"], 69, "/dev/video-none: no such device"),
        (["run", "--camera", "sample:", "--node", "My Node", "--print"], 78, "node: found 'My Node'"),
        (["run", "--camera", "sample:", "--broker", "http://broker"], 78, "unknown scheme 'http'"),
        (["run", "--camera", "sample:", "--broker", "mqtt://u:s3cret@broker"], 78, "EDGE_FER_MQTT_PASSWORD"),
        (["run", "--config", "/nowhere/edge-fer.toml", "--print"], 78, "/nowhere/edge-fer.toml: cannot be read"),
        (["check-config", "/nowhere/edge-fer.toml"], 78, "/nowhere/edge-fer.toml: cannot be read"),
        (["run", "--camera", "v4l2:/dev/video0?size=big", "--print"], 78, "use size=640x480"),
        (["run", "--camera", "Front=clip.mp4", "--print"], 2, "a camera's name is 1 to 63 lower case letters"),
        (["run", "--camera", "sample:", "--broker", "mqtt://u:s3cret"], 78, "broker URL 'mqtt://u:...'"),
        (["bench", "--clip", "/nowhere/clip.mp4"], 69, "/nowhere/clip.mp4: no such file"),
        (["bench", "--clip", "/dev/video0"], 2, "give a clip, a picture or a folder that ends"),
        (["bench", "--clip", "sample:?loop=1"], 2, "give a clip, a picture or a folder that ends"),
    ],
)
def test_a_wrong_command_line_is_explained(
    argv: list[str], code: int, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == code
    err = capfd.readouterr().err
    assert told in err
    assert "Traceback" not in err
    assert "s3cret" not in err


def bad_files(folder: Path, kind: str) -> tuple[Path, str]:
    """A file that is no camera, and what must be told about it."""
    path = folder / {"1x1": "p.png", "8000x6000": "p.png"}.get(kind, "clip.mp4")
    if kind == "empty":
        path.touch()
        return path, "empty"
    if kind == "text":
        path.write_text("no video\n" * 50)
        return path, "not a video"
    if kind == "empty folder":
        path.mkdir()
        return path, "no picture"
    if kind == "name too long":
        return folder / ("x" * 300 + ".mp4"), "File name too long"
    if kind == "huge header":
        # A PNG that says it is 60000x60000 px.
        header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
        chunk = b"IHDR" + header
        path = folder / "p.png"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)))
        return path, "not a picture that can be read"
    width, height = (int(side) for side in kind.split("x"))
    cv2.imwrite(str(path), np.zeros((height, width), np.uint8))
    return path, f"{width}x{height} px"


@pytest.mark.parametrize("kind", ["empty", "text", "empty folder", "name too long", "huge header", "1x1", "8000x6000"])
def test_what_is_no_camera_ends_with_69_and_its_name(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path, told = bad_files(tmp_path, kind)
    assert main(["run", "--camera", f"front={path}", "--print"]) == 69
    out, err = capfd.readouterr()
    assert f"edge-fer: camera front: {path}" in err
    assert told in err
    assert out == ""


def test_a_clip_without_frames_ends_with_69(make_clip: Callable[..., Path], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--camera", str(make_clip(frames=0)), "--print"]) == 69
    assert "no frame" in capfd.readouterr().err


def test_a_clip_that_may_not_be_read_is_told_as_such(tmp_path: Path) -> None:
    """As another user, where the tests run as root: to root nothing is forbidden."""
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "clip.mp4").write_bytes(b"x")
    closed.chmod(0)
    tmp_path.chmod(0o711)
    for parent in list(tmp_path.parents)[:2]:
        parent.chmod(0o711)
    code = (
        "import encodings.ascii, os, sys; from edge_fer.cli import main; import edge_fer.service;"
        "os.getuid() or os.setresuid(65534, 65534, 65534);"
        f"sys.exit(main(['run', '--camera', 'front={closed}/clip.mp4', '--print']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    closed.chmod(0o700)
    assert "Permission denied" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 69


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")  # noqa: PTH110
def test_a_full_disk_ends_it_with_69() -> None:
    run = [sys.executable, "-m", "edge_fer", "run", "--camera", "sample:", "--print"]
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(run, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 69


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")  # noqa: PTH110
def test_a_schema_that_finds_the_disk_full_ends_with_69() -> None:
    schema = [sys.executable, "-m", "edge_fer", "schema", "--channel", "health"]
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(schema, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == "edge-fer: the output cannot be written (No space left on device)\n"
    assert done.returncode == 69


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_pictures_and_alpha_are_no_error(tmp_path: Path, channels: int, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), np.full((100, 100, channels), 200, np.uint8))
    assert main(["run", "--camera", str(path), "--print"]) == 0
    assert "Traceback" not in capfd.readouterr().err


def own_model(folder: Path, precision: str = "int8") -> Path:
    """A copy of a shipped model with its card."""
    shipped = model_path("nano_b", precision)  # type: ignore[arg-type]
    for source in (shipped, card_path(shipped)):
        shutil.copy(source, folder)
    return folder / shipped.name


def run_with_model(folder: Path, model: Path, runtime: str = "auto") -> int:
    config = folder / "edge-fer.toml"
    config.write_text(f"{GOOD_CAMERA}[model]\npath = '{model}'\nruntime = '{runtime}'\n")
    return main(["run", "--config", str(config), "--print", "--seconds", "1"])


def test_a_model_of_ones_own_runs(tmp_path: Path) -> None:
    assert run_with_model(tmp_path, own_model(tmp_path, "float32")) == 0


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("truncated", "the file is damaged or of another version"),
        ("changed", "the file is damaged or of another version"),
        ("no card", "its card emotionnet_nano_b_int8.json cannot be read"),
        ("card is text", "not a model card"),
        ("labels of something else", "reads 'joy'; edge-fer knows neutral, happiness"),
        ("missing", "cannot read the model"),
    ],
)
def test_a_damaged_model_is_refused_before_it_is_loaded(
    tmp_path: Path, damage: str, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    model = own_model(tmp_path)
    content = bytearray(model.read_bytes())
    if damage == "truncated":
        model.write_bytes(content[:1000])
    elif damage == "changed":
        content[5000] ^= 1
        model.write_bytes(content)
    elif damage == "no card":
        card_path(model).unlink()
    elif damage == "card is text":
        card_path(model).write_text("a fine model")
    elif damage == "labels of something else":
        card = json.loads(card_path(model).read_text())
        card["labels"][0] = "joy"
        card_path(model).write_text(json.dumps(card))
    else:
        model.unlink()
    assert run_with_model(tmp_path, model) == 69
    err = capfd.readouterr().err
    assert told in err
    assert str(tmp_path) in err


@pytest.mark.skipif("tflite-runtime" not in installed_runtimes(), reason="tflite-runtime has no wheel for this Python")
def test_int8_off_xnnpack_is_refused_with_what_to_choose(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_with_model(tmp_path, own_model(tmp_path), "tflite-runtime") == 69
    assert "XNNPACK takes only" in capfd.readouterr().err


def test_check_config_says_that_a_file_is_right(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "edge-fer.toml"
    path.write_text(f"node = 'lab'\n{GOOD_CAMERA}")
    assert main(["check-config", str(path)]) == 0
    assert "node lab, cameras front" in capfd.readouterr().out


def test_help_loads_no_heavy_module() -> None:
    heavy = "[name for name in ('numpy', 'cv2', 'paho') if name in sys.modules]"
    check = f"import sys; from edge_fer.cli import main; main(['--help']); print({heavy})"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"

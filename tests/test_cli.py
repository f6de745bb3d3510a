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
        (["run", "--colour"], 2, "edge-fer: No such option"),
        (["run", "mqtt://u:s3cret@broker"], 2, "unexpected extra argument (mqtt://u:***@broker) (edge-fer run --help)"),
        (["run", "--camera", "sample:", "--print", "--seconds", "nan"], 2, "'nan' is not a number"),
        (["bench", "--seconds", "nan"], 2, "'--seconds': 'nan' is not a number"),
        (["bench", "--fps", "nan"], 2, "'--fps': 'nan' is not a number"),
        (["bench", "--seconds", "0"], 2, "0.0 is not in the range 0.1<=x<=86400"),
        (["bench", "--plot", "x" * 300 + ".png"], 2, "cannot be written there (File name too long)"),
        (["bench", "--root", "x" * 300], 2, "cannot be read (File name too long)"),
        (["tune", "--seconds", "nan"], 2, "'--seconds': 'nan' is not a number"),
        (["cameras", "--timeout", "nan"], 2, "'--timeout': 'nan' is not a number"),
        (["pause", "--node", "../other"], 2, "--node '../other': the name of a node is 1 to 63 lower case letters"),
        (["resume", "--node", ""], 2, "--node '': the name of a node is 1 to 63 lower case letters"),
        (["--power-mode"], 2, "'--power-mode' requires an argument"),
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
    assert err.splitlines()[-1].startswith("edge-fer: ")
    assert not err.startswith("Usage:")


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


def test_a_clip_that_may_not_be_read_is_told_as_such(open_folder: Path) -> None:
    """As another user, where the tests run as root: to root nothing is forbidden."""
    closed = open_folder / "closed"
    closed.mkdir()
    (closed / "clip.mp4").write_bytes(b"x")
    closed.chmod(0)
    environ = {**os.environ, "XDG_STATE_HOME": str(open_folder / "state")}
    code = (
        "import encodings.ascii, os, sys; from edge_fer.cli import main; import edge_fer.service;"
        "os.getuid() or os.setresuid(65534, 65534, 65534);"
        f"sys.exit(main(['run', '--camera', 'front={closed}/clip.mp4', '--print']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environ, timeout=300
    )
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


@pytest.mark.parametrize("shape", ["picture", "folder", "clip"])
def test_a_file_whose_name_is_no_utf8_does_not_crash_it(
    tmp_path: Path, shape: str, make_clip: Callable[..., Path]
) -> None:
    """As from a disk of another system: OpenCV would end the process."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    odd = folder / (os.fsdecode(b"caf\xe9") + (".mp4" if shape == "clip" else ".png"))
    if shape == "clip":
        shutil.copy(make_clip(frames=3), odd)
    else:
        good = folder / "good.png"
        cv2.imwrite(str(good), np.full((100, 100), 200, np.uint8))
        shutil.copy(good, odd)
    camera = f"images:{folder}" if shape == "folder" else str(odd)
    bench = [sys.executable, "-m", "edge_fer", "bench", "--clip", camera, "--threads", "0"]
    command = [*bench[:3], "run", "--camera", camera, "--print"] if shape == "folder" else bench
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "its name is no UTF-8, rename it" in done.stderr
    assert done.returncode == (0 if shape == "folder" else 69)


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-", "2>/dev/full"])
def test_a_standard_file_that_is_closed_or_full_is_no_error(closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"$0" -m edge_fer power-mode banana {closed}', sys.executable],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == 2
    shown = subprocess.run(
        ["sh", "-c", f'"$0" -m edge_fer power-mode {closed}', sys.executable],
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.stderr == ""
    assert shown.returncode == 0


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

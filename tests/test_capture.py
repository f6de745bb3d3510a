from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_fer.capture.open import open_source
from edge_fer.capture.source import Picture
from edge_fer.capture.uri import parse_camera_uri
from edge_fer.errors import CameraError

MakeClip = Callable[..., Path]


def pictures(uri: object, at_most: int = 1000) -> list[Picture]:
    source = open_source(parse_camera_uri(str(uri)))
    try:
        return list(islice(source.pictures(), at_most))
    finally:
        source.close()


def test_a_clip_gives_every_frame_with_its_time(make_clip: MakeClip) -> None:
    found = pictures(str(make_clip(frames=5, fps=10)))
    assert [picture.clip_ms for picture in found] == pytest.approx([0, 100, 200, 300, 400])
    assert [int(picture.bgr.mean().round(-1)) for picture in found] == [0, 20, 40, 60, 80]


def test_a_looped_clip_goes_on_in_time(make_clip: MakeClip) -> None:
    found = pictures(f"file:{make_clip(frames=3, fps=10)}?loop=1", at_most=7)
    assert [picture.clip_ns for picture in found] == [number * 100_000_000 for number in range(7)]
    assert [picture.clip_ms for picture in found] == pytest.approx([0, 100, 200, 0, 100, 200, 0])


def test_a_picture_is_shown_for_a_second(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "face.png"), np.zeros((60, 80, 3), np.uint8))
    found = pictures(str(tmp_path / "face.png"))
    assert len(found) == 10
    assert found[-1].clip_ms == 900


def test_a_folder_shows_its_pictures_by_name_and_passes_over_what_is_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, level in (("b.png", 200), ("a.png", 100)):
        cv2.imwrite(str(tmp_path / name), np.full((60, 80, 3), level, np.uint8))
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "c.jpg").write_text("not a picture either")
    found = pictures(f"images:{tmp_path}?fps=2&seconds=1")
    assert [int(picture.bgr[0, 0, 0]) for picture in found] == [100, 100, 200, 200]
    assert "c.jpg" in caplog.text
    assert "notes.txt" not in caplog.text


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_pictures_and_pictures_with_alpha_are_seen_as_colour(tmp_path: Path, channels: int) -> None:
    image = np.full((60, 80, channels), 90, np.uint8)
    cv2.imwrite(str(tmp_path / "face.png"), image)
    picture = pictures(str(tmp_path / "face.png"), at_most=1)[0]
    assert picture.bgr.shape == (60, 80, 3)
    assert picture.bgr.mean() == 90


@pytest.mark.parametrize(("width", "height", "told"), [(1, 1, "1x1 px"), (8000, 6000, "48 MP")])
def test_a_picture_of_absurd_size_is_refused(tmp_path: Path, width: int, height: int, told: str) -> None:
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), np.zeros((height, width), np.uint8))
    with pytest.raises(CameraError, match=rf"picture\.png.*{told}"):
        pictures(str(path))


def broken_files(folder: Path) -> dict[str, tuple[str, str]]:
    """Address and what must be told about it."""
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("this is no video\n" * 100)
    (folder / "text.jpg").write_text("this is no picture\n" * 100)
    (folder / "pictures").mkdir()
    return {
        "missing": (f"{folder}/missing.mp4", "no such file"),
        "empty": (f"{folder}/empty.mp4", "empty"),
        "text as video": (f"{folder}/text.mp4", "not a video"),
        "text as picture": (f"{folder}/text.jpg", "not a picture"),
        "empty folder": (f"{folder}/pictures", "no picture"),
        "folder as file": (f"file:{folder}/pictures", "not a file"),
        "missing device": ("/dev/video-that-is-not-there", "no such device"),
        "no device": ("v4l2:/dev/null", "not a video device"),
    }


@pytest.mark.parametrize(
    "case",
    [
        *("missing", "empty", "text as video", "text as picture"),
        *("empty folder", "folder as file", "missing device", "no device"),
    ],
)
def test_what_is_no_camera_is_named_with_the_reason(tmp_path: Path, case: str) -> None:
    uri, told = broken_files(tmp_path)[case]
    with pytest.raises(CameraError) as error:
        pictures(uri)
    assert told in str(error.value)
    assert uri.partition(":")[2] in str(error.value) or uri in str(error.value)


def test_a_video_without_frames_is_told_apart_from_an_ended_one(make_clip: MakeClip) -> None:
    with pytest.raises(CameraError, match="no frame"):
        pictures(str(make_clip(frames=0)))


def test_a_dead_stream_is_told_without_its_password() -> None:
    with pytest.raises(CameraError, match=r"connection refused|no video stream") as error:
        pictures("http://carer:s3cret@127.0.0.1:9/stream")
    assert "s3cret" not in str(error.value)

"""Every address that a user can write, right and wrong; and that none of them shows a password."""

from __future__ import annotations

import pytest

from edge_fer.capture.uri import parse_camera_uri
from edge_fer.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "scheme", "target", "options"),
    [
        ("/dev/video0", "v4l2", "/dev/video0", {}),
        (
            *("v4l2:/dev/v4l/by-id/usb-cam?size=640x480&fps=15", "v4l2", "/dev/v4l/by-id/usb-cam"),
            {"size": "640x480", "fps": "15"},
        ),
        ("RTSPS://host/path?channel=1&x=?", "url", "RTSPS://host/path?channel=1&x=?", {}),
        ("http://[::1]:8080/video.mjpg", "url", "http://[::1]:8080/video.mjpg", {}),
        ("what?.mp4", "file", "what?.mp4", {}),
        ("csi:0?size=1280x720&fps=15", "csi", "0", {"size": "1280x720", "fps": "15"}),
        ("rpicam:1", "rpicam", "1", {}),
        ("exec:cat film.y4m", "exec", "cat film.y4m", {}),
        ("exec:curl http://h/a?b=c", "exec", "curl http://h/a?b=c", {}),
        (
            *("exec:curl http://h/a?b=c?size=64x48&format=i420", "exec", "curl http://h/a?b=c"),
            {"size": "64x48", "format": "i420"},
        ),
        ("exec:curl http://h/a?size=64x48&b=1", "exec", "curl http://h/a?size=64x48&b=1", {}),
        ("exec:ls ?", "exec", "ls ?", {}),
    ],
)
def test_an_address_is_taken_apart(text: str, scheme: str, target: str, options: dict[str, str]) -> None:
    uri = parse_camera_uri(text)
    assert (uri.scheme, uri.target, uri.options) == (scheme, target, options)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("webcam:0", "unknown kind of camera 'webcam:'.*v4l2:.*csi:.*rtsp://"),
        ("Rstp://host/x", "unknown kind of camera 'Rstp:'"),
        ("file:clip.mp4?lop=1", "unknown option 'lop'.*loop, realtime"),
        ("file:clip.mp4?loop=yes", "use loop=1 or loop=0"),
        ("file:", "use file:PATH"),
        ("images:DIR?fps=fast", "use a number from 0.1"),
        ("v4l2:/dev/video0?fps=0", "fps=0; use a number from 0.1"),
        ("csi:0?fps=-1", "use a number from 0.1"),
        ("csi:0?fps=nan", "use a number from 0.1"),
        ("v4l2:/dev/video0?size=big", "use size=640x480"),
        ("v4l2:/dev/video0?size=0x0", "use size=640x480"),
        ("v4l2:/dev/video0?size=8x8", "at least 48 px"),
        ("v4l2:/dev/video0?size=99999x99999", "at most 33 MP"),
        ("csi:0?size=1284x720", "multiple of 8.*1280x720"),
        ("rpicam:0?size=800x600", "multiple of 64.*768x600"),
        ("csi:front", "csi:0 is the first camera"),
        ("csi:", "csi:0 is the first camera"),
        ("rpicam:99", "rpicam:0 is the first camera"),
        ("exec:", "names no command"),
        ("exec:sh -c 'echo", "no closing quotation"),
        ("exec:cam?size=640x480", "size and format go together"),
        ("exec:cam?format=i420", "size and format go together"),
        ("exec:cam?size=640x480&format=h264", "use i420, bgr24, gray8"),
        ("exec:cam?size=641x480&format=i420", "multiple of 2.*640x480"),
        ("rtsp://", "use rtsp://user:password@host:554/path"),
        ("rtsp://:554/x", "use rtsp://user:password@host:554/path"),
        ("rtsp://host:99999/x", "use rtsp://user:password@host:554/path"),
        ("rtsp://host/a b", "%20"),
        ("http://host/" + 3000 * "x", "3012 characters; at most 2000"),
    ],
)
def test_a_wrong_address_says_what_is_right(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_camera_uri(text)


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://carer:s3cret@camera.local/stream",
        "http://camera.local/stream?user=carer&password=s3cret",
        "exec:ffmpeg -i rtsp://carer:s3cret@camera.local/stream -f yuv4mpegpipe -",
        "exec:curl -u carer:s3cret http://camera.local/",
        "exec:camera --password=s3cret --token s3cret",
    ],
)
def test_a_password_is_never_shown(text: str) -> None:
    uri = parse_camera_uri(text)
    assert "s3cret" not in str(uri)
    assert "***" in str(uri)
    assert "s3cret" not in repr(uri)
    assert "s3cret" in uri.target


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://carer:it's3cret@camera.local/stream",
        'rtsp://carer:"s3cret@camera.local/stream',
        "rtsp://carer:pa ss3cret@camera.local/stream",
        "rtsp://carer:x/s3cret@camera.local/stream",
        "rtsp://carer:x\ns3cret@camera.local/stream",
        "rstp://carer:s3cret@camera.local/stream",
    ],
)
def test_an_error_about_an_address_does_not_show_its_password(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_camera_uri(text)
    assert "s3cret" not in str(error.value)

"""Configuration files that a person, a template or a failing disk has spoilt: an error that says so, or a Config."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_fer.config import Config, load_config
from edge_fer.errors import ConfigError

EXAMPLES = int(os.environ.get("EDGE_FER_EXAMPLES", "300"))
"""The figure of the long run is 100,000."""

GOOD = """
node = "lab"
telemetry_s = 2.5
[broker]
url = "mqtt://carer@broker.local"
[camera.front]
uri = "rtsp://carer:s3cret@camera.local/stream?token=s3cret"
max_fps = 5.0
[camera.hall]
uri = "/dev/video0"
enabled = false
[model]
prior = [0.3, 0.3, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05]
[detector]
min_face_px = 40
[decide]
hold_ms = 600
[rule.happy]
kind = "expression"
expressions = ["happiness"]
quiet = ["22:00-07:00"]
time_zone = "Europe/Berlin"
[rule.empty]
kind = "nobody"
for_s = 60
cameras = ["hall"]
[commands]
allow = ["pause"]
"""
WORDS = [
    *(
        "[",
        "]",
        "[[",
        '"',
        "'",
        "=",
        ".",
        "\n",
        "{",
        "}",
        "nan",
        "inf",
        "-1",
        "1e400",
        "9" * 5000,
        "true",
        "1979-05-27",
    ),
    *(
        "kind",
        "uri",
        "rule",
        "camera",
        "\0",
        "\ufeff",
        "\u2028",
        "[rule.x]\n",
        'kind = "faces"\n',
        "{a={b={}}}",
        "[" * 2000,
    ),
]


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    text = GOOD
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        text = text[:start] + draw(st.sampled_from(["", *WORDS]) | st.text(max_size=4)) + text[end:]
    data = text.encode(errors="surrogatepass")
    return data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 5)) == 0 else data


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "edge-fer.toml"


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(spoilt())
def test_a_spoilt_file_is_a_configuration_or_an_error_that_says_why(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with suppress(ConfigError):
        assert isinstance(load_config(path, {}), Config)

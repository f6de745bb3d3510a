"""A face that does nothing, before a camera with noise and a light that comes and goes: nothing is to be told of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 60


@pytest.mark.system
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed: apt-get install ffmpeg")
@pytest.mark.parametrize(
    ("photo", "expression"), [("neutral.jpeg", "neutral"), ("angry.jpg", "anger"), ("single_face.jpg", "happiness")]
)
def test_a_steady_face_switches_its_label_once_a_minute_at_most(media: Path, photo: str, expression: str) -> None:
    noise = "scale=640:-2,noise=alls=25:allf=t,eq=brightness=0.03*sin(t):eval=frame"
    camera = f"exec:ffmpeg -nostdin -loglevel error -re -loop 1 -r 15 -i {media / photo} -vf {noise} "
    camera += "-pix_fmt yuv420p -f yuv4mpegpipe -"
    command = [sys.executable, "-m", "edge_fer", "run", "--camera", camera, "--print", "--seconds", str(SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert (events[0]["type"], events[0]["expression"], events[-1]["type"]) == ("start", expression, "end")
    assert {event["track"] for event in events} == {events[0]["track"]}, done.stdout
    assert [event["type"] for event in events].count("update") <= 1
    assert events[-1]["duration_ms"] > SECONDS * 1000 / 2

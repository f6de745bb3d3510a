"""Idling in a real daemon, with a real camera's program: fewer looks, counted as withheld, and none lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from idle_cpu import measure

pytestmark = pytest.mark.system


def test_a_room_without_faces_costs_less(media: Path) -> None:
    if not shutil.which("ffmpeg"):
        pytest.skip("no ffmpeg: apt-get install ffmpeg")
    awake, idle = (measure(media / "no_face.mp4", 8.0, idle=idle, idle_fps=2.0) for idle in (False, True))
    assert awake.withheld_fps == 0
    # Of 24 frames a second; the detector takes one frame of this clip for a face, and looks again.
    assert idle.looked_at_fps < 8 < awake.looked_at_fps + awake.dropped / 8
    assert idle.withheld_fps > 0
    # By a search in four; half of it leaves room for whatever else runs here.
    assert idle.main_cpu_ms_per_s < 0.75 * awake.main_cpu_ms_per_s

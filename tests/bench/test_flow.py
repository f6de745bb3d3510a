"""The whole pipeline on a clip, as the bench plays it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_fer.bench.clips import finite
from edge_fer.bench.flow import measure_flow
from edge_fer.errors import UnavailableError


def test_a_run_in_which_no_frame_comes_through_is_no_row_of_zeros(make_clip: Callable[..., Path]) -> None:
    with pytest.raises(UnavailableError, match=r"no frame was looked at within .* s; give more --seconds"):
        measure_flow(finite(str(make_clip(frames=3))), "nano_b", seconds=0.0)


def test_without_a_sensor_the_reason_is_that_there_is_none(make_clip: Callable[..., Path]) -> None:
    row = measure_flow(finite(str(make_clip(frames=3))), "nano_b")
    assert (row.frames, row.events, row.first_event_s) == (3, 0, None)
    assert row.speed.energy_missing == "no power sensor is read"

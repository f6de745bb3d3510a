from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_fer.frame import Box
from edge_fer.look import CameraNews, FaceLook, Look, Stop, Tick
from edge_fer.readability import Quality

FLOATS = st.floats(-1e4, 1e4)


def look(number: float, share: float) -> Look:
    quality = Quality(size_px=80, brightness=100, sharpness=share, yaw_deg=number, roll_deg=-number)
    read = FaceLook(1, Box(number, number, 80.123, 80.127), quality, (share,) * 8)
    refused = dataclasses.replace(read, track=2, probabilities=None)
    return Look("front", 1, 2, 3, abs(number), abs(number), 640, 360, (read, refused), (7,))


@given(FLOATS, st.floats(0, 1))
def test_rounding_twice_is_rounding_once(number: float, share: float) -> None:
    once = look(number, share).rounded()
    assert once.rounded() == once


def test_a_look_keeps_what_decisions_need() -> None:
    rounded = look(12.34567, 0.123456).rounded()
    assert rounded.faces[0].box == Box(12.3, 12.3, 80.1, 80.1)
    assert rounded.faces[0].probabilities == (0.1235,) * 8
    assert rounded.faces[0].quality.yaw_deg == 12.3
    assert rounded.faces[1].probabilities is None
    assert (rounded.clip_ms, rounded.age_ms, rounded.lost) == (12.346, 12.346, (7,))


def test_scores_of_a_network_become_plain_numbers() -> None:
    face = dataclasses.replace(look(1, 0.1).faces[0], probabilities=tuple(np.full(8, 0.125, np.float32)))
    rounded = dataclasses.replace(look(1, 0.1), faces=(face,)).rounded()
    assert rounded.faces[0].probabilities is not None
    assert {type(share) for share in rounded.faces[0].probabilities} == {float}


def test_no_observation_can_hold_a_picture() -> None:
    kinds = {
        field.type: kind.__name__
        for kind in (Look, FaceLook, CameraNews, Tick, Stop, Quality)
        for field in dataclasses.fields(kind)
    }
    assert not [name for name in kinds if "array" in str(name).lower() or "bytes" in str(name).lower()]

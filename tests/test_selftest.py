from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from drawn_faces import landmarks
from pydantic import ValidationError

from edge_fer.classify import load_reader
from edge_fer.detect import FaceDetector
from edge_fer.events import SelfTest
from edge_fer.frame import Box, Face
from edge_fer.health.drawn_face import drawn_face_box
from edge_fer.health.selftest import FRAME_PX, OutboxWatch, SelfTester, SelfTestSettings
from edge_fer.labels import EXPRESSIONS
from edge_fer.messages import message

S = 1_000_000_000
EYES = landmarks(140, 105, 180, 105)
HAPPY = np.array([0.93 if name == "happiness" else 0.01 for name in EXPRESSIONS], np.float32)


class Networks:
    """A detector and a reader that give what they are told to, or fail with it."""

    def __init__(self) -> None:
        self.faces: list[Face] | Exception = [Face(drawn_face_box(*FRAME_PX), EYES, 0.9)]
        self.probabilities: npt.NDArray[np.float32] | Exception = HAPPY
        self.frames = 0

    def detect(self, bgr: npt.NDArray[np.uint8]) -> list[Face]:
        assert bgr.shape == (FRAME_PX[1], FRAME_PX[0], 3)
        self.frames += 1
        if isinstance(self.faces, Exception):
            raise self.faces
        return self.faces

    def read(self, crop: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        assert crop.shape == (48, 48)
        if isinstance(self.probabilities, Exception):
            raise self.probabilities
        return self.probabilities


def looking_with(networks: Networks, period_s: float = 300) -> SelfTester:
    ticks = iter(range(0, 10**12, 4_000_000))
    return SelfTester(
        networks, networks, boot_id="b", period_s=period_s, unix_ns=lambda: 0, stopwatch_ns=lambda: next(ticks)
    )


def test_the_shipped_networks_pass() -> None:
    test = SelfTester(FaceDetector("full"), load_reader("nano_b"), boot_id="b", period_s=300)
    first, second = test.run_due(0), test.run_due(300 * S)
    assert first
    assert second
    assert first.passed, first.reason
    assert second.passed, second.reason
    assert first.confidence == second.confidence
    assert first.faces == 1
    assert first.confidence
    assert first.confidence > 0.5
    assert test.problem == ""
    assert test.passed_at == second.occurred_at


def test_it_runs_at_once_and_then_once_in_a_period() -> None:
    networks = Networks()
    test = looking_with(networks, period_s=10)
    assert [number for number in range(35) if test.run_due(number * S)] == [0, 10, 20, 30]
    assert networks.frames == 4


def test_a_late_turn_is_not_made_up_for() -> None:
    test = looking_with(Networks(), period_s=10)
    assert [number for number in (0, 65, 66, 74, 75) if test.run_due(number * S)] == [0, 65, 75]


def test_off_it_does_nothing() -> None:
    networks = Networks()
    assert looking_with(networks, period_s=0).run_due(10**15) is None
    assert networks.frames == 0


def test_its_result_is_an_event_of_its_own_channel() -> None:
    result = looking_with(Networks()).run_due(0)
    assert result == SelfTest(
        id="b-self-test-1", passed=True, reason="", faces=1, confidence=0.93, took_ms=4.0,
        occurred_at="1970-01-01T00:00:00.000Z", boot_id="b",
    )  # fmt: skip
    told = message(result, "lab")
    assert (told.topic, told.qos, told.is_event) == ("edge-fer/lab/self-test", 1, True)


@pytest.mark.parametrize(
    ("faces", "told"),
    [
        ([], "found 0 faces"),
        ([Face(Box(0, 0, 20, 20), EYES, 0.9)], "found 1 faces, none where one is drawn"),
        ([Face(Box(float("nan"), 0, 20, 20), EYES, 0.9)], "none where one is drawn"),
        (RuntimeError("invoke failed at rtsp://u:s3cret@camera"), "RuntimeError: invoke failed at rtsp://u:***@camera"),
    ],
)
def test_a_blind_detector_is_found(faces: list[Face] | Exception, told: str) -> None:
    networks = Networks()
    test = looking_with(networks)
    networks.faces = faces
    result = test.run_due(0)
    assert result
    assert not result.passed
    assert told in result.reason
    assert test.problem == result.reason
    assert test.passed_at is None


@pytest.mark.parametrize(
    ("probabilities", "told"),
    [
        (np.full(8, np.nan, np.float32), "no probabilities"),
        (np.full(8, np.inf, np.float32), "no probabilities"),
        (np.zeros(8, np.float32), "no probabilities"),
        (HAPPY - np.float32(0.02) + np.eye(8, dtype=np.float32)[1] * np.float32(0.16), "no probabilities"),
        (np.full(7, 1 / 7, np.float32), r"gave (7,) numbers"),
        (ValueError("cannot set tensor"), "ValueError: cannot set tensor"),
    ],
)
def test_a_broken_network_is_found(probabilities: npt.NDArray[np.float32] | Exception, told: str) -> None:
    networks = Networks()
    networks.probabilities = probabilities
    result = looking_with(networks).run_due(0)
    assert result
    assert not result.passed
    assert told in result.reason
    assert result.confidence is None


def test_the_same_picture_must_read_the_same_and_a_later_pass_ends_the_problem() -> None:
    networks = Networks()
    test = looking_with(networks)
    test.run_due(0)
    networks.probabilities = HAPPY[::-1].copy()
    drifted = test.run_due(300 * S)
    assert drifted
    assert "differently from the first time" in drifted.reason
    networks.probabilities = HAPPY
    assert test.problem
    test.run_due(600 * S)
    assert test.problem == ""


@pytest.mark.parametrize("period_s", [1, 9, -1, 86_401])
def test_a_period_that_makes_no_sense_is_refused(period_s: int) -> None:
    with pytest.raises(ValidationError):
        SelfTestSettings(period_s=period_s)


@pytest.mark.parametrize("period_s", [0, 10, 300, 86_400])
def test_a_period_that_makes_sense_is_taken(period_s: int) -> None:
    assert SelfTestSettings(period_s=period_s).period_s == period_s


@dataclass
class Way:
    connected: bool = True
    pending: int = 1
    acknowledged: int = 0


def test_a_broker_that_takes_nothing_is_found_after_two_periods() -> None:
    watch, way = OutboxWatch(patience_s=600), Way()
    told = [number for number in range(0, 700, 10) if watch.problem(way, number * S)]
    assert told[0] == 610
    assert "acknowledged nothing for 11 min; 1 events wait" in watch.problem(way, 700 * S)
    way.acknowledged = 1
    assert watch.problem(way, 710 * S) == ""


def test_one_acknowledgement_in_two_periods_is_enough() -> None:
    watch, way = OutboxWatch(patience_s=600), Way()
    for number in range(0, 10_000, 10):
        way.acknowledged = number // 500
        assert watch.problem(way, number * S) == ""


def test_without_a_connection_or_without_anything_to_take_nobody_is_to_blame() -> None:
    watch = OutboxWatch(patience_s=600)
    assert not any(watch.problem(Way(connected=False), number * S) for number in range(0, 5000, 10))
    assert not any(watch.problem(Way(pending=0), number * S) for number in range(5000, 10_000, 10))


def test_a_broker_that_drops_each_connection_takes_nothing_either() -> None:
    watch = OutboxWatch(patience_s=600)
    told = [number for number in range(0, 2000, 10) if watch.problem(Way(connected=number % 20 == 0), number * S)]
    # Half the time there is a connection, so 600 s of one take 1200.
    assert told[0] == 1220


def test_the_watch_can_be_off() -> None:
    watch = OutboxWatch(patience_s=0)
    assert not any(watch.problem(Way(), number * S) for number in range(0, 10**6, 1000))

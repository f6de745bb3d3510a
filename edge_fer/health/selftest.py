"""The dead-man self-test: a drawn face goes through detector, crop, network and outbox, so that silence means calm."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from edge_fer.align import crop_face
from edge_fer.events import SelfTest, rfc3339
from edge_fer.frame import Face
from edge_fer.health.drawn_face import drawn_face_box, drawn_frame
from edge_fer.labels import EXPRESSIONS
from edge_fer.privacy import hide_password
from edge_fer.toml import Settings

SELF_TEST_CAMERA = "self-test"
"""No camera may have this name."""

FRAME_PX = (320, 240)
"""Width and height of the drawn frame. Every shipped detector finds its face, and every network reads it as happy."""

LEAST_OVERLAP = 0.5
"""Of the face that is found with the one that was drawn: shipped detectors reach 0.8."""

LARGEST_DRIFT = 0.01
"""Of a probability, from the first test of this run: the same numbers go in, so the same come out."""

SUM_TOLERANCE = 1e-3
"""The softmax makes it 1, but for the rounding of eight float32 numbers; own models may give rounded ones."""

LEAST_PERIOD_S = 10


class SelfTestSettings(Settings):
    """`[self_test]`: whether this node can still see and tell."""

    period_s: int = Field(default=300, ge=0, le=86_400)
    """From 10 s on; 0 turns it off."""

    @field_validator("period_s")
    @classmethod
    def _is_no_load(cls, period_s: int) -> int:
        if 0 < period_s < LEAST_PERIOD_S:
            raise ValueError(f"found {period_s}; use 0 (off), or {LEAST_PERIOD_S} to 86400")
        return period_s


class Detector(Protocol):
    """Frame -> faces."""

    def detect(self, bgr: npt.NDArray[np.uint8]) -> list[Face]:
        """Faces of an image (height, width, 3)."""


class Reader(Protocol):
    """Face -> probabilities."""

    def read(self, crop: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Probability of each expression, (8,), of a grey face (48, 48)."""


class Delivery(Protocol):
    """What is known of the way to the broker."""

    @property
    def connected(self) -> bool:
        """Whether a connection lasts."""

    @property
    def pending(self) -> int:
        """Events that the broker has not acknowledged."""

    @property
    def acknowledged(self) -> int:
        """Messages that it has acknowledged, since the start; never goes back."""


class SelfTester:
    """Looks at a drawn face every now and then, with the networks that the daemon uses. Main thread only."""

    def __init__(
        self,
        detector: Detector,
        reader: Reader,
        *,
        boot_id: str,
        period_s: float,
        unix_ns: Callable[[], int] = time.time_ns,
        stopwatch_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """`period_s` 0 turns it off."""
        self._detector, self._reader, self._boot_id = detector, reader, boot_id
        self._period_ns = round(period_s * 1e9)
        self._unix_ns, self._stopwatch_ns = unix_ns, stopwatch_ns
        self._frame = drawn_frame(*FRAME_PX) if period_s else np.zeros((0, 0, 3), np.uint8)
        self._next_ns: int | None = None
        self._count = 0
        self._first: npt.NDArray[np.float32] | None = None
        self.problem = ""
        """Why the last test failed; "" where it passed."""
        self.passed_at: str | None = None
        """When the last one that passed was."""

    def use(self, detector: Detector, reader: Reader, period_s: float) -> None:
        """Test these networks from now on, the first time at once."""
        self._detector, self._reader, self._period_ns = detector, reader, round(period_s * 1e9)
        self._frame = drawn_frame(*FRAME_PX) if period_s else np.zeros((0, 0, 3), np.uint8)
        self._first, self._next_ns = None, None
        if not period_s:
            self.problem = ""

    def run_due(self, now_ns: int) -> SelfTest | None:
        """The result to publish, if a test is due; the first one is due at once. Costs one frame."""
        if not self._period_ns or (self._next_ns is not None and now_ns < self._next_ns):
            return None
        self._next_ns = now_ns + self._period_ns
        self._count += 1
        started_ns = self._stopwatch_ns()
        faces, confidence, reason = self._look()
        took_ms = (self._stopwatch_ns() - started_ns) / 1e6
        at = rfc3339(self._unix_ns())
        self.problem = reason
        if not reason:
            self.passed_at = at
        return SelfTest(
            id=f"{self._boot_id}-{SELF_TEST_CAMERA}-{self._count}",
            passed=not reason,
            reason=reason,
            faces=faces,
            confidence=confidence,
            took_ms=round(took_ms, 3),
            occurred_at=at,
            boot_id=self._boot_id,
        )

    def _look(self) -> tuple[int, float | None, str]:
        """Faces found, confidence of the drawn one, and what is wrong with either."""
        faces: list[Face] = []
        try:
            faces = self._detector.detect(self._frame)
            expected = drawn_face_box(*FRAME_PX)
            found = [face for face in faces if face.box.iou(expected) >= LEAST_OVERLAP]
            if not found:
                return len(faces), None, f"the detector found {len(faces)} faces, none where one is drawn"
            probabilities = self._reader.read(crop_face(self._frame, found[0]))
        except Exception as err:  # noqa: BLE001 - whatever is broken, it must become health and not silence
            return len(faces), None, hide_password(f"{type(err).__name__}: {err}")[:200]
        if wrong := self._wrong(probabilities):
            return len(faces), None, wrong
        return len(faces), round(float(probabilities.max()), 4), ""

    def _wrong(self, probabilities: npt.NDArray[np.float32]) -> str:
        if probabilities.shape != (len(EXPRESSIONS),):
            return f"the network gave {probabilities.shape} numbers, not {(len(EXPRESSIONS),)}"
        honest = np.isfinite(probabilities).all() and probabilities.min() >= 0
        if not honest or abs(probabilities.sum() - 1) > SUM_TOLERANCE:
            return f"the network gave {probabilities.round(3).tolist()}, which are no probabilities"
        if self._first is None:
            self._first = probabilities.copy()
        drift = float(np.abs(probabilities - self._first).max())
        if drift > LARGEST_DRIFT:
            return f"the same picture reads {drift:.2f} differently from the first time"
        return ""


class OutboxWatch:
    """Finds a broker that is connected and takes nothing, which looks like calm from the other side."""

    def __init__(self, patience_s: float) -> None:
        """Two periods of the self-test: each leaves an event to be acknowledged. 0 turns it off."""
        self._patience_ns = round(patience_s * 1e9)
        self._acknowledged = -1
        self._last_ns: int | None = None
        self._stuck_ns = 0  # time with a connection and something to take, since anything was taken

    def use(self, patience_s: float) -> None:
        """Wait so long from now on."""
        self._patience_ns = round(patience_s * 1e9)

    def problem(self, delivery: Delivery, now_ns: int) -> str:
        """Look at it, once in each turn; "" where all is well, or where there is no connection, which is told itself.

        The time adds up over connections that break: a broker that accepts and then ends each one takes nothing either.
        """
        elapsed_ns = 0 if self._last_ns is None else max(0, now_ns - self._last_ns)
        self._last_ns = now_ns
        if delivery.acknowledged != self._acknowledged or not delivery.pending:
            self._acknowledged, self._stuck_ns = delivery.acknowledged, 0
        elif delivery.connected:
            self._stuck_ns += elapsed_ns
        if not self._patience_ns or self._stuck_ns <= self._patience_ns:
            return ""
        # Rounded down to minutes, or the text would change with each look.
        minutes = self._stuck_ns // 60_000_000_000
        return (
            f"the broker is connected, but has acknowledged nothing for {minutes} min; {delivery.pending} events wait"
        )

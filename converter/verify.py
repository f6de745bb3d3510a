"""Whether a converted file is the network it was made from, and runs fast, on every runtime that is installed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from converter.inference import Outcome, infer_apart
from edge_fer.errors import ModelError, UnavailableError
from edge_fer.tflite import Precision, Runtime, installed_runtimes

MAX_FLOAT_DIFFERENCE = 1e-4
"""Of a logit, between Keras and a float32 file: folded normalisations and the order of additions round differently."""

MIN_AGREEMENT = 0.98
"""Share of faces that an int8 file must read as Keras does."""

MIN_FACES = 300
"""Faces to compare on: one more or less then moves the agreement by a third of a percent."""


def verify(
    name: str,
    content: bytes,
    precision: Precision,
    faces: npt.NDArray[np.uint8],
    expected: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Logits (N, 8) of the file on its fastest runtime for grey faces (N, 48, 48).

    `expected` (N, 8) is what Keras gives for them. ModelError names the check that failed and on which runtime;
    UnavailableError where no runtime here is fast with this precision.
    """
    installed = installed_runtimes()
    if not fast_runtimes(precision, installed):
        raise UnavailableError(
            f"{name}: found the runtimes {installed or 'none'}, but none runs {precision} on XNNPACK: "
            "pip install 'edge-fer[litert]'"
        )
    best, *others = sorted(installed, key=lambda runtime: runtime not in fast_runtimes(precision, installed))
    outcome = infer_apart(name, content, faces, best)
    check(name, precision, best, outcome, expected)
    for runtime in others:
        check(name, precision, runtime, infer_apart(name, content, faces, runtime), expected)
    return outcome.logits


def require_faces(count: int, source: str) -> None:
    """UnavailableError where a validation set is too small to verify on."""
    if count < MIN_FACES:
        raise UnavailableError(f"{source}: {count} images with an expression, but verification needs {MIN_FACES}")


def fast_runtimes(precision: Precision, installed: list[Runtime]) -> list[Runtime]:
    """Those of the installed runtimes on which XNNPACK must take the whole graph; tflite-runtime leaves int8 off it."""
    return [runtime for runtime in installed if runtime == "litert" or precision == "float32"]


def check(
    name: str, precision: Precision, runtime: Runtime, outcome: Outcome, expected: npt.NDArray[np.float32]
) -> None:
    """ModelError where one runtime's outcome is not what Keras expects, or XNNPACK left operators out."""
    if runtime in fast_runtimes(precision, [runtime]) and not outcome.xnnpack.whole:
        raise ModelError(
            f"{name}: XNNPACK takes {outcome.xnnpack.taken} of {outcome.xnnpack.total} operators on {runtime}, "
            "but must take all"
        )
    difference = float(np.abs(outcome.logits - expected).max())
    agreement = float((outcome.logits.argmax(axis=1) == expected.argmax(axis=1)).mean())
    # NaN fails a comparison whichever way it is asked, so ask for what is right.
    if precision == "float32" and not difference <= MAX_FLOAT_DIFFERENCE:
        raise ModelError(
            f"{name}: on {runtime} logits differ from Keras by {difference:.2g}, but may by {MAX_FLOAT_DIFFERENCE:g}"
        )
    if precision == "int8" and not agreement >= MIN_AGREEMENT:
        raise ModelError(
            f"{name}: on {runtime} reads {agreement:.1%} of {len(expected)} faces as Keras does, "
            f"but must {MIN_AGREEMENT:.0%}"
        )

"""Whether a converted file is the network it was made from, and runs fast, on every runtime that is installed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from converter.inference import Outcome, infer_apart
from edge_fer.errors import ModelError, UnavailableError
from edge_fer.tflite import Runtime, installed_runtimes

if TYPE_CHECKING:
    from converter.recipe import ConversionRecipe
    from edge_fer.card import InputScaling

MAX_FLOAT_DIFFERENCE = 1e-4
"""Of an output, between Keras and a float32 file: folded normalisations and another order of additions."""

MIN_AGREEMENT = 0.98
"""Share of faces that a file with narrower weights must read as Keras does."""

MIN_FACES = 300
"""Faces to compare on: one more or less then moves the agreement by a third of a percent."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What the checks found, on the fastest runtime."""

    outcome: Outcome
    figures: dict[str, float | str]  # for the card


def verify(
    name: str,
    content: bytes,
    recipe: ConversionRecipe,
    faces: npt.NDArray[np.uint8],
    expected: npt.NDArray[np.float32],
    scaling: InputScaling = "-1..1",
) -> Verified:
    """Run the file on grey faces of its size (N, size, size) on every installed runtime.

    `expected` (N, classes) is what Keras gives for them. ModelError names the check that failed and on which runtime;
    UnavailableError where no runtime here is fast with this recipe.
    """
    installed = installed_runtimes()
    best = require_fast_runtime(name, recipe, installed)
    outcomes: dict[Runtime, Outcome] = {}
    for runtime in (best, *(other for other in installed if other != best)):
        outcomes[runtime] = infer_apart(name, content, faces, runtime, scaling)
        check(name, recipe, runtime, outcomes[runtime], expected)
    outcome = outcomes[best]
    difference, agreement = compare(outcome.outputs, expected)
    figures: dict[str, float | str] = {
        "faces": len(faces),
        "largest_difference": float(f"{difference:.2g}"),
        "top1_agreement": round(agreement, 6),
        "runtimes": ", ".join(
            f"{runtime} ({seen.xnnpack.taken} of {seen.xnnpack.total} operators on XNNPACK)"
            for runtime, seen in outcomes.items()
        ),
    }
    return Verified(outcome, figures)


def require_fast_runtime(name: str, recipe: ConversionRecipe, installed: list[Runtime]) -> Runtime:
    """The runtime that files by this recipe are measured on; UnavailableError where there is none."""
    if fast := fast_runtimes(recipe, installed):
        return fast[0]
    raise UnavailableError(
        f"{name}: found the runtimes {installed or 'none'}, but none runs {recipe.arithmetic} arithmetic with "
        f"{recipe.weights} weights on XNNPACK: pip install 'edge-fer[litert]'"
    )


def require_faces(count: int, source: str) -> None:
    """UnavailableError where a set of faces is too small to verify on."""
    if count < MIN_FACES:
        raise UnavailableError(f"{source}: {count} images with an expression, but verification needs {MIN_FACES}")


def fast_runtimes(recipe: ConversionRecipe, installed: list[Runtime]) -> list[Runtime]:
    """Those of the installed runtimes on which XNNPACK must take the whole graph.

    tflite-runtime leaves int8 off it, and whatever unpacks its weights while it runs.
    """
    return [runtime for runtime in installed if runtime == "litert" or recipe.weights == "float32"]


def compare(outputs: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Largest difference of an output, and share of faces with the same most probable label."""
    agreement = (outputs.argmax(axis=1) == expected.argmax(axis=1)).mean()
    return float(np.abs(outputs - expected).max()), float(agreement)


def check(
    name: str, recipe: ConversionRecipe, runtime: Runtime, outcome: Outcome, expected: npt.NDArray[np.float32]
) -> None:
    """ModelError where one runtime's outcome is not what Keras expects, or XNNPACK left operators out."""
    if runtime in fast_runtimes(recipe, [runtime]) and not outcome.xnnpack.whole:
        raise ModelError(
            f"{name}: XNNPACK takes {outcome.xnnpack.taken} of {outcome.xnnpack.total} operators on {runtime}, "
            "but must take all"
        )
    difference, agreement = compare(outcome.outputs, expected)
    # NaN fails a comparison whichever way it is asked, so ask for what is right.
    if recipe.weights == "float32" and not difference <= MAX_FLOAT_DIFFERENCE:
        raise ModelError(
            f"{name}: on {runtime} outputs differ from Keras by {difference:.2g}, but may by {MAX_FLOAT_DIFFERENCE:g}"
        )
    if recipe.weights != "float32" and not agreement >= MIN_AGREEMENT:
        raise ModelError(
            f"{name}: on {runtime} reads {agreement:.1%} of {len(expected)} faces as Keras does, "
            f"but must {MIN_AGREEMENT:.0%}"
        )

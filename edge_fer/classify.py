"""Crops -> expression probabilities, by EmotionNet Nano."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edge_fer.align import normalise
from edge_fer.card import MODELS, load_verified
from edge_fer.errors import ModelError
from edge_fer.labels import EXPRESSIONS
from edge_fer.tflite import Graph, Precision, PrecisionChoice, Runtime, RuntimeChoice, choose_runtime

NetworkName = Literal["nano_a", "nano_b"]


def model_path(network: NetworkName, precision: Precision, models: Path = MODELS) -> Path:
    """Where a shipped network is."""
    return models / f"emotionnet_{network}_{precision}.tflite"


def fast_precision(runtime: Runtime) -> Precision:
    """What XNNPACK runs on this runtime: tflite-runtime leaves int8 to kernels that are many times slower."""
    return "int8" if runtime == "litert" else "float32"


class ExpressionReader:
    """Reads the expression of one face at a time."""

    def __init__(self, model: Path, *, runtime: RuntimeChoice = "auto", threads: int = 1) -> None:
        """ModelError where the file is not what its card says, has other labels, or would run slowly."""
        content, self.card = load_verified(model)
        if self.card.labels != EXPRESSIONS:
            raise ModelError(f"{model}: reads {', '.join(self.card.labels)}; edge-fer needs {', '.join(EXPRESSIONS)}")
        self.graph = Graph(str(model), content, runtime=runtime, threads=threads)
        require_xnnpack(self.graph)
        # A crop has only 256 grey levels: scaling and quantising become one look-up.
        self._stored_level = self.graph.stored(normalise(np.arange(256, dtype=np.uint8)))
        wanted, found = (1, self.card.input_px, self.card.input_px, 1), self.graph.inputs[0].shape
        if found != wanted or self.graph.inputs[0].dtype not in (np.float32, np.int8):
            raise ModelError(f"{model}: takes {self.graph.inputs[0].dtype.__name__} {found}, but must take {wanted}")
        given = self.graph.outputs[0].shape
        if given != (1, len(EXPRESSIONS)):
            raise ModelError(f"{model}: gives {given}, but must give {(1, len(EXPRESSIONS))}")

    def read(self, crop: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Probability of each expression, (8,), of a grey face (48, 48)."""
        logits = self.graph.run_stored(self._stored_level[crop][None, :, :, None])[0]
        return np.asarray(softmax(logits)[0], np.float32)


def softmax(logits: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Logits (N, classes) -> probabilities (N, classes).

    Outside the graph: XNNPACK does not take an int8 softmax, and int8 probabilities have steps of 1/256.
    """
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probabilities: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def load_reader(
    network: NetworkName,
    precision: PrecisionChoice = "auto",
    *,
    path: Path | None = None,
    runtime: RuntimeChoice = "auto",
    threads: int = 1,
) -> ExpressionReader:
    """The model at `path`, or a shipped network in the wanted precision, or in the fastest of this runtime."""
    chosen = choose_runtime(runtime)
    if path is None:
        path = model_path(network, fast_precision(chosen) if precision == "auto" else precision)
    return ExpressionReader(path, runtime=chosen, threads=threads)


def require_xnnpack(graph: Graph) -> None:
    """ModelError where any operator is left to the built-in kernels."""
    if not graph.xnnpack.whole:
        raise ModelError(
            f"{graph.name}: XNNPACK takes only {graph.xnnpack.taken} of {graph.xnnpack.total} operators on "
            f"{graph.runtime}, which is many times slower; int8 needs runtime 'litert', tflite-runtime needs 'float32'"
        )

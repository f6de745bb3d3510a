"""Crops -> calibrated expression probabilities, by EmotionNet Nano."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from edge_fer.align import CROP_PX, normalise
from edge_fer.card import MODELS, InputScaling, ModelCard, OperatingPoint, OutputKind, load_verified
from edge_fer.errors import ConfigError, ModelError
from edge_fer.labels import EXPRESSIONS
from edge_fer.tflite import Graph, Precision, PrecisionChoice, Runtime, RuntimeChoice, choose_runtime

NetworkName = Literal["nano_a", "nano_b"]

PriorName = Literal["default", "dashboard", "observed", "balanced", "as_trained"]
"""Operating points that a card may hold; "default" is the one that it names as such."""

Prior = PriorName | tuple[float, ...]
"""An operating point by name, or the expected share of each expression."""

LARGEST_SHARE = 1e6
"""Of an expression in a prior; only their ratios count."""

SMALLEST_PROBABILITY = 1e-7
"""Its logarithm stands for that of zero."""


def model_path(network: NetworkName, precision: Precision, models: Path = MODELS) -> Path:
    """Where a shipped network is."""
    return models / f"emotionnet_{network}_{precision}.tflite"


def fast_precision(runtime: Runtime) -> Precision:
    """What XNNPACK runs on this runtime: tflite-runtime leaves int8 to kernels that are many times slower."""
    return "int8" if runtime == "litert" else "float32"


class ExpressionReader:
    """Reads the expressions of faces."""

    def __init__(
        self, model: Path, *, runtime: RuntimeChoice = "auto", threads: int = 1, prior: Prior = "default"
    ) -> None:
        """ModelError where the file is not what its card says, reads no expressions, or would run slowly."""
        content, self.card = load_verified(model)
        self.point_name, self.point = choose_point(self.card, prior, str(model))
        if foreign := [label for label in self.card.labels if label not in EXPRESSIONS]:
            raise ModelError(f"{model}: reads {foreign[0]!r}; edge-fer knows {', '.join(EXPRESSIONS)}")
        self._places = np.array([EXPRESSIONS.index(label) for label in self.card.labels])
        self.graph = Graph(str(model), content, runtime=runtime, threads=threads)
        require_xnnpack(self.graph)
        # A crop has only 256 grey levels: scaling and quantising become one look-up.
        self._stored_level = self.graph.stored(scale_levels(np.arange(256, dtype=np.uint8), self.card.input_scaling))
        wanted, found = (1, CROP_PX, CROP_PX, 1), self.graph.inputs[0].shape
        if found != wanted or self.graph.inputs[0].dtype not in (np.float32, np.int8):
            raise ModelError(f"{model}: takes {self.graph.inputs[0].dtype.__name__} {found}, but must take {wanted}")
        given = self.graph.outputs[0].shape
        if given != (1, len(self.card.labels)):
            raise ModelError(f"{model}: gives {given}, but must give {(1, len(self.card.labels))}")

    def read(self, crop: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Probability of each expression, (8,), of a grey face (48, 48); 0 for those that the model does not know."""
        probabilities: npt.NDArray[np.float32] = self.read_all(crop[None])[0]
        return probabilities

    def read_all(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """As `read`, (N, 8) of grey faces (N, 48, 48); N may be 0.

        One inference each: a graph resized to N faces stays on XNNPACK, but saves nothing on one core (measured, N from
        2 to 20, both runtimes), and plans its memory anew for each other N.
        """
        probabilities = np.zeros((len(crops), len(EXPRESSIONS)), np.float32)
        if len(crops):
            stored = self._stored_level.take(crops)[:, None, :, :, None]
            outputs = np.concatenate([self.graph.run_stored(face)[0] for face in stored])
            probabilities[:, self._places] = calibrated(outputs, self.card.output, self.point)
        return probabilities


def check_prior(prior: object) -> Prior:
    """An operating point's name, or as many shares as there are expressions; ValueError says what is wrong."""
    if isinstance(prior, str) and prior in get_args(PriorName):
        return cast("PriorName", prior)
    names = ", ".join(repr(name) for name in get_args(PriorName))
    wanted = f"give {names}, or {len(EXPRESSIONS)} numbers: the share of {', '.join(EXPRESSIONS)}"
    if not isinstance(prior, list | tuple) or any(isinstance(share, bool) for share in prior):
        raise ValueError(f"found {prior!r}; {wanted}")
    if not all(isinstance(share, int | float) and 0 <= share <= LARGEST_SHARE for share in prior):
        raise ValueError(f"found {prior!r}; shares are numbers from 0 to {LARGEST_SHARE:g}")
    if len(prior) != len(EXPRESSIONS) or not sum(prior):
        raise ValueError(f"found {len(prior)} numbers with the sum {sum(prior):g}; {wanted}")
    return tuple(float(share) for share in prior)


def choose_point(card: ModelCard, prior: Prior, source: str) -> tuple[str, OperatingPoint]:
    """An operating point of a card, and its name ("own" for shares, which are those of EXPRESSIONS).

    Shares get the temperature and threshold of "balanced". ConfigError names `source` where the card has no such point,
    or labels that no share is given for.
    """
    if isinstance(prior, str):
        name = card.default_operating_point if prior == "default" else prior
        if name not in card.operating_points:
            known = ", ".join(card.operating_points)
            raise ConfigError(f"prior {name!r}: the card of {source} has only {known}")
        return name, card.operating_points[name]
    if "balanced" not in card.operating_points or set(card.labels) - set(EXPRESSIONS):
        raise ConfigError(f"prior as shares: the card of {source} has no 'balanced' point of expressions to start from")
    balanced = card.operating_points["balanced"]
    by_label = np.array([prior[EXPRESSIONS.index(label)] for label in card.labels], np.float64)
    if not by_label.sum():
        raise ConfigError(f"prior as shares: none is left for the labels of {source}, {', '.join(card.labels)}")
    with np.errstate(divide="ignore"):  # a share of 0 is an expression that is never read
        offset = np.array(balanced.offset) + np.log(by_label / by_label.sum())
    shares = tuple((by_label / by_label.sum()).tolist())
    return "own", balanced.model_copy(update={"prior": shares, "offset": tuple(offset.tolist()), "coverage": ()})


def calibrated(
    outputs: npt.NDArray[np.floating[Any]], kind: OutputKind, point: OperatingPoint
) -> npt.NDArray[np.float64]:
    """What a network gives (N, classes) -> probabilities (N, classes) at an operating point."""
    logits = outputs if kind == "logits" else np.log(np.maximum(outputs, SMALLEST_PROBABILITY))
    return softmax((logits + np.array(point.offset)) / point.temperature)


def scale_levels(grey: npt.NDArray[np.uint8], scaling: InputScaling) -> npt.NDArray[np.float32]:
    """Grey levels as a network's input holds them."""
    if scaling == "-1..1":
        return normalise(grey)
    return grey.astype(np.float32) / np.float32(255 if scaling == "0..1" else 1)


def softmax(logits: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Logits (N, classes) -> probabilities (N, classes).

    Outside the graph: XNNPACK does not take an int8 softmax, and int8 probabilities have steps of 1/256.
    """
    # The reductions themselves: for one row `max` and `sum` cost twice as much around them.
    powers = np.exp(logits.astype(np.float64, copy=False) - np.maximum.reduce(logits, axis=1, keepdims=True))
    probabilities: npt.NDArray[np.float64] = powers / np.add.reduce(powers, axis=1, keepdims=True)
    return probabilities


def load_reader(
    network: NetworkName,
    precision: PrecisionChoice = "auto",
    *,
    path: Path | None = None,
    runtime: RuntimeChoice = "auto",
    threads: int = 1,
    prior: Prior = "default",
) -> ExpressionReader:
    """The model at `path`, or a shipped network in the wanted precision, or in the fastest of this runtime."""
    chosen = choose_runtime(runtime)
    if path is None:
        path = model_path(network, fast_precision(chosen) if precision == "auto" else precision)
    return ExpressionReader(path, runtime=chosen, threads=threads, prior=prior)


def require_xnnpack(graph: Graph) -> None:
    """ModelError where any operator is left to the built-in kernels."""
    if not graph.xnnpack.whole:
        raise ModelError(
            f"{graph.name}: XNNPACK takes only {graph.xnnpack.taken} of {graph.xnnpack.total} operators on "
            f"{graph.runtime}, which is many times slower; int8 needs runtime 'litert', tflite-runtime needs 'float32'"
        )

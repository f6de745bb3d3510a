"""The only importer of an interpreter: load a model on either runtime, quantise, and see whether XNNPACK took it."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import logging
import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from edge_fer.amx import without_amx
from edge_fer.errors import ModelError, UnavailableError

log = logging.getLogger(__name__)

Runtime = Literal["litert", "tflite-runtime"]
Precision = Literal["int8", "float32"]
RuntimeChoice = Literal["auto", "litert", "tflite-runtime"]
PrecisionChoice = Literal["auto", "int8", "float32"]

WEIGHTED_OPERATORS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
"""Which axis of an operator's weights counts its filters."""

TFLITE_MARK = b"TFL3"
"""File identifier of the flatbuffer, after its first offset."""

INTERPRETERS: dict[Runtime, str] = {
    "litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}
"""Both have the same Interpreter class; the first that imports is preferred, because only it runs int8 on XNNPACK."""


def installed_runtimes() -> list[Runtime]:
    """Runtimes that can be imported here, best first; nothing is loaded."""
    return [name for name, module in INTERPRETERS.items() if importlib.util.find_spec(module.split(".")[0])]


def choose_runtime(wanted: RuntimeChoice = "auto") -> Runtime:
    """The wanted runtime, or the best installed one; UnavailableError names what to install."""
    installed = installed_runtimes()
    if wanted != "auto" and wanted in installed:
        return wanted
    if wanted == "auto":
        for runtime in installed:
            if _imports(runtime):
                return runtime
    what = "no TFLite runtime is" if wanted == "auto" else f"runtime {wanted!r} is not"
    raise UnavailableError(f"{what} installed; found {installed or 'none'}: pip install 'edge-fer[litert]'")


def _imports(runtime: Runtime) -> bool:
    """Whether it loads here: a wheel may be installed that needs a newer C library."""
    try:
        importlib.import_module(INTERPRETERS[runtime])
    except (ImportError, OSError) as err:
        log.warning("runtime %s is installed but does not import: %s", runtime, err)
        return False
    return True


INT8_BY_BITS = np.arange(256, dtype=np.uint8).view(np.int8)
"""Every int8, where its bits read as an uint8 find it: 0 to 127, then -128 to -1."""


class Quant(NamedTuple):
    """real = scale * (stored - zero_point), read from the tensor; scale 0 means that the tensor holds real numbers."""

    scale: float
    zero_point: int

    def to_int8(self, real: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
        """Nearest stored value, clipped to the range of int8."""
        stored = np.rint(real / np.float32(self.scale)) + self.zero_point
        return np.asarray(np.clip(stored, -128, 127), np.int8)

    def to_real(self, stored: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
        """What the stored values stand for; widened before the subtraction, which overflows int8."""
        return np.float32(self.scale) * (stored.astype(np.int32) - self.zero_point).astype(np.float32)


class GraphSize(NamedTuple):
    """How large a graph is; of convolutions and dense layers, which do nearly all the work."""

    operators: int
    macs: int  # multiply-accumulates of one inference
    parameters: int  # weights and biases


class XnnpackShare(NamedTuple):
    """How many operators of a graph XNNPACK runs."""

    taken: int
    total: int

    @property
    def whole(self) -> bool:
        """Whether nothing is left to the slow built-in kernels."""
        return self.taken == self.total


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output of a graph."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: type[np.generic]
    quant: Quant


class Graph:
    """A loaded model: real numbers in, real numbers out, whatever it stores inside."""

    def __init__(self, name: str, content: bytes, *, runtime: RuntimeChoice = "auto", threads: int = 1) -> None:
        """Load from bytes whose hash was checked: tflite-runtime crashes the process on a truncated model.

        ModelError where they are no model, or none for this runtime.
        """
        if content[4:8] != TFLITE_MARK:
            raise ModelError(f"{name}: not a TFLite model")
        self.name = name
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.runtime = choose_runtime(runtime)
        self.threads = threads
        try:
            interpreter_class = importlib.import_module(INTERPRETERS[self.runtime]).Interpreter
        except ImportError as err:
            raise UnavailableError(f"runtime {self.runtime!r} is installed but does not import: {err}") from err
        try:
            with without_amx():
                self._interpreter = interpreter_class(model_content=content, num_threads=threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError, MemoryError) as err:
            raise ModelError(f"{name}: {self.runtime} cannot load this model ({err})") from err
        self.inputs = [_tensor(detail) for detail in self._interpreter.get_input_details()]
        self.outputs = [_tensor(detail) for detail in self._interpreter.get_output_details()]
        # A look-up costs a quarter of the arithmetic, which for a few numbers is all overhead of NumPy's calls.
        self._real_by_bits = [output.quant.to_real(INT8_BY_BITS) for output in self.outputs]
        # Not public, but the only way to know; both runtimes have had it in all versions that are allowed here.
        self.xnnpack = _xnnpack_share(self._interpreter._get_ops_details())  # noqa: SLF001

    def size(self) -> GraphSize:
        """Operators, multiply-accumulates and parameters, counted in the loaded graph."""
        # Not public either, see `xnnpack`.
        ops = [op for op in self._interpreter._get_ops_details() if op["op_name"] != "DELEGATE"]  # noqa: SLF001
        shapes = {
            detail["index"]: tuple(map(int, detail["shape"])) for detail in self._interpreter.get_tensor_details()
        }
        macs = parameters = 0
        for op in ops:
            if op["op_name"] not in WEIGHTED_OPERATORS:
                continue
            weights, outputs = shapes[op["inputs"][1]], math.prod(shapes[op["outputs"][0]])
            # Every output element is a sum over one filter.
            filters = weights[WEIGHTED_OPERATORS[op["op_name"]]]
            macs += outputs * math.prod(weights) // filters
            parameters += math.prod(weights) + sum(math.prod(shapes.get(bias, (0,))) for bias in op["inputs"][2:3])
        return GraphSize(len(ops), macs, parameters)

    def run(self, real: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """One inference: the only input, of its exact shape, to all outputs in order."""
        return self.run_stored(self.stored(real))

    def stored(self, real: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | npt.NDArray[np.int8]:
        """Real numbers of any shape as the input stores them."""
        return self.inputs[0].quant.to_int8(real) if self.inputs[0].dtype is np.int8 else real

    def run_stored(self, stored: npt.NDArray[np.float32] | npt.NDArray[np.int8]) -> list[npt.NDArray[np.float32]]:
        """As `run`, of values that `stored` gave."""
        self._interpreter.set_tensor(self.inputs[0].index, stored)
        self._interpreter.invoke()
        return [self._real(number, output) for number, output in enumerate(self.outputs)]

    def _real(self, number: int, output: Tensor) -> npt.NDArray[np.float32]:
        stored: npt.NDArray[Any] = self._interpreter.get_tensor(output.index)
        return self._real_by_bits[number].take(stored.view(np.uint8)) if output.dtype is np.int8 else stored


def _tensor(detail: dict[str, Any]) -> Tensor:
    scale, zero_point = detail["quantization"]
    return Tensor(
        int(detail["index"]),
        str(detail["name"]),
        tuple(int(side) for side in detail["shape"]),
        detail["dtype"],
        Quant(float(scale), int(zero_point)),
    )


def _xnnpack_share(ops: list[dict[str, Any]]) -> XnnpackShare:
    """Operators inside the DELEGATE nodes, found by walking from each node's outputs back to its inputs.

    The interpreter lists the original operators and, after them, one DELEGATE node per part that XNNPACK took.
    """
    original = [op for op in ops if op["op_name"] != "DELEGATE"]
    producers = {int(tensor): number for number, op in enumerate(original) for tensor in op["outputs"]}
    taken: set[int] = set()
    for delegate in (op for op in ops if op["op_name"] == "DELEGATE"):
        fed = {int(tensor) for tensor in delegate["inputs"]}
        waiting = [int(tensor) for tensor in delegate["outputs"]]
        while waiting:
            tensor = waiting.pop()
            number = producers.get(tensor)
            if number is None or number in taken or tensor in fed:
                continue
            taken.add(number)
            waiting.extend(int(source) for source in original[number]["inputs"])
    return XnnpackShare(len(taken), len(original))

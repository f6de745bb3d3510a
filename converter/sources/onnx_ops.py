"""The operators of ONNX that image classifiers need, as Keras computes them.

Meaning and attributes: the operator schemas of ONNX, opset 11 to 23. A ValueError says what cannot be done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from converter.sources.onnx_layers import LAYERS
from converter.sources.onnx_node import IMAGE_RANK, Node, Operand, Value, in_order


def _flatten(node: Node) -> Value:
    if node.get("axis", 1) != 1:
        raise ValueError(f"axis {node.get('axis', 1)}")
    return _flat(node.value())


def _flat(value: Value) -> Value:
    import keras

    if value.layout == "flat":
        return value
    height, width, channels = value.sides
    moved = value.layout == "nchw" and height * width > 1 < channels
    tensor = keras.layers.Flatten()(value.tensor)
    return Value(tensor, "flat", (channels, height, width) if moved else None, value.positive)


def _reshape(node: Node) -> Value:
    """Image to features, or features to an image of one pixel; a computed shape is taken for the first."""
    value = node.value()
    target = node.inputs[1] if len(node.inputs) > 1 else None
    if not isinstance(target, np.ndarray) or target.size == 2:  # noqa: PLR2004  # (N, features)
        return _flat(value)
    if value.layout == "flat" and target.size == IMAGE_RANK and list(target[2:]) == [1, 1]:
        return _pixel(value)
    raise ValueError(f"to {target.tolist()}")


def _squeeze(node: Node) -> Value:
    value, listed = node.value(), node.constant(1)
    axes = {int(axis) % IMAGE_RANK for axis in (node.get("axes", []) if listed is None else listed.reshape(-1))}
    if value.layout != "nchw" or axes != {2, 3} or value.sides[:2] != (1, 1):
        raise ValueError(f"axes {sorted(axes)} are not those of an image of one pixel")
    return _flat(value)


def _unsqueeze(node: Node) -> Value:
    value, listed = node.value(), node.constant(1)
    axes = {int(axis) % IMAGE_RANK for axis in (node.get("axes", []) if listed is None else listed.reshape(-1))}
    if value.layout != "flat" or axes != {2, 3}:
        raise ValueError(f"axes {sorted(axes)} do not make an image of features")
    return _pixel(value)


def _pixel(value: Value) -> Value:
    import keras

    value = in_order(value)
    return replace(value, tensor=keras.layers.Reshape((1, 1, value.tensor.shape[-1]))(value.tensor), layout="nchw")


def _transpose(node: Node) -> Value:
    """Between ONNX's two layouts of images nothing moves: they are stored (N, H, W, C) in both."""
    value, order = node.value(), list(node.get("perm", []))
    if value.layout == "nhwc" and order == [0, 3, 1, 2]:
        return replace(value, layout="nchw")
    if value.layout == "nchw" and order == [0, 2, 3, 1]:
        return replace(value, layout="nhwc")
    raise ValueError(f"perm {order}")


def _pad(node: Node) -> Value:
    import keras

    image, listed, fill = node.image(), node.constant(1), node.constant(2)
    pads = [int(size) for size in (node.get("pads", []) if listed is None else listed)]
    if node.get("mode", "constant") != "constant" or (fill is not None and fill.any()) or node.get("value", 0.0):
        raise ValueError("it pads with something else than zeros")
    if len(pads) != 2 * IMAGE_RANK or min(pads) < 0 or any(pads[:2] + pads[4:6]):
        raise ValueError(f"pads {pads} are not around an image")
    _, _, top, left, _, _, bottom, right = pads
    return replace(image, tensor=keras.layers.ZeroPadding2D(((top, bottom), (left, right)))(image.tensor))


def _concat(node: Node) -> Value:
    import keras

    values = [in_order(node.value(index)) for index in range(len(node.inputs))]
    layouts = {value.layout for value in values}
    axis = int(node.get("axis", 1))
    right = {"nchw": {1, -3}, "flat": {1, -1}, "nhwc": {3, -1}}
    if len(layouts) != 1 or axis not in right[values[0].layout]:
        raise ValueError(f"axis {axis} is not that of the channels")
    return Value(keras.layers.Concatenate(axis=-1)([value.tensor for value in values]), values[0].layout)


def _arithmetic(name: Literal["add", "subtract", "multiply", "divide"]) -> Callable[[Node], Value]:
    """Of two tensors, or of a tensor and a constant that is brought into its layout."""

    def compute(node: Node) -> Value:
        import keras

        values = [operand for operand in node.inputs if isinstance(operand, Value)]
        layouts = {in_order(value).layout for value in values}
        if len(layouts) != 1:
            raise ValueError("its inputs have different layouts")
        first, second = (_stored(operand, values[0].layout) for operand in node.inputs)
        return Value(getattr(keras.ops, name)(first, second), values[0].layout)

    return compute


def _stored(operand: Operand | None, layout: str) -> Any:  # noqa: ANN401  # Keras has no types
    if isinstance(operand, Value):
        return operand.tensor
    if operand is None:
        raise ValueError("an input is missing")
    constant = operand.astype(np.float32)
    if layout != "nchw":
        return constant
    return constant.reshape((1,) * (IMAGE_RANK - constant.ndim) + constant.shape).transpose(0, 2, 3, 1)


def _activation(function: Callable[[Node, Any], Any], *, positive: bool = False) -> Callable[[Node], Value]:
    def activate(node: Node) -> Value:
        value = node.value()
        return replace(value, tensor=function(node, value.tensor), positive=positive)

    return activate


def _clip(node: Node) -> Value:
    import keras

    low, high = (
        float(node.get(name, limit)) if (given := node.constant(index)) is None else float(given)
        for name, index, limit in (("min", 1, -np.inf), ("max", 2, np.inf))
    )
    value = node.value()
    if low == 0:
        limit = None if np.isinf(high) else high
        return replace(value, tensor=keras.layers.ReLU(max_value=limit)(value.tensor), positive=True)
    return replace(value, tensor=keras.ops.clip(value.tensor, low, high), positive=low > 0)


def _ops(name: str, **attributes: tuple[str, float]) -> Callable[[Node, Any], Any]:
    """A function of keras.ops; each of its parameters is an attribute of the operator, with its default."""

    def function(node: Node, tensor: Any) -> Any:  # noqa: ANN401
        import keras

        settings = {parameter: node.get(*attribute) for parameter, attribute in attributes.items()}
        return getattr(keras.ops, name)(tensor, **settings)

    return function


def _hard_sigmoid(node: Node, tensor: Any) -> Any:  # noqa: ANN401
    import keras

    return keras.ops.clip(tensor * node.get("alpha", 0.2) + node.get("beta", 0.5), 0.0, 1.0)


def _softmax(node: Node, tensor: Any) -> Any:  # noqa: ANN401
    import keras

    if len(tensor.shape) != 2 or node.get("axis", -1) not in {1, -1}:  # noqa: PLR2004  # (N, features)
        raise ValueError("it is not over features")
    return keras.ops.softmax(tensor, axis=-1)


def _same(_: Node, tensor: Any) -> Any:  # noqa: ANN401
    return tensor


OPERATORS: dict[str, Callable[[Node], Value]] = LAYERS | {
    "Add": _arithmetic("add"),
    "Clip": _clip,
    "Concat": _concat,
    "Div": _arithmetic("divide"),
    "Dropout": _activation(_same),
    "Elu": _activation(_ops("elu", alpha=("alpha", 1.0))),
    "Flatten": _flatten,
    "HardSigmoid": _activation(_hard_sigmoid, positive=True),
    "HardSwish": _activation(_ops("hard_swish")),
    "Identity": _activation(_same),
    "LeakyRelu": _activation(_ops("leaky_relu", negative_slope=("alpha", 0.01))),
    "Mul": _arithmetic("multiply"),
    "Pad": _pad,
    "Relu": _activation(_ops("relu"), positive=True),
    "Reshape": _reshape,
    "Sigmoid": _activation(_ops("sigmoid"), positive=True),
    "Softmax": _activation(_softmax),
    "Squeeze": _squeeze,
    "Sub": _arithmetic("subtract"),
    "Tanh": _activation(_ops("tanh")),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}

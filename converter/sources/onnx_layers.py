"""The operators of ONNX that become layers: convolutions, normalisations, dense layers, pools.

Meaning and attributes: the operator schemas of ONNX, opset 11 to 23. A ValueError says what cannot be done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np

from converter.sources.onnx_node import IMAGE_RANK, Array, Node, Value, in_order


def _padding(node: Node, image: Value, kernel: list[int]) -> tuple[Value, Literal["same", "valid"]]:
    """The image and the padding that Keras has a name for; any other one is a layer of zeros before it."""
    import keras

    strides, dilations = node.get("strides", [1, 1]), node.get("dilations", [1, 1])
    way, pads = node.get("auto_pad", "NOTSET"), node.get("pads", [0, 0, 0, 0])
    if way == "SAME_LOWER" or len(kernel) != 2 or min(pads) < 0:  # noqa: PLR2004  # images have two sides
        raise ValueError(f"kernel {kernel}, padding {pads}, auto_pad {way}")
    if way == "SAME_UPPER":
        return image, "same"
    if way == "VALID" or not any(pads):
        return image, "valid"
    same = []
    for side, size, stride, dilation in zip(image.sides[:2], kernel, strides, dilations, strict=True):
        total = max((-(-side // stride) - 1) * stride + (size - 1) * dilation + 1 - side, 0)
        same.append((total // 2, total - total // 2))
    top, left, bottom, right = pads
    if same == [(top, bottom), (left, right)]:
        return image, "same"
    padded = keras.layers.ZeroPadding2D(((top, bottom), (left, right)))(image.tensor)
    return replace(image, tensor=padded), "valid"


def _conv(node: Node) -> Value:
    """Kernels are (out, in / groups, kh, kw) in ONNX, (kh, kw, in / groups, out) in Keras."""
    import keras

    image, kernel, bias = node.image(), node.needed(1), node.constant(2)
    groups, channels = node.get("group", 1), image.sides[2]
    image, padding = _padding(node, image, list(kernel.shape[2:]))
    settings = {
        "kernel_size": kernel.shape[2:],
        "strides": tuple(node.get("strides", [1, 1])),
        "dilation_rate": tuple(node.get("dilations", [1, 1])),
        "padding": padding,
        "use_bias": bias is not None,
    }
    kernel = kernel.transpose(2, 3, 1, 0)
    if groups > 1 and groups == channels:
        layer = keras.layers.DepthwiseConv2D(depth_multiplier=kernel.shape[3] // groups, **settings)
        kernel = kernel.reshape(*kernel.shape[:2], groups, -1)
    else:
        layer = keras.layers.Conv2D(kernel.shape[3], groups=groups, **settings)
    tensor = layer(image.tensor)
    layer.set_weights([kernel] if bias is None else [kernel, bias])
    return Value(tensor, "nchw")


def _batch_normalization(node: Node) -> Value:
    import keras

    value = in_order(node.value())
    layer = keras.layers.BatchNormalization(epsilon=node.get("epsilon", 1e-5), axis=-1)
    tensor = layer(value.tensor)
    layer.set_weights([node.needed(index) for index in range(1, 5)])
    return replace(value, tensor=tensor, positive=False)


def _gemm(node: Node) -> Value:
    if node.get("transA", 0):
        raise ValueError("transA is set")
    kernel = node.needed(1).T if node.get("transB", 0) else node.needed(1)
    bias = node.constant(2)
    return _dense(node.value(), kernel * node.get("alpha", 1.0), None if bias is None else bias * node.get("beta", 1.0))


def _matmul(node: Node) -> Value:
    return _dense(node.value(), node.needed(1), None)


def _dense(value: Value, kernel: Array, bias: Array | None) -> Value:
    """After a flattened image the rows of the kernel change places, not the features."""
    import keras

    if value.layout != "flat" or kernel.ndim != 2:  # noqa: PLR2004  # (features, classes)
        raise ValueError("it does not take (N, features)")
    outputs = kernel.shape[1]
    if value.chw:
        kernel = kernel.reshape(*value.chw, outputs).transpose(1, 2, 0, 3).reshape(-1, outputs)
    layer = keras.layers.Dense(outputs, use_bias=bias is not None)
    tensor = layer(value.tensor)
    layer.set_weights([kernel] if bias is None else [kernel, np.broadcast_to(bias, (outputs,))])
    return Value(tensor, "flat")


def _pool(kind: Literal["max", "average"]) -> Callable[[Node], Value]:
    def pool(node: Node) -> Value:
        import keras

        kernel, strides = node.get("kernel_shape", []), node.get("strides", [1, 1])
        if node.get("dilations", [1, 1]) != [1, 1]:
            raise ValueError("it has dilations")
        image = node.image()
        padded, padding = _padding(node, image, kernel)
        counts_zeros = kind == "average" and node.get("count_include_pad", 0)
        if padding == "same" and counts_zeros:
            raise ValueError("count_include_pad is set")
        if padded is not image and not counts_zeros and not (kind == "max" and image.positive):
            raise ValueError(f"padding {node.get('pads', None)} would put zeros among what may be negative")
        sides = zip(padded.sides[:2], kernel, strides, strict=True)
        if node.get("ceil_mode", 0) and padding == "valid" and any((side - k) % stride for side, k, stride in sides):
            raise ValueError("ceil_mode is set, and the image's size is no multiple of the stride")
        layer = keras.layers.MaxPooling2D if kind == "max" else keras.layers.AveragePooling2D
        return replace(image, tensor=layer(tuple(kernel), strides=tuple(strides), padding=padding)(padded.tensor))

    return pool


def _global_pool(node: Node) -> Value:
    import keras

    image = node.image()
    return replace(image, tensor=keras.layers.GlobalAveragePooling2D(keepdims=True)(image.tensor))


def _reduce_mean(node: Node) -> Value:
    import keras

    value, listed = node.value(), node.constant(1)
    if value.layout == "flat":
        raise ValueError("it does not take an image")
    axes = {int(axis) % IMAGE_RANK for axis in (node.get("axes", []) if listed is None else listed.reshape(-1))}
    if axes != ({2, 3} if value.layout == "nchw" else {1, 2}):
        raise ValueError(f"axes {sorted(axes)} are not height and width")
    keep = bool(node.get("keepdims", 1))
    pooled = keras.layers.GlobalAveragePooling2D(keepdims=keep)(value.tensor)
    return replace(value, tensor=pooled, layout=value.layout if keep else "flat")


LAYERS: dict[str, Callable[[Node], Value]] = {
    "AveragePool": _pool("average"),
    "BatchNormalization": _batch_normalization,
    "Conv": _conv,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool,
    "MatMul": _matmul,
    "MaxPool": _pool("max"),
    "ReduceMean": _reduce_mean,
}

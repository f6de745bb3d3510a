"""An ONNX file -> a Keras model of the same operators, compared with ONNX's own reference.

An importer of our own, because onnx2tf does not fit beside this TensorFlow: since 1.29 it asks for TensorFlow
2.19 and protobuf 4; before, it needs tf-keras, which installs a second TensorFlow over the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from converter.sources.nano import compute, fresh_float32, one_line, require_finite
from edge_fer.errors import ModelError, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    import onnx

    from converter.sources.onnx_node import Array, Operand, Value

MAX_DIFFERENCE = 1e-3
"""Between the Keras model and ONNX's reference, relative to the largest logit; float32 sums differ by 1e-5."""

ENDS_IN_SOFTMAX = frozenset({"Softmax", "LogSoftmax"})
"""The softmax of either's input is the same, and edge-fer applies it itself."""

REFERENCE_FAILS = (RuntimeError, ValueError, TypeError, NotImplementedError, IndexError, KeyError, AttributeError)
"""What ONNX's reference raises for operators and shapes that it cannot compute."""


def read_onnx(path: Path) -> tuple[keras.Model, list[Path]]:
    """The classifier, without a last softmax, and all files that belong to it: large weights lie beside the .onnx.

    Takes (N, C, H, W) images as PyTorch exports them, or (N, H, W, C); the Keras model takes (N, H, W, C).
    UnavailableError where a file cannot be read or the package onnx is missing; ModelError names an operator that is
    not known here, a weight that is not finite, and a result that is not that of ONNX's reference.
    """
    try:
        import onnx  # noqa: F401  # the first of several imports of it
    except ImportError as err:
        raise UnavailableError(f"{path}: needs: pip install 'edge-fer[onnx]' ({err})") from err
    proto, files = _load(path)
    logits = _logits(proto.graph, str(path))
    with fresh_float32():
        model = _build(proto, logits, str(path))
    _compare(model, proto, logits, str(path))
    return model, files


def _load(path: Path) -> tuple[onnx.ModelProto, list[Path]]:
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import external_data_helper as external

    try:
        proto = onnx.load(path, load_external_data=False)
        tensors = [tensor for tensor in proto.graph.initializer if external.uses_external_data(tensor)]
        beside = {external.ExternalDataInfo(tensor).location for tensor in tensors}
        external.load_external_data_for_model(proto, str(path.parent))
        onnx.checker.check_model(proto)
    except (OSError, ValueError, TypeError, DecodeError, onnx.checker.ValidationError) as err:
        raise UnavailableError(f"{path}: not a readable ONNX file ({one_line(err)})") from err
    return proto, [path, *(path.parent / name for name in beside)]


def _logits(graph: onnx.GraphProto, source: str) -> str:
    """Name of the value that becomes the output."""
    if len(graph.output) != 1:
        raise ModelError(f"{source}: gives {len(graph.output)} outputs; it must give one row of logits")
    producers = {name: node for node in graph.node for name in node.output}
    name = str(graph.output[0].name)
    node = producers.get(name)
    while node is not None and node.op_type == "Identity":
        name = node.input[0]
        node = producers.get(name)
    if node is not None and node.op_type == "Sigmoid":
        raise ModelError(f"{source}: ends in the operator Sigmoid; it must give logits or a softmax of them")
    return node.input[0] if node is not None and node.op_type in ENDS_IN_SOFTMAX else name


def _image(graph: onnx.GraphProto, constants: dict[str, Any], source: str) -> tuple[str, list[int]]:
    """Name and shape of the only input, without the batch."""
    import onnx

    images = [value for value in graph.input if value.name not in constants]
    if len(images) != 1:
        raise ModelError(f"{source}: takes {len(images)} inputs; it must take one image")
    kind = images[0].type.tensor_type
    if kind.elem_type != onnx.TensorProto.FLOAT:
        raise ModelError(f"{source}: takes {onnx.TensorProto.DataType.Name(kind.elem_type)}, but must take float32")
    shape = [side.dim_value for side in kind.shape.dim]
    if len(shape) != 4 or 0 in shape[1:]:  # noqa: PLR2004  # 0 is an open side
        raise ModelError(f"{source}: takes {shape}, but must take images of a fixed size (N, C, H, W)")
    return str(images[0].name), shape[1:]


def _needed(graph: onnx.GraphProto, logits: str, constants: dict[str, Any]) -> list[onnx.NodeProto]:
    """The nodes between image and logits in order; how a Reshape computes its shape from the image's is left out."""
    wanted, needed = {logits}, []
    for node in reversed(graph.node):
        if not wanted & set(node.output):
            continue
        needed.append(node)
        computed = node.op_type == "Reshape" and node.input[1] not in constants
        wanted |= set(node.input[:1] if computed else node.input)
    return needed[::-1]


def _constants(proto: onnx.ModelProto, source: str) -> dict[str, Array]:
    """All weights by name, and what is computed from nothing else; ModelError where one is not finite."""
    import onnx
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    known = {tensor.name for tensor in proto.graph.initializer} | {""}  # an input that is left out has no name
    folded: list[onnx.NodeProto] = []
    for node in proto.graph.node:
        if known.issuperset(node.input):
            folded.append(node)
            known.update(node.output)
    names = [name for node in folded for name in node.output]
    part = onnx.ModelProto()
    part.CopyFrom(proto)
    for field, kept in (
        ("node", folded),
        ("input", []),
        ("output", [onnx.ValueInfoProto(name=each) for each in names]),
    ):
        part.graph.ClearField(field)
        getattr(part.graph, field).extend(kept)
    try:
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
        if names:
            constants |= dict(zip(names, ReferenceEvaluator(part).run(names, {}), strict=True))
    except REFERENCE_FAILS as err:
        raise UnavailableError(f"{source}: its constants cannot be read ({one_line(err)})") from err
    for name, constant in constants.items():
        if np.issubdtype(constant.dtype, np.floating):
            require_finite(name, [constant], source)
    return constants


def _build(proto: onnx.ModelProto, logits: str, source: str) -> keras.Model:
    import keras

    from converter.sources.onnx_node import Value

    graph, constants = proto.graph, _constants(proto, source)
    name, shape = _image(graph, constants, source)
    channels_first = shape[0] in {1, 3}
    image = keras.Input((*shape[1:], shape[0]) if channels_first else tuple(shape), name="image")
    values: dict[str, Operand] = {**constants, name: Value(image, "nchw" if channels_first else "nhwc")}
    for node in _needed(graph, logits, constants):
        if node.output[0] not in constants:
            values[node.output[0]] = _computed(node, values, source)
    result = values.get(logits)
    if not isinstance(result, Value) or result.chw is not None:
        raise ModelError(f"{source}: gives no logits that depend on the image")
    if result.layout != "flat":
        raise ModelError(f"{source}: gives an image of {result.sides}; it must give one row of logits (N, classes)")
    return keras.Model(image, result.tensor, name="onnx")


def _computed(node: onnx.NodeProto, values: dict[str, Operand], source: str) -> Value:
    """What one operator gives; ModelError names the operator."""
    from converter.sources.onnx_node import Node
    from converter.sources.onnx_ops import OPERATORS

    label = f"operator {node.op_type} ({node.name or node.output[0]})"
    if node.domain not in {"", "ai.onnx"} or node.op_type not in OPERATORS:
        raise ModelError(f"{source}: {label} cannot be converted; known are {', '.join(sorted(OPERATORS))}")
    try:
        return OPERATORS[node.op_type](Node(node, [values.get(each) for each in node.input]))
    except (ValueError, TypeError, IndexError) as err:
        raise ModelError(f"{source}: {label} cannot be converted: {one_line(err)}") from err


def _compare(model: keras.Model, proto: onnx.ModelProto, logits: str, source: str) -> None:
    """ModelError where one image gives other logits than in the numpy form of the operators that ONNX comes with."""
    from onnx.reference import ReferenceEvaluator

    height, width, channels = model.input_shape[1:]
    name, shape = _image(proto.graph, {tensor.name: None for tensor in proto.graph.initializer}, source)
    image = np.random.default_rng(0).uniform(-1, 1, (1, height, width, channels)).astype(np.float32)
    given = compute(model, image, source)
    proto.graph.output[0].name = logits
    if shape != [height, width, channels]:
        image = np.moveaxis(image, -1, 1)
    try:
        (right,) = ReferenceEvaluator(proto).run([logits], {name: image})
    except REFERENCE_FAILS as err:
        raise ModelError(f"{source}: cannot be checked by ONNX's reference ({one_line(err)})") from err
    if given.shape != right.shape:
        raise ModelError(f"{source}: would be converted to outputs {given.shape}, but gives {right.shape}")
    off = float(np.abs(given - right).max() / max(1.0, np.abs(right).max()))
    if not off <= MAX_DIFFERENCE:
        raise ModelError(f"{source}: cannot be converted exactly: its logits would be off by {off:.2g} of the largest")

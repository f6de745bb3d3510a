"""A SavedModel folder -> a Keras model around its frozen graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from converter.sources.nano import fresh_float32, one_line, require_finite
from edge_fer.errors import ModelError, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    import keras

GRAPH_FILE = "saved_model.pb"

BROKEN = (OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError)
"""What TensorFlow raises for damaged files, besides its own errors."""

REACHES_OUTSIDE = frozenset({"PyFunc", "EagerPyFunc", "PyFuncStateless", "ReadFile", "WriteFile", "MatchingFiles"})
"""Operators that have no place in a classifier: they run code or touch files."""


def read_saved_model(folder: Path) -> keras.Model:
    """The classifier of a SavedModel, as `model.export()` or `tf.saved_model.save` writes it, without a last softmax.

    Its variables become constants: what TFLite's converter needs to hand the whole graph to XNNPACK. UnavailableError
    where the folder cannot be read, ModelError where the graph is no float32 classifier of one image.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    if not (folder / GRAPH_FILE).is_file():
        raise UnavailableError(f"{folder}: is a folder without {GRAPH_FILE}, so no SavedModel")
    try:
        # The loaded object must live until its variables are frozen.
        loaded = tf.saved_model.load(folder)
        frozen = _frozen(_signature(loaded, folder), folder)
    except UnavailableError:
        raise
    except (*BROKEN, DecodeError, tf.errors.OpError) as err:
        raise UnavailableError(f"{folder}: not a readable SavedModel ({one_line(err)})") from err
    return _wrapped(frozen, folder)


def _signature(loaded: Any, folder: Path) -> Any:  # noqa: ANN401  # TensorFlow has no types
    """`serving_default`, or the only one there is."""
    signatures = dict(loaded.signatures)
    if "serving_default" in signatures:
        return signatures["serving_default"]
    if len(signatures) != 1:
        found = ", ".join(sorted(signatures)) or "none"
        raise ModelError(f"{folder}: the SavedModel has no signature serving_default; found: {found}")
    return next(iter(signatures.values()))


def _frozen(signature: Any, folder: Path) -> Any:  # noqa: ANN401
    """The signature as one function image -> logits without variables."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    for variable in signature.variables:
        if variable.dtype.is_floating:
            require_finite(variable.name, [np.asarray(variable.numpy(), np.float32)], str(folder))
    images = signature.structured_input_signature[1]
    if len(images) != 1 or len(signature.outputs) != 1:
        given = f"{len(images)} inputs and {len(signature.outputs)} outputs"
        raise ModelError(f"{folder}: has {given}; it must take one image and give one row of logits")
    (image,) = images.values()
    if image.dtype.name != "float32" or signature.outputs[0].dtype.name != "float32":
        found = f"{image.dtype.name} -> {signature.outputs[0].dtype.name}"
        raise ModelError(f"{folder}: computes {found}, but must take and give float32")
    if image.shape.rank != len("NHWC") or None in image.shape[1:].as_list():
        raise ModelError(f"{folder}: takes {image.shape}, but must take images of a fixed size (N, H, W, C)")
    frozen = convert_variables_to_constants_v2(signature)
    graph = frozen.graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    if outside := sorted({node.op for node in nodes} & REACHES_OUTSIDE):
        raise ModelError(f"{folder}: contains the operator {outside[0]}, which runs code or touches files")
    return frozen.prune(frozen.inputs[0], _before_softmax(frozen.outputs[0]))


def _before_softmax(output: Any) -> Any:  # noqa: ANN401
    """edge-fer applies the softmax itself; a second one would flatten all confidences."""
    operator = output.op
    while operator.type == "Identity":
        operator = operator.inputs[0].op
    return operator.inputs[0] if operator.type == "Softmax" else output


def _wrapped(frozen: Any, folder: Path) -> keras.Model:  # noqa: ANN401
    import keras
    import tensorflow as tf

    batch, height, width, channels = frozen.inputs[0].shape
    row = tuple(frozen.outputs[0].shape[1:])
    if batch not in {None, 1}:
        raise ModelError(f"{folder}: takes {batch} images at once; export it with a batch of 1 or of any size")

    class FrozenGraph(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
        """The graph as a layer; one image at a time where it was saved so."""

        def call(self, image: tf.Tensor) -> tf.Tensor:
            if batch is None or image.shape[0] == 1:
                return frozen(image)
            each = tf.TensorSpec(row, tf.float32)
            return tf.map_fn(lambda one: frozen(one[None])[0], image, fn_output_signature=each)

        def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
            return (shape[0], *row)

    with fresh_float32():
        image = keras.Input((height, width, channels), name="image")
        return keras.Model(image, FrozenGraph(name="saved_model")(image), name="saved_model")

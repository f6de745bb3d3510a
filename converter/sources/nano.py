"""Weights by layer name -> a Nano, with every way in which they can be wrong."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from converter.network import NETWORKS, build
from edge_fer.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import keras

    from edge_fer.classify import NetworkName

Shape = tuple[int, ...]
LayerWeights = dict[str, list[npt.NDArray[np.float32]]]
"""In the order of Keras: kernel (kh, kw, in, out) and bias; of a normalisation gamma, beta, mean and variance."""

LAYERS = (*(conv.name for conv in NETWORKS["nano_b"].convs), "logits")
"""The same in both networks."""


def kernel_shapes(network: NetworkName) -> dict[str, Shape]:
    """Of each convolution (kh, kw, in, out), and of `logits` (features,): its other side is the number of labels."""
    channels, shapes = {"image": 1}, dict[str, Shape]()
    for conv in NETWORKS[network].convs:
        shapes[conv.name] = (conv.kernel, conv.kernel, channels[conv.inputs[0]], conv.channels)
        channels[conv.name] = conv.channels
    return shapes | {"logits": (channels[NETWORKS[network].head[0]],)}


def fitting_layers(shapes: Mapping[str, Shape], network: NetworkName) -> int:
    """How many of these kernels, (kh, kw, in, out) and (features, classes), the network has as well; 22 are all."""
    right = kernel_shapes(network)
    return sum(shapes[name][: len(right[name])] == right[name] for name in LAYERS if name in shapes)


def guess_network(shapes: Mapping[str, Shape], source: str) -> NetworkName:
    """The Nano that most of these kernels fit; ModelError where none fits either."""
    fits: dict[NetworkName, int] = {name: fitting_layers(shapes, name) for name in ("nano_a", "nano_b")}
    best: NetworkName = max(fits, key=lambda name: fits[name])
    if not fits[best]:
        found = next((f"layer {name} has the shape {shapes[name]}" for name in LAYERS if name in shapes), "no layer L1")
        raise ModelError(f"{source}: neither nano_a nor nano_b: {found}; nano_b needs {kernel_shapes('nano_b')['L1']}")
    return best


def require_layers(names: Iterable[str], network: NetworkName, source: str) -> None:
    """ModelError where a layer of a Nano is missing, or one is there that a Nano does not have.

    With one normalisation all convolutions need theirs.
    """
    found = set(names)
    wanted = set(LAYERS)
    if any(name.endswith("_norm") for name in found):
        wanted |= {f"{name}_norm" for name in LAYERS if name != "logits"}
    if extra := sorted(found - wanted):
        raise ModelError(f"{source}: layer {extra[0]} has weights, but {network} has no such layer")
    if missing := sorted(wanted - found):
        raise ModelError(f"{source}: layer {missing[0]} of {network} is missing")


def require_outputs(found: int, classes: int, source: str) -> None:
    """ModelError where the head has not one output for each label."""
    if found != classes:
        raise ModelError(f"{source}: the network has {found} outputs, but there are {classes} labels")


def require_finite(layer: str, values: Iterable[npt.NDArray[np.float32]], source: str) -> None:
    """ModelError where a weight of the layer is NaN or infinite."""
    if not all(np.isfinite(value).all() for value in values):
        raise ModelError(f"{source}: layer {layer} holds NaN or infinite weights: the training diverged")


def fill_nano(weights: LayerWeights, network: NetworkName, classes: int, source: str) -> keras.Model:
    """The bare float32 network, image -> logits, with these weights; in reference form where they have no batch norm.

    ModelError names `source` and the layer that is missing, unknown, of another shape, or not finite.
    """
    require_layers(weights, network, source)
    require_outputs(weights["logits"][0].shape[-1], classes, source)
    model = build_bare(network, classes, batch_norm="L1_norm" in weights)
    for layer in model.layers:
        if not layer.weights:
            continue
        values = weights[layer.name]
        found, right = [value.shape for value in values], [tuple(weight.shape) for weight in layer.weights]
        if found != right:
            raise ModelError(f"{source}: layer {layer.name} has the shapes {found}, but {network} needs {right}")
        require_finite(layer.name, values, source)
        layer.set_weights(values)
    return model


def build_bare(network: NetworkName, classes: int, *, batch_norm: bool) -> keras.Model:
    """The untrained network in float32, its unnamed layers counted from zero: their names are in what is converted."""
    with fresh_float32():
        return build(NETWORKS[network], classes, batch_norm=batch_norm)


@contextmanager
def fresh_float32() -> Iterator[None]:
    """Build in float32, with layer names that count from zero, whatever the arithmetic of a training under way."""
    import keras

    policy = keras.config.dtype_policy()
    keras.utils.clear_session()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def compute(model: keras.Model, image: npt.NDArray[np.float32], source: str) -> npt.NDArray[np.float32]:
    """What the network gives for images; ModelError where TensorFlow cannot compute it on this machine."""
    import tensorflow as tf

    try:
        return np.asarray(model(image, training=False))
    except (ValueError, TypeError, tf.errors.OpError) as err:
        raise ModelError(f"{source}: cannot be computed here ({one_line(err)})") from err


def one_line(err: BaseException) -> str:
    """What went wrong, without the whole model configuration that Keras adds."""
    return re.sub(r"\s+", " ", (str(err).strip().splitlines() or [type(err).__name__])[0])[:200]

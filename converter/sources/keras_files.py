"""`.keras` and `.weights.h5` -> a float32 Keras model that gives logits."""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from converter.sources.nano import (
    LAYERS,
    LayerWeights,
    build_bare,
    fill_nano,
    fitting_layers,
    guess_network,
    one_line,
    require_finite,
)
from edge_fer.errors import ModelError, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    import h5py
    import keras

    from edge_fer.classify import NetworkName

BROKEN = (OSError, ValueError, TypeError, KeyError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error)
"""What Keras and HDF5 raise for damaged files, and Keras for layers that it does not know or holds unsafe."""

SAME_LOGITS_ATOL = 1e-3
"""Two float32 networks of the same weights differ by 1e-5; other connections by more than one."""


def read_keras(path: Path, network: NetworkName | None, classes: int) -> tuple[keras.Model, NetworkName | None]:
    """The classifier of a `.keras` file and which Nano it is, if any: bare, without what was only for training.

    Keras' safe mode stays on: a Lambda layer or a class of one's own is an UnavailableError. ModelError where
    `network` is given and the file holds another one.
    """
    import keras

    try:
        trained = keras.saving.load_model(path, compile=False)
    except BROKEN as err:
        raise UnavailableError(f"{path}: not a readable .keras file ({one_line(err)})") from err
    weights = {layer.name: _float32(layer.get_weights()) for layer in trained.layers if layer.weights}
    if network is None:
        found = _recognise(weights)
        if found is None or not (nano := _same_nano(trained, weights, found, classes, str(path))):
            return _classifier(trained, str(path)), None
        return nano, found
    nano = _same_nano(trained, weights, network, classes, str(path))
    if nano is None:
        raise ModelError(
            f"{path}: has the layers of {network}, but gives other logits: connected or set otherwise; without the "
            "name of a network it is converted as it is"
        )
    return nano, network


def read_weights_h5(path: Path, network: NetworkName | None, classes: int) -> tuple[keras.Model, NetworkName]:
    """A Nano from what `model.save_weights` of Keras 3 writes; `network` None: the one whose shapes fit."""
    import h5py

    try:
        with h5py.File(path) as file:
            weights = _h5_layers(file, str(path))
    except UnavailableError:
        raise
    except (*BROKEN, RuntimeError) as err:
        raise UnavailableError(f"{path}: not a readable .weights.h5 file ({one_line(err)})") from err
    network = network or guess_network(_kernels(weights), str(path))
    return fill_nano(weights, network, classes, str(path)), network


def _kernels(weights: LayerWeights) -> dict[str, tuple[int, ...]]:
    return {name: values[0].shape for name, values in weights.items()}


def _recognise(weights: LayerWeights) -> NetworkName | None:
    """The Nano whose layers these are, and no others."""
    if {name.removesuffix("_norm") for name in weights} != set(LAYERS):
        return None
    names: tuple[NetworkName, ...] = ("nano_a", "nano_b")
    return next((name for name in names if fitting_layers(_kernels(weights), name) == len(LAYERS)), None)


def _same_nano(
    trained: keras.Model, weights: LayerWeights, network: NetworkName, classes: int, source: str
) -> keras.Model | None:
    """The bare network with these weights; None where it does not give what the trained one gives at `logits`."""
    import keras

    nano = fill_nano(weights, network, classes, source)
    image = np.random.default_rng(0).uniform(-1, 1, (2, *nano.input_shape[1:])).astype(np.float32)
    try:
        trained = in_float32(keras.Model(trained.inputs[0], trained.get_layer("logits").output))
        wanted = np.asarray(trained(image, training=False))
    except (ValueError, TypeError, IndexError):  # takes other images, or is not one graph from image to logits
        return None
    given = np.asarray(nano(image, training=False))
    close = given.shape == wanted.shape and np.allclose(given, wanted, rtol=SAME_LOGITS_ATOL, atol=SAME_LOGITS_ATOL)
    return nano if close else None


def _classifier(trained: keras.Model, source: str) -> keras.Model:
    """Any image classifier, in float32 and without a softmax at its end."""
    for layer in trained.layers:
        require_finite(layer.name, _float32(layer.get_weights()), source)
    if len(getattr(trained, "inputs", None) or ()) != 1 or len(trained.outputs) != 1:
        given = f"{len(getattr(trained, 'inputs', None) or ())} inputs and {len(trained.outputs or ())} outputs"
        raise ModelError(f"{source}: has {given}; it must take one image and give one row of logits")
    return _without_softmax(in_float32(trained), source)


def in_float32(model: keras.Model) -> keras.Model:
    """The model itself, or its copy in float32 where it calculates with less."""
    import keras

    if all(layer.compute_dtype == layer.variable_dtype == "float32" for layer in model._flatten_layers()):  # noqa: SLF001
        return model

    def clone(layer: keras.Layer) -> keras.Layer:
        return type(layer).from_config(layer.get_config() | {"dtype": "float32"})

    copy = keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(_float32(model.get_weights()))
    return copy


def _without_softmax(model: keras.Model, source: str) -> keras.Model:
    """edge-fer applies the softmax itself; a second one would flatten all confidences."""
    import keras

    last = model.layers[-1]
    activation = getattr(last, "activation", None)
    if isinstance(last, keras.layers.Softmax) or (
        isinstance(last, keras.layers.Activation) and activation is keras.activations.softmax
    ):
        return keras.Model(model.inputs[0], last.input, name=model.name)
    if activation is keras.activations.softmax:
        last.activation = keras.activations.linear
    elif activation is keras.activations.sigmoid:
        raise ModelError(f"{source}: layer {last.name} ends in a sigmoid; it must give logits or a softmax of them")
    return model


def _h5_layers(file: h5py.File, source: str) -> LayerWeights:
    """The variables of each layer by its name; files of earlier Keras 3 tell only the classes, in order."""
    import h5py

    groups = file.get("layers")
    if not isinstance(groups, h5py.Group):
        raise ModelError(f"{source}: not written by save_weights of Keras 3: no group 'layers' in it")
    stored = {key: group["vars"] for key, group in groups.items() if len(group.get("vars", ()))}
    named = all("name" in groups[key].attrs for key in stored)
    names = {key: str(groups[key].attrs["name"]) for key in stored} if named else _names_in_order(stored)
    if strange := sorted(stored.keys() - names.keys()):
        raise ModelError(f"{source}: layer {strange[0]} has weights, but a Nano has no such layer")
    return {
        names[key]: _float32([np.asarray(group[number]) for number in sorted(group, key=int)])
        for key, group in stored.items()
    }


def _names_in_order(keys: dict[str, h5py.Group]) -> dict[str, str]:
    """Keras counts the layers of each class: conv2d, conv2d_1, ...; the order is the same in both networks."""
    layers = build_bare("nano_b", 1, batch_norm=any(key.startswith("batch_normalization") for key in keys)).layers
    names: dict[str, str] = {}
    for kind, prefix in (("Conv2D", "conv2d"), ("BatchNormalization", "batch_normalization"), ("Dense", "dense")):
        of_kind = [layer.name for layer in layers if type(layer).__name__ == kind]
        names |= {f"{prefix}_{count}" if count else prefix: name for count, name in enumerate(of_kind)}
    return {key: name for key, name in names.items() if key in keys}


def _float32(values: list[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
    return [np.asarray(value, np.float32) for value in values]

"""A trained Keras network -> the bytes of a TFLite file, float32 or int8."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from converter.network import INPUT_PX, NETWORKS, build
from edge_fer.align import normalise
from edge_fer.errors import ModelError, UnavailableError
from edge_fer.labels import EXPRESSIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import keras

CALIBRATION_IMAGES, CALIBRATION_SEED = 500, 0


def load_trained(checkpoint: Path, network: str) -> keras.Model:
    """The float32 network, image -> logits, holding the weights of a checkpoint as `train` saves them.

    UnavailableError where the file cannot be read; ModelError where a layer is missing, has another shape than the
    network or holds NaN or infinite weights.
    """
    import keras

    if not checkpoint.is_file():
        raise UnavailableError(f"{checkpoint}: no such file")
    try:
        trained = keras.saving.load_model(checkpoint, compile=False)
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as err:
        raise UnavailableError(f"{checkpoint}: not a readable .keras file ({_first_line(err)})") from err
    keras.utils.clear_session()  # the file holds layer names, which count on from earlier models
    keras.config.set_dtype_policy("float32")  # the checkpoint's own policy is that of its training
    model = build(NETWORKS[network], len(EXPRESSIONS))
    copy_weights(trained, model, str(checkpoint))
    return model


def copy_weights(trained: keras.Model, model: keras.Model, source: str) -> None:
    """Give every layer of `model` the weights of the layer of the same name; ModelError names `source` and layer."""
    stored = {layer.name: layer for layer in trained.layers}
    wanted = [layer for layer in model.layers if layer.weights]
    if extra := sorted({layer.name for layer in trained.layers if layer.weights} - {layer.name for layer in wanted}):
        raise ModelError(f"{source}: layer {extra[0]} has weights, but {model.name} has no such layer")
    for layer in wanted:
        if layer.name not in stored:
            raise ModelError(f"{source}: layer {layer.name} of {model.name} is missing")
        values = stored[layer.name].get_weights()
        found, right = [value.shape for value in values], [tuple(weight.shape) for weight in layer.weights]
        if found != right:
            raise ModelError(f"{source}: layer {layer.name} has the shapes {found}, but {model.name} needs {right}")
        if not all(np.isfinite(value).all() for value in values):
            raise ModelError(f"{source}: layer {layer.name} holds NaN or infinite weights: the training diverged")
        layer.set_weights(values)


def shift_prior(model: keras.Model, offset: npt.NDArray[np.float64]) -> None:
    """Add an offset (8,) to the logits of a model.

    As shift * log prior it chooses how readily rare expressions are read: 0 keeps the balance of the training, the tau
    of its logit adjustment undoes it.
    """
    kernel, bias = model.get_layer("logits").get_weights()
    model.get_layer("logits").set_weights([kernel, (bias + offset).astype(np.float32)])


def calibration_faces(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A seeded sample of the training images, (at most 500, 48, 48)."""
    rng = np.random.default_rng(CALIBRATION_SEED)
    return images[np.sort(rng.permutation(len(images))[:CALIBRATION_IMAGES])]


def to_float32(model: keras.Model) -> bytes:
    """A TFLite file with float32 input and output; the normalisations are folded into the convolutions."""
    return bytes(_converter(model).convert())


def to_int8(model: keras.Model, faces: npt.NDArray[np.uint8]) -> bytes:
    """A TFLite file with int8 input, output and arithmetic, weights per channel, ranges measured on the faces.

    Deterministic: the same weights and faces give the same bytes.
    """
    import tensorflow as tf

    def calibration() -> Iterator[list[npt.NDArray[np.float32]]]:
        for face in faces:
            yield [normalise(face)[None, :, :, None]]

    converter = _converter(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = calibration
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def _converter(model: keras.Model) -> Any:  # noqa: ANN401  # TensorFlow has no types
    """A converter of the model at a fixed batch of one."""
    import tensorflow as tf

    signature = [tf.TensorSpec((1, INPUT_PX, INPUT_PX, 1), tf.float32, name="image")]
    module = tf.Module()
    # Without these references the converter leaves the weights as variables that no interpreter can read.
    module.weights = [variable.value for variable in model.variables]
    module.function = tf.function(lambda image: model(image, training=False), input_signature=signature)
    concrete = module.function.get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)


def _first_line(err: Exception) -> str:
    """What went wrong, without the whole model configuration that Keras adds."""
    return (str(err).strip().splitlines() or [type(err).__name__])[0][:200]

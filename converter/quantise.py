"""A trained Keras network -> the bytes of a TFLite file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from converter.inference import to_input
from converter.sources.nano import one_line
from edge_fer.errors import ModelError, UsageError

if TYPE_CHECKING:
    import keras

    from converter.recipe import ConversionRecipe
    from edge_fer.card import InputScaling


def calibration_faces(images: npt.NDArray[np.uint8], recipe: ConversionRecipe) -> npt.NDArray[np.uint8]:
    """A seeded sample of grey faces, (at most calibration_images, size, size)."""
    rng = np.random.default_rng(recipe.calibration_seed)
    return images[np.sort(rng.permutation(len(images))[: recipe.calibration_images])]


def to_tflite(
    model: keras.Model, recipe: ConversionRecipe, faces: npt.NDArray[np.uint8] | None, scaling: InputScaling = "-1..1"
) -> bytes:
    """The TFLite file of a Keras model, image -> outputs; normalisations are folded into the convolutions.

    int8 arithmetic needs grey `faces` (N, size, size) that its ranges are measured on. Deterministic: the same weights
    and faces give the same bytes. ModelError where TensorFlow cannot convert it.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert import ConverterError

    _, height, width, channels = model.inputs[0].shape
    signature = [tf.TensorSpec((1, height, width, channels), tf.float32, name="image")]
    module = tf.Module()
    # Without these references the converter leaves the weights as variables that no interpreter can read.
    module.weights = [variable.value for variable in model.variables]
    module.function = tf.function(lambda image: model(image, training=False), input_signature=signature)
    concrete = module.function.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    if recipe.weights != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if recipe.weights == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if recipe.arithmetic == "int8":
        if faces is None or not len(faces):
            raise UsageError("int8 arithmetic needs faces to measure its ranges on: give --calibration some")
        converter.representative_dataset = lambda: ([to_input(face[None], channels, scaling)] for face in faces)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if recipe.input_output == "int8":
        converter.inference_input_type = converter.inference_output_type = tf.int8
    try:
        return bytes(converter.convert())
    except (ValueError, RuntimeError, ConverterError) as err:
        raise ModelError(f"{model.name}: TensorFlow cannot convert it ({one_line(err)})") from err

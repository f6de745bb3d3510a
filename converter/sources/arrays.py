"""`.npz` and `.safetensors` with the names and layout of PyTorch -> a Nano."""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from converter.sources.nano import (
    LayerWeights,
    Shape,
    fill_nano,
    guess_network,
    kernel_shapes,
    one_line,
    require_finite,
    require_layers,
    require_outputs,
)
from edge_fer.errors import ModelError, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    import keras

    from edge_fer.classify import NetworkName

Arrays = dict[str, npt.NDArray[Any]]

PYTORCH_EPS = 1e-5
"""Default of torch.nn.BatchNorm2d; Keras' is 1e-3."""

NORM_PARTS = ("weight", "bias", "running_mean", "running_var")


def read_arrays(path: Path, network: NetworkName | None, classes: int) -> tuple[keras.Model, NetworkName]:
    """A Nano in reference form, its normalisations folded in; `network` None: the one whose shapes fit.

    Names and layout: see converter.sources.files.
    """
    arrays, eps = _read_npz(path) if path.suffix == ".npz" else _read_safetensors(path)
    arrays = {name: value for name, value in arrays.items() if not name.endswith(".num_batches_tracked")}
    for name, value in arrays.items():
        if not np.issubdtype(value.dtype, np.floating):
            raise ModelError(f"{path}: {name} holds {value.dtype}, but weights are floating-point numbers")
        require_finite(name, [value], str(path))
    shapes = {_layer(name): _keras_shape(value) for name, value in arrays.items() if _is_kernel(name)}
    network = network or guess_network(shapes, str(path))
    require_layers({_layer(name) for name in arrays}, network, str(path))
    if "logits.weight" in arrays:
        require_outputs(arrays["logits.weight"].shape[0], classes, str(path))
    _require_shapes(arrays, network, classes, str(path))
    return fill_nano(_folded(arrays, eps, str(path)), network, classes, str(path)), network


def _read_npz(path: Path) -> tuple[Arrays, float]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as err:
        raise UnavailableError(f"{path}: not a readable .npz file ({one_line(err)})") from err
    return arrays, _eps(arrays.pop("norm_eps", PYTORCH_EPS), path)


def _read_safetensors(path: Path) -> tuple[Arrays, float]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as err:
        raise UnavailableError(f"{path}: needs: pip install 'edge-fer[convert]' ({err})") from err
    try:
        with safe_open(path, framework="numpy") as stored:
            arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  # no iteration over it
            eps = (stored.metadata() or {}).get("norm_eps", PYTORCH_EPS)
    except (OSError, SafetensorError) as err:
        raise UnavailableError(f"{path}: not a readable .safetensors file ({one_line(err)})") from err
    except (TypeError, AttributeError, KeyError, ValueError) as err:  # bfloat16 and the 8-bit types
        raise ModelError(f"{path}: holds numbers that NumPy does not know ({one_line(err)}); save float32") from err
    return arrays, _eps(arrays.pop("norm_eps", eps), path)


def _eps(value: object, path: Path) -> float:
    try:
        eps = float(value)  # type: ignore[arg-type]  # the file's own; this is the check
    except (TypeError, ValueError):
        eps = -1.0
    if not 0 < eps < 1:
        raise ModelError(
            f"{path}: norm_eps is {one_line(ValueError(value))}, but must be a number between 0 and 1, such as 1e-5"
        )
    return eps


def _layer(name: str) -> str:
    return name.rpartition(".")[0] or name


def _is_kernel(name: str) -> bool:
    return name.endswith(".weight") and not name.endswith("_norm.weight")


def _keras_shape(kernel: npt.NDArray[Any]) -> Shape:
    """(out, in, kh, kw) -> (kh, kw, in, out), and (classes, features) -> (features, classes)."""
    return (*kernel.shape[2:], *kernel.shape[1::-1])


def _require_shapes(arrays: Arrays, network: NetworkName, classes: int, source: str) -> None:
    """ModelError for the first array that is missing, unknown or of another shape; shapes as in the file."""
    right: dict[str, Shape] = {}
    normalised = any(_layer(name).endswith("_norm") for name in arrays)
    for layer, shape in kernel_shapes(network).items():
        out, *inner = (classes, *shape) if layer == "logits" else (shape[3], shape[2], *shape[:2])
        right[f"{layer}.weight"] = (out, *inner)
        # A convolution before a normalisation mostly has no bias.
        if layer == "logits" or not normalised or f"{layer}.bias" in arrays:
            right[f"{layer}.bias"] = (out,)
        if normalised and layer != "logits":
            right |= {f"{layer}_norm.{part}": (out,) for part in NORM_PARTS}
    if unknown := sorted(arrays.keys() - right.keys()):
        raise ModelError(f"{source}: {unknown[0]} is unknown; layer {_layer(unknown[0])} has {_parts(unknown[0])}")
    for name, shape in right.items():
        if name not in arrays:
            raise ModelError(f"{source}: {name} of {network} is missing")
        if arrays[name].shape != shape:
            raise ModelError(f"{source}: {name} has the shape {arrays[name].shape}, but {network} needs {shape}")


def _parts(name: str) -> str:
    return ", ".join(NORM_PARTS if _layer(name).endswith("_norm") else NORM_PARTS[:2])


def _folded(arrays: Arrays, eps: float, source: str) -> LayerWeights:
    """Kernel and bias of each layer as Keras has them; calculated in double precision.

    A normalisation gives scale * (conv + bias - mean) + shift with scale = weight / sqrt(variance + eps).
    """
    weights: LayerWeights = {}
    for name, value in arrays.items():
        if not _is_kernel(name):
            continue
        layer = _layer(name)
        kernel = np.moveaxis(value.astype(np.float64), (0, 1), (-1, -2))
        bias = arrays.get(f"{layer}.bias", np.zeros(kernel.shape[-1])).astype(np.float64)
        if f"{layer}_norm.weight" in arrays:
            gamma, beta, mean, variance = (arrays[f"{layer}_norm.{part}"].astype(np.float64) for part in NORM_PARTS)
            if (variance < 0).any():
                raise ModelError(f"{source}: {layer}_norm.running_var holds {variance.min():g}, but none is negative")
            scale = gamma / np.sqrt(variance + eps)
            kernel, bias = kernel * scale, (bias - mean) * scale + beta
        weights[layer] = [kernel.astype(np.float32), bias.astype(np.float32)]
    return weights

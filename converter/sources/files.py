"""Trained weights of any common format -> a Keras model, ready to be converted.

| file | holds | note |
|---|---|---|
| `.keras` | network and weights | any image classifier of Keras; a Nano is recognised |
| SavedModel folder | network and weights | from `model.export()` or `tf.saved_model.save` |
| `.onnx` | network and weights | needs `edge-fer[onnx]`; operators in converter/sources/onnx_ops.py |
| `.weights.h5` | weights of a Nano | from `model.save_weights` of Keras 3 |
| `.npz`, `.safetensors` | weights of a Nano | names and layout of PyTorch, below |

The last three tell no connections: these are taken from converter/network.py. A SavedModel is a program, so convert
only those of people whom you trust; the other formats hold nothing that is run.

Names and layout in `.npz` and `.safetensors`, for each convolution L1 to L19, P1 and P2 (those of a `state_dict` whose
modules are called so; `num_batches_tracked` is ignored):

| name | shape | |
|---|---|---|
| `L1.weight` | (out, in, kh, kw) | |
| `L1.bias` | (out,) | may be missing before a normalisation |
| `L1_norm.weight`, `.bias`, `.running_mean`, `.running_var` | (out,) | all convolutions or none |
| `logits.weight` | (classes, features) | |
| `logits.bias` | (classes,) | |
| `norm_eps` | () | epsilon of the normalisations, default 1e-5; in `.safetensors` also as metadata |

Padding: Keras pads a 3x3 convolution of stride 2 only below and on the right, PyTorch's `padding=1` on all sides. In
PyTorch, then, L8 and L14 are `Conv2d(..., 3, stride=2, padding=0)` behind `torch.nn.functional.pad(x, (0, 1, 0, 1))`,
P1 and P2 are `Conv2d(..., 1, stride=2)`, and all others `Conv2d(..., 3, padding=1)`. Otherwise the weights fit, but the
logits differ.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from converter.sources.nano import compute, require_outputs
from edge_fer.errors import ModelError, UnavailableError, UsageError
from edge_fer.labels import EXPRESSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import keras

    from edge_fer.classify import NetworkName

KNOWN = ".keras, .weights.h5, .onnx, .safetensors, .npz or a SavedModel folder"

PICKLES = frozenset({".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle"})
"""Loading one runs whatever code it holds."""


IMAGE_RANK, LOGITS_RANK = 4, 2


@dataclass(frozen=True, slots=True)
class Source:
    """What a file of weights holds."""

    model: keras.Model  # float32 (N, H, W, 1 or 3) -> logits (N, classes), not compiled
    sha256: str  # of the file; of several files (folder, ONNX with data beside it) over names and bytes
    network: NetworkName | None  # None: another network than ours


def read_weights(path: Path, network: NetworkName | None, classes: int) -> Source:
    """The trained network of a file or folder, without a softmax at its end.

    `network` says what a file without connections holds, and what a `.keras` file must hold; None: recognised by the
    shapes. UsageError for a suffix that is not known, and for a `network` beside a SavedModel or ONNX file, in which
    nothing tells whether it is right. UnavailableError where the file cannot be read; ModelError, with file and layer,
    where a weight is missing, unknown, of another shape or not finite, or where the network is no classifier of one
    image with `classes` outputs.
    """
    if not path.exists():
        raise UnavailableError(f"{path}: no such file or folder")
    kind = _kind(path)
    if network and kind in {"SavedModel", ".onnx"}:
        raise UsageError(f"{path}: tells its own network, and nothing in it says {network}; leave the network out")
    files: Iterable[Path] = [path]
    if kind == "SavedModel":
        from converter.sources.saved_model import read_saved_model

        model, found = read_saved_model(path), None
        files = (file for file in path.rglob("*") if file.is_file())
    elif kind == ".onnx":
        from converter.sources.onnx_files import read_onnx

        (model, files), found = read_onnx(path), None
    elif kind == ".keras":
        from converter.sources.keras_files import read_keras

        model, found = read_keras(path, network, classes)
    elif kind == ".weights.h5":
        from converter.sources.keras_files import read_weights_h5

        model, found = read_weights_h5(path, network, classes)
    else:
        from converter.sources.arrays import read_arrays

        model, found = read_arrays(path, network, classes)
    _require_classifier(model, classes, str(path))
    return Source(model, _sha256(path, files), found)


def read_trainable(path: Path, network: NetworkName) -> keras.Model:
    """A Nano of eight expressions to train on: `read_weights`, and a ModelError where its batch norm is folded away."""
    model = read_weights(path, network, len(EXPRESSIONS)).model
    if "L1_norm" not in {layer.name for layer in model.layers}:
        raise ModelError(f"{path}: has no batch norm any more, but training needs it")
    return model


def _kind(path: Path) -> str:
    if path.is_dir():
        return "SavedModel"
    if path.suffix in PICKLES:
        raise UsageError(
            f"{path}: a pickle, which can run any code when it is read; in PyTorch, export it with "
            "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors') or torch.onnx.export"
        )
    known = (".keras", ".weights.h5", ".onnx", ".safetensors", ".npz")
    kind = next((suffix for suffix in known if path.name.endswith(suffix)), None)
    if kind is None:
        raise UsageError(f"{path}: weights of this kind are not read; known are {KNOWN}")
    return kind


def _require_classifier(model: keras.Model, classes: int, source: str) -> None:
    """One image in, one finite logit for each label out."""
    takes, gives = model.input_shape, model.output_shape
    if len(takes) != IMAGE_RANK or None in takes[1:] or takes[3] not in {1, 3}:
        raise ModelError(f"{source}: takes {takes}, but must take images of a fixed size (N, H, W, 1 or 3)")
    if len(gives) != LOGITS_RANK or gives[1] is None:
        raise ModelError(f"{source}: gives {gives}, but must give one row of logits (N, {classes})")
    require_outputs(gives[1], classes, source)
    image = np.random.default_rng(0).uniform(-1, 1, (1, *takes[1:])).astype(np.float32)
    logits = compute(model, image, source)
    if not np.isfinite(logits).all():
        raise ModelError(f"{source}: gives NaN or infinite logits")
    if classes > 1 and (logits >= 0).all() and abs(float(logits.sum()) - 1) < 1e-5:  # noqa: PLR2004  # float32
        raise ModelError(f"{source}: gives probabilities, from a softmax that cannot be taken off; export logits")


def _sha256(path: Path, files: Iterable[Path]) -> str:
    """Of a single file its bytes; of several their names relative to the folder and their bytes, in order of names."""
    several = sorted(files)
    if several == [path]:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    folder = path if path.is_dir() else path.parent
    digest = hashlib.sha256()
    for file in several:
        content = file.read_bytes()
        digest.update(f"{file.relative_to(folder).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()

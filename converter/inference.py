"""Faces through a TFLite file, in this process or in one of its own."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from converter.apart import run_apart
from converter.network import INPUT_PX
from edge_fer.card import InputScaling, ModelCard
from edge_fer.classify import scale_levels
from edge_fer.errors import EdgeFerError, ModelError, UnavailableError
from edge_fer.tflite import Graph, GraphSize, Runtime, XnnpackShare


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a model file gives on one runtime."""

    outputs: npt.NDArray[np.float32]  # (N, classes): logits, or probabilities
    xnnpack: XnnpackShare
    size: GraphSize


def to_input_size(images: npt.NDArray[np.uint8], source: str, size_px: int = INPUT_PX) -> npt.NDArray[np.uint8]:
    """Square grey faces (N, side, side) -> (N, size, size); area filtering where they shrink, bilinear would alias."""
    height, width = images.shape[1:]
    if height != width or not height:
        raise UnavailableError(f"{source}: images are {height} x {width} px, but faces must be cut out square")
    if not len(images):
        return np.zeros((0, size_px, size_px), np.uint8)
    if height == size_px:
        return images
    way = cv2.INTER_AREA if height > size_px else cv2.INTER_LINEAR
    resized = [cv2.resize(image, (size_px, size_px), interpolation=way) for image in images]
    return np.asarray(np.stack(resized), np.uint8)


def to_input(images: npt.NDArray[np.uint8], channels: int, scaling: InputScaling) -> npt.NDArray[np.float32]:
    """Grey faces (N, size, size) as a network takes them, (N, size, size, channels): every channel holds the grey."""
    return np.repeat(scale_levels(images, scaling)[..., None], channels, axis=-1)


def infer(graph: Graph, images: npt.NDArray[np.uint8], scaling: InputScaling = "-1..1") -> npt.NDArray[np.float32]:
    """What a graph gives (N, classes) for grey faces of its size (N, size, size), one at a time as on a board.

    ModelError on graphs of another input.
    """
    found = graph.inputs[0].shape
    if len(graph.inputs) != 1 or found[:3] != (1, *images.shape[1:]) or found[3:] not in ((1,), (3,)):
        wanted = (1, *images.shape[1:], 1)
        raise ModelError(f"{graph.name}: takes {found}, but expressions are read from {wanted}")
    rows = np.empty((len(images), graph.outputs[0].shape[-1]), np.float32)
    for row, image in zip(rows, images, strict=True):
        row[:] = graph.run(to_input(image[None], found[3], scaling))[0][0]
    return rows


def infer_file(graph: Graph, card: ModelCard, images: npt.NDArray[np.uint8], source: str) -> npt.NDArray[np.float32]:
    """What a model gives (N, labels) for square grey faces of any size; `source` names them in errors.

    ModelError where the model and its card do not fit together.
    """
    outputs = infer(graph, to_input_size(images, source, card.input_px), card.input_scaling)
    if outputs.shape[1] != len(card.labels):
        raise ModelError(f"{graph.name}: gives {outputs.shape[1]} numbers, but its card has {len(card.labels)} labels")
    return outputs


def infer_apart(
    name: str, content: bytes, images: npt.NDArray[np.uint8], runtime: Runtime, scaling: InputScaling = "-1..1"
) -> Outcome:
    """`infer` in a child process: TensorFlow's symbols break tflite-runtime's interpreter within one process.

    ModelError with the child's message where the runtime cannot run the model.
    """
    with tempfile.TemporaryDirectory(prefix="edge-fer-") as folder:
        model, faces, out = (Path(folder, part) for part in (name, "faces.npy", "out.npz"))
        model.write_bytes(content)
        np.save(faces, images)
        arguments = (str(model), str(faces), str(out), runtime, scaling)
        run_apart("converter.inference", *arguments, failed=f"{name}: does not run on {runtime}")
        with np.load(out) as stored:
            xnnpack, size = XnnpackShare(*stored["xnnpack"].tolist()), GraphSize(*stored["size"].tolist())
            return Outcome(stored["outputs"], xnnpack, size)


def _child(model: str, faces: str, out: str, runtime: Runtime, scaling: InputScaling) -> None:
    graph = Graph(Path(model).name, Path(model).read_bytes(), runtime=runtime)
    outputs = infer(graph, np.load(faces), scaling)
    np.savez(out, outputs=outputs, xnnpack=np.array(graph.xnnpack), size=np.array(graph.size()))


if __name__ == "__main__":
    try:
        _child(*sys.argv[1:])  # type: ignore[arg-type]  # the parent passes a Runtime and an InputScaling
    except EdgeFerError as err:
        sys.exit(str(err))

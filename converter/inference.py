"""Faces through a TFLite file, in this process or in one of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from converter.network import INPUT_PX
from edge_fer.align import normalise
from edge_fer.errors import EdgeFerError, ModelError, UnavailableError
from edge_fer.tflite import Graph, Runtime, XnnpackShare

CHECKOUT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a model file gives on one runtime."""

    logits: npt.NDArray[np.float32]  # (N, 8)
    xnnpack: XnnpackShare


def to_input_size(images: npt.NDArray[np.uint8], source: str) -> npt.NDArray[np.uint8]:
    """Square grey faces (N, side, side) -> (N, 48, 48); area filtering where they shrink, bilinear would alias."""
    height, width = images.shape[1:]
    if height != width or not height:
        raise UnavailableError(f"{source}: images are {height} x {width} px, but faces must be cut out square")
    if height == INPUT_PX or not len(images):
        return images.reshape(len(images), INPUT_PX, INPUT_PX) if len(images) else images
    way = cv2.INTER_AREA if height > INPUT_PX else cv2.INTER_LINEAR
    resized = [cv2.resize(image, (INPUT_PX, INPUT_PX), interpolation=way) for image in images]
    return np.asarray(np.stack(resized), np.uint8)


def infer(graph: Graph, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Logits (N, classes) of grey faces (N, 48, 48), one at a time as on a board; ModelError on other graphs."""
    wanted, found = (1, INPUT_PX, INPUT_PX, 1), graph.inputs[0].shape
    if found != wanted:
        raise ModelError(f"{graph.name}: takes {found}, but expressions are read from {wanted}")
    rows = np.empty((len(images), graph.outputs[0].shape[-1]), np.float32)
    for row, image in zip(rows, images, strict=True):
        row[:] = graph.run(normalise(image)[None, :, :, None])[0][0]
    return rows


def infer_apart(name: str, content: bytes, images: npt.NDArray[np.uint8], runtime: Runtime) -> Outcome:
    """`infer` in a child process: TensorFlow's symbols break tflite-runtime's interpreter within one process.

    ModelError with the child's message where the runtime cannot run the model.
    """
    with tempfile.TemporaryDirectory(prefix="edge-fer-") as folder:
        model, faces, out = (Path(folder, part) for part in (name, "faces.npy", "out.npz"))
        model.write_bytes(content)
        np.save(faces, images)
        command = [sys.executable, "-m", "converter.inference", str(model), str(faces), str(out), runtime]
        child = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
        if child.returncode:
            last = (child.stderr.strip().splitlines() or ["no message"])[-1]
            raise ModelError(f"{name}: does not run on {runtime} (exit code {child.returncode}: {last})")
        with np.load(out) as stored:
            return Outcome(stored["logits"], XnnpackShare(*stored["xnnpack"].tolist()))


def _child(model: str, faces: str, out: str, runtime: Runtime) -> None:
    graph = Graph(Path(model).name, Path(model).read_bytes(), runtime=runtime)
    np.savez(out, logits=infer(graph, np.load(faces)), xnnpack=np.array(graph.xnnpack))


if __name__ == "__main__":
    try:
        _child(*sys.argv[1:])  # type: ignore[arg-type]  # the parent passes a Runtime
    except EdgeFerError as err:
        sys.exit(str(err))

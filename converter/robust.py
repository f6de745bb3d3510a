"""How much a reader loses where the picture is not what it was trained on: fixed changes, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from converter.augment import jpeg
from converter.evaluate import DECIMALS, main_figures
from converter.inference import infer_file, to_input_size
from converter.network import INPUT_PX
from converter.recrop import Recropped, recrop
from edge_fer.classify import calibrated
from edge_fer.errors import UnavailableError

if TYPE_CHECKING:
    from converter.data import LabelledSet
    from edge_fer.card import ModelCard, OperatingPoint
    from edge_fer.tflite import Graph

Images = npt.NDArray[np.uint8]
Perturbation = Callable[[Images, np.random.Generator], Images]
Reader = Callable[[Images], npt.NDArray[np.floating[Any]]]

COVER_GREY = 128
"""Grey level of what hides a part of the face."""

STRIP_PX = INPUT_PX // 4
RECROPPED = "recropped"


def _shift(right_px: int, down_px: int) -> Perturbation:
    """The face moves, border pixels are replicated."""

    def shift(image: Images, _rng: np.random.Generator) -> Images:
        rows, columns = (np.arange(side) for side in image.shape)
        rows = np.clip(rows - down_px, 0, len(rows) - 1)
        columns = np.clip(columns - right_px, 0, len(columns) - 1)
        return np.asarray(image[np.ix_(rows, columns)], np.uint8)

    return shift


def _turn(angle_deg: float, zoom: float) -> Perturbation:
    """Rotate counter-clockwise as seen and enlarge, both about the centre; border pixels are replicated."""

    def turn(image: Images, _rng: np.random.Generator) -> Images:
        size = image.shape[0]
        centre = (size - 1) / 2
        matrix = cv2.getRotationMatrix2D((centre, centre), angle_deg, zoom)
        turned = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(turned, np.uint8)

    return turn


def _blur(sigma_px: float) -> Perturbation:
    return lambda image, _rng: np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), np.uint8)


def _downscale(side_px: int) -> Perturbation:
    """As a small face is: area filter down, linear up."""

    def downscale(image: Images, _rng: np.random.Generator) -> Images:
        small = cv2.resize(image, (side_px, side_px), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, image.shape[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)

    return downscale


def _gamma(exponent: float) -> Perturbation:
    """Under 1 brighter, over 1 darker."""
    table = np.rint(np.linspace(0, 1, 256) ** exponent * 255).astype(np.uint8)
    return lambda image, _rng: table[image]


def _compress(quality: int) -> Perturbation:
    return lambda image, _rng: jpeg(image, quality)


def _noise(sigma_levels: float) -> Perturbation:
    def noise(image: Images, rng: np.random.Generator) -> Images:
        return np.clip(np.rint(image + rng.normal(0, sigma_levels, image.shape)), 0, 255).astype(np.uint8)

    return noise


def _cover(rows: slice, columns: slice) -> Perturbation:
    def cover(image: Images, _rng: np.random.Generator) -> Images:
        covered = image.copy()
        covered[rows, columns] = COVER_GREY
        return covered

    return cover


_WHOLE = slice(None)

PERTURBATIONS: Mapping[str, Perturbation] = MappingProxyType(
    {
        "shift_left": _shift(-3, 0),
        "shift_right": _shift(3, 0),
        "shift_up": _shift(0, -3),
        "shift_down": _shift(0, 3),
        "scale_0.85": _turn(0, 0.85),
        "scale_1.2": _turn(0, 1.2),
        "rotation_+15": _turn(15, 1),
        "rotation_-15": _turn(-15, 1),
        "blur_1": _blur(1.0),
        "downscale_24": _downscale(24),
        "gamma_0.5": _gamma(0.5),
        "gamma_2": _gamma(2),
        "jpeg_30": _compress(30),
        "noise_10": _noise(10),
        "strip_left": _cover(_WHOLE, slice(None, STRIP_PX)),
        "strip_right": _cover(_WHOLE, slice(-STRIP_PX, None)),
        "strip_upper": _cover(slice(None, STRIP_PX), _WHOLE),
        "strip_lower": _cover(slice(-STRIP_PX, None), _WHOLE),
        "half_occlusion": _cover(slice(INPUT_PX // 2, None), _WHOLE),
    }
)
"""Name -> change of one grey face (48, 48); a copy comes back, and only noise draws from the generator.

Shifts in px, blur as sigma in px, rotation in degrees counter-clockwise, noise as sigma in grey levels. A strip hides a
quarter of the face at one border, half_occlusion its whole lower half.
"""

KINDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "shift": ("shift_left", "shift_right", "shift_up", "shift_down"),
        "scale": ("scale_0.85", "scale_1.2"),
        "rotation": ("rotation_+15", "rotation_-15"),
        "blur": ("blur_1",),
        "downscale": ("downscale_24",),
        "gamma": ("gamma_0.5", "gamma_2"),
        "jpeg": ("jpeg_30",),
        "noise": ("noise_10",),
        "occlusion": ("strip_left", "strip_right", "strip_upper", "strip_lower", "half_occlusion"),
        RECROPPED: (RECROPPED,),
    }
)
"""Each kind counts once in the mean, however many entries it has."""


def perturb(images: Images, name: str, seed: int) -> Images:
    """Every face (N, 48, 48) changed; what is drawn depends on the seed and the face's place in the set."""
    change = PERTURBATIONS[name]
    return np.stack([change(image, np.random.default_rng((seed, index))) for index, image in enumerate(images)])


def robust_report(
    read: Reader,
    images: Images,
    labels: npt.NDArray[np.int64],
    seed: int = 0,
    reframe: Callable[[Images, int], Recropped] = recrop,
) -> dict[str, Any]:
    """What `read` (faces -> probabilities (N, classes)) loses on faces (N, 48, 48) with one expression each.

    `clean` and each of `perturbations` have accuracy and macro_recall; `loss_points` is the accuracy lost against the
    same faces unchanged, in points of a hundred (negative: gained). `kinds` is the mean loss of each kind,
    `mean_loss_points` the mean over kinds. `recropped` is the face as the daemon cuts it out: it counts only the faces
    that `reframe` found, `found` is their share; where it found none its figures are None and the kind does not count.

    UnavailableError where there is no face or a face is no 48 x 48 grey image; ModelError without a detector.
    """
    if images.shape != (len(labels), INPUT_PX, INPUT_PX) or images.dtype != np.uint8 or not len(labels):
        raise UnavailableError(
            f"faces to perturb are {images.dtype} {images.shape} with {len(labels)} labels, "
            f"but must be uint8 (N, {INPUT_PX}, {INPUT_PX}) with a label each, at least one"
        )
    clean = read(images)
    entries = {name: _entry(read(perturb(images, name, seed)), clean, labels) for name in PERTURBATIONS}
    entries[RECROPPED] = _recropped_entry(read, reframe(images, seed), clean, labels)
    losses = {kind: [entries[name]["loss_points"] for name in names] for kind, names in KINDS.items()}
    kinds = {kind: float(np.mean(values)) for kind, values in losses.items() if None not in values}
    return {
        "n": len(labels),
        "seed": seed,
        "clean": main_figures(clean, labels),
        "perturbations": entries,
        "kinds": {kind: round(loss, DECIMALS) for kind, loss in kinds.items()},
        "mean_loss_points": round(float(np.mean(list(kinds.values()))), DECIMALS),
    }


def robust_file(
    graph: Graph, card: ModelCard, point: OperatingPoint, faces: LabelledSet, source: str
) -> dict[str, Any]:
    """`robust_report` of a model file at an operating point, on the clear faces of a set; `source` names the set."""

    def read(images: Images) -> npt.NDArray[np.floating[Any]]:
        return calibrated(infer_file(graph, card, images, source), card.output, point)

    sure = faces.majority
    return robust_report(read, to_input_size(faces.images[sure], source), faces.labels[sure])


def _recropped_entry(
    read: Reader, crops: Recropped, clean: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.int64]
) -> dict[str, Any]:
    found = crops.found
    share = {"found": round(float(found.mean()), DECIMALS), "n": int(found.sum())}
    if not found.any():
        return {"accuracy": None, "macro_recall": None, "loss_points": None, **share}
    return {**_entry(read(crops.images[found]), clean[found], labels[found]), **share}


def _entry(
    probabilities: npt.NDArray[np.floating[Any]],
    clean: npt.NDArray[np.floating[Any]],
    labels: npt.NDArray[np.int64],
) -> dict[str, Any]:
    lost = (clean.argmax(axis=1) == labels).mean() - (probabilities.argmax(axis=1) == labels).mean()
    return {**main_figures(probabilities, labels), "loss_points": round(100 * float(lost), DECIMALS)}

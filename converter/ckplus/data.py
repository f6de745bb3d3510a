"""CK+ from a licensed copy: labelled face crops, and folds that keep its subjects apart.

Source: Lucey et al., "The Extended Cohn-Kanade Dataset (CK+)", CVPR Workshops 2010, doi 10.1109/CVPRW.2010.5543262. The
usual protocol takes the last three frames of each labelled sequence and has no neutral class.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from converter.apart import run_apart
from converter.inference import to_input_size
from converter.network import INPUT_PX
from edge_fer.align import crop_face
from edge_fer.detect import FaceDetector
from edge_fer.errors import EdgeFerError, UnavailableError, UsageError
from edge_fer.labels import EXPRESSIONS

IMAGES, LABELS = "cohn-kanade-images", "Emotion"
"""Folders of the original tree."""

LABEL_NAMES = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
"""Expression of each number in a label file."""

CLASS_FOLDERS = {name: name for name in LABEL_NAMES} | {"angry": "anger", "happy": "happiness", "sad": "sadness"}
"""Folder name in lower case -> expression."""

FRAMES_PER_SEQUENCE = 3

CROPPED_BELOW_PX = 100
"""A square image with a smaller side is a face crop already; the original frames are 640 px wide."""

PUBLISHED = {"subjects": 118, "sequences": 327, "images": 981}
PUBLISHED_IMAGES = dict(zip(LABEL_NAMES[1:], (135, 54, 177, 75, 207, 84, 249), strict=True))

FRAME_NAME = re.compile(r"(S\d+)_(\d+)_(\d+)\.png", re.IGNORECASE)
SYSTEM_FILES = {"thumbs.db", "desktop.ini"}

UNREADABLE, NO_FACE, CUT_OUT = range(3)
"""What became of an image in the child process."""


@dataclass(frozen=True, slots=True)
class CkFrame:
    """One labelled image file."""

    file: Path
    subject: str  # S005
    sequence: str  # S005_001
    label: int  # index in EXPRESSIONS


@dataclass(frozen=True, slots=True)
class CkPlus:
    """The labelled images as the network sees them."""

    images: npt.NDArray[np.uint8]  # (N, 48, 48)
    frames: tuple[CkFrame, ...]  # (N,)
    without_face: tuple[CkFrame, ...]  # left out of the above

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Index in EXPRESSIONS of each image, (N,)."""
        return np.array([frame.label for frame in self.frames], np.int64)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Who is on each image, (N,)."""
        return tuple(frame.subject for frame in self.frames)

    @property
    def sha256(self) -> str:
        """Of everything that a training sees: pixels, labels, subjects and their order."""
        what = json.dumps([(frame.file.name, frame.subject, frame.label) for frame in self.frames])
        return hashlib.sha256(what.encode() + self.images.tobytes()).hexdigest()


def load_ckplus(folder: Path) -> CkPlus:
    """Find the labelled images of either layout and cut out their faces as the daemon does.

    UnavailableError names what is missing, damaged or not understood; ModelError where the detector's file is missing.
    """
    frames = find_frames(folder)
    crops, states = _cut_out(frames, folder)
    if damaged := [frame.file for frame, state in zip(frames, states, strict=True) if state == UNREADABLE]:
        raise UnavailableError(f"{damaged[0]}: not a readable png image ({len(damaged)} of {len(frames)} are not)")
    kept = tuple(frame for frame, state in zip(frames, states, strict=True) if state == CUT_OUT)
    if not kept:
        raise UnavailableError(f"{folder}: no face was found on any of its {len(frames)} images")
    without_face = tuple(frame for frame, state in zip(frames, states, strict=True) if state == NO_FACE)
    return CkPlus(crops[states == CUT_OUT], kept, without_face)


def find_frames(folder: Path) -> list[CkFrame]:
    """The labelled image files, sorted by name: of folders by class, or of the original tree.

    In folders by class every file counts; in the original tree the last three of each labelled sequence.
    """
    if not folder.is_dir():
        raise UnavailableError(f"{folder}: no such folder; --data must hold CK+: {_layouts()}")
    original = (folder / IMAGES).is_dir() or (folder / LABELS).is_dir()
    frames = _original_tree(folder) if original else _class_folders(folder)
    if not frames:
        raise UnavailableError(f"{folder}: no labelled image in it; it must hold CK+: {_layouts()}")
    return sorted(frames, key=lambda frame: frame.file.name)


def counts(frames: tuple[CkFrame, ...] | list[CkFrame]) -> dict[str, int]:
    """How many subjects, sequences, images, and images of each expression that occurs."""
    images = Counter(EXPRESSIONS[frame.label] for frame in frames)
    return {
        "subjects": len({frame.subject for frame in frames}),
        "sequences": len({frame.sequence for frame in frames}),
        "images": len(frames),
        **{name: images[name] for name in EXPRESSIONS if images[name]},
    }


def differences(frames: tuple[CkFrame, ...] | list[CkFrame]) -> list[str]:
    """Where the counts differ from the published protocol's, for people; empty where they do not."""
    found, published = counts(frames), PUBLISHED | PUBLISHED_IMAGES
    names = [*published, *(found.keys() - published.keys())]
    return [
        f"{found.get(name, 0)} {name} (published: {published.get(name, 0)})"
        for name in names
        if found.get(name, 0) != published.get(name, 0)
    ]


def assign_folds(
    subjects: Sequence[str], labels: npt.NDArray[np.int64], folds: int, seed: int
) -> npt.NDArray[np.int64]:
    """The fold 0..folds-1 of each image, (N,); all images of a subject are in one, and no fold is empty.

    Subjects with many images first, each goes where its expressions and images are rarest. UsageError names both
    numbers where there are fewer subjects than folds.
    """
    names, rows = np.unique(np.array(subjects), return_inverse=True)
    if len(names) < folds:
        raise UsageError(f"{len(names)} subjects cannot be put into {folds} folds; --folds may be {len(names)} at most")
    table = np.zeros((len(names), len(EXPRESSIONS) + 1))
    np.add.at(table, (rows, labels), 1)
    table[:, -1] = table.sum(axis=1)
    shuffled = np.random.default_rng(seed).permutation(len(names))
    order = shuffled[np.argsort(-table[shuffled, -1], kind="stable")]
    # As shares of what there is in all, so that a rare expression counts as much as a frequent one.
    shares = table / np.maximum(table.sum(axis=0), 1)
    filled = np.zeros((folds, table.shape[1]))
    of_subject = np.zeros(len(names), np.int64)
    for subject in order:
        # The change of the sum of squares, but for a constant: the least of it keeps the folds alike. Empty folds have
        # none, so they are filled first.
        fold = int((filled @ shares[subject]).argmin())
        of_subject[subject] = fold
        filled[fold] += table[subject]
    return np.asarray(of_subject[rows], np.int64)


def _layouts() -> str:
    return f"folders {', '.join(LABEL_NAMES[1:])} with Sxxx_yyy_nnnnnnnn.png, or {IMAGES}/ and {LABELS}/"


def _class_folders(folder: Path) -> list[CkFrame]:
    frames: dict[str, CkFrame] = {}
    for inner in _visible(folder):
        if not inner.is_dir():
            continue
        if inner.name.lower() not in CLASS_FOLDERS:
            raise UnavailableError(f"{inner}: not the name of a class; {folder} must hold {_layouts()}")
        for file in _visible(inner):
            frame = _frame(file, CLASS_FOLDERS[inner.name.lower()])
            # The same image under two classes has no right answer; twice under one class it would count twice.
            if (twin := frames.setdefault(file.stem.upper(), frame)) is not frame:
                raise UnavailableError(f"{file}: is there already as {twin.file}; each image must be in one folder")
    return list(frames.values())


def _original_tree(folder: Path) -> list[CkFrame]:
    for part in (IMAGES, LABELS):
        if not (folder / part).is_dir():
            raise UnavailableError(f"{folder / part}: no such folder; the original tree has {IMAGES}/ and {LABELS}/")
    frames = []
    for sequence in sorted(path for path in (folder / LABELS).glob("S*/*") if path.is_dir()):
        files = [file for file in _visible(sequence) if file.name.endswith("_emotion.txt")]
        if not files:
            continue  # most sequences have no label: they fit no expression
        if len(files) > 1:
            raise UnavailableError(f"{sequence}: {len(files)} label files, but a sequence has at most one")
        expression = _read_label(files[0])
        images = folder / IMAGES / sequence.parent.name / sequence.name
        found = [file for file in _visible(images) if file.suffix.lower() == ".png"] if images.is_dir() else []
        if not found:
            raise UnavailableError(f"{images}: no png image, but {files[0]} labels this sequence")
        frames += [_frame(file, expression) for file in found[-FRAMES_PER_SEQUENCE:]]
    return frames


def _read_label(file: Path) -> str:
    """The expression in a label file, which holds one number such as `   3.0000000e+00`."""
    try:
        text = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as err:
        raise UnavailableError(f"{file}: not a readable label file ({err})") from err
    try:
        number = float(text)
    except ValueError:
        number = -1
    if number not in range(len(LABEL_NAMES)):
        raise UnavailableError(f"{file}: holds {text[:40]!r}, but a label is a whole number from 0 to 7")
    return LABEL_NAMES[int(number)]


def _visible(folder: Path) -> list[Path]:
    """What is in a folder, sorted, without what file managers leave there."""
    return [path for path in sorted(folder.iterdir()) if path.name[0] != "." and path.name.lower() not in SYSTEM_FILES]


def _frame(file: Path, expression: str) -> CkFrame:
    match = FRAME_NAME.fullmatch(file.name)
    if not match:
        raise UnavailableError(
            f"{file}: must be named as Sxxx_yyy_nnnnnnnn.png; without its subject it cannot be put into a fold"
        )
    subject, sequence = match[1].upper(), match[2]
    return CkFrame(file, subject, f"{subject}_{sequence}", EXPRESSIONS.index(expression))


def _cut_out(frames: list[CkFrame], folder: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Crops (N, 48, 48) and what became of each image (N,), from a child process: the detector needs its own."""
    with tempfile.TemporaryDirectory(prefix="edge-fer-") as temporary:
        files, out = Path(temporary, "files.json"), Path(temporary, "out.npz")
        files.write_text(json.dumps([str(frame.file.absolute()) for frame in frames]), encoding="utf-8")
        run_apart("converter.ckplus.data", str(files), str(out), failed=f"cannot find faces in {folder}")
        with np.load(out) as stored:
            return stored["crops"], stored["states"]


def _child(files: str, out: str) -> None:
    paths = json.loads(Path(files).read_text(encoding="utf-8"))
    crops = np.zeros((len(paths), INPUT_PX, INPUT_PX), np.uint8)
    states = np.zeros(len(paths), np.uint8)
    detector = None
    for index, path in enumerate(paths):
        bgr = cv2.imread(path, cv2.IMREAD_COLOR)
        if bgr is None:
            states[index] = UNREADABLE
            continue
        height, width = bgr.shape[:2]
        if height == width < CROPPED_BELOW_PX:
            crops[index] = to_input_size(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)[None], path)[0]
            states[index] = CUT_OUT
            continue
        detector = detector or FaceDetector()  # a copy of crops needs no detector's file
        faces = detector.detect(np.asarray(bgr, np.uint8))
        states[index] = CUT_OUT if faces else NO_FACE
        if faces:
            crops[index] = crop_face(np.asarray(bgr, np.uint8), faces[0], INPUT_PX)
    np.savez(out, crops=crops, states=states)


if __name__ == "__main__":
    try:
        _child(*sys.argv[1:])
    except EdgeFerError as err:
        sys.exit(str(err))

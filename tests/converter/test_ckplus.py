import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.ckplus.data import (
    LABEL_NAMES,
    PUBLISHED_IMAGES,
    CkFrame,
    assign_folds,
    counts,
    differences,
    find_frames,
    load_ckplus,
)
from edge_fer.capture.open import SAMPLE_CLIP
from edge_fer.card import MODELS
from edge_fer.detect import BLAZEFACE
from edge_fer.errors import UnavailableError, UsageError
from edge_fer.labels import EXPRESSIONS

CHECKOUT = Path(__file__).parents[2]

needs_detector = pytest.mark.skipif(
    not (MODELS / BLAZEFACE["full"].file).exists() or not SAMPLE_CLIP.exists(),
    reason="the detector's file or the sample clip is missing: run `make models`",
)


def write_image(path: Path, size: tuple[int, int] = (48, 48)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, size, np.uint8))
    return path


def write_label(folder: Path, sequence: str, text: str, frame: int = 5) -> Path:
    subject, number = sequence.split("_")
    path = folder / "Emotion" / subject / number / f"{sequence}_{frame:08d}_emotion.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def write_sequence(folder: Path, sequence: str, frames: int, label: str | None) -> None:
    """A sequence of the original tree; as there, one without a label has an empty folder for it."""
    for frame in range(1, frames + 1):
        write_image(folder / "cohn-kanade-images" / Path(*sequence.split("_")) / f"{sequence}_{frame:08d}.png")
    if label is None:
        (folder / "Emotion" / Path(*sequence.split("_"))).mkdir(parents=True)
    else:
        write_label(folder, sequence, label, frames)


def test_every_png_of_a_class_folder_counts_whatever_the_folder_s_spelling(tmp_path: Path) -> None:
    folders = {"Angry": "anger", "contempt": "contempt", "HAPPY": "happiness", "sad": "sadness", "Surprise": "surprise"}
    for number, folder in enumerate(folders):
        for frame in (9, 10, 11, 12):
            write_image(tmp_path / folder / f"S{number:03d}_001_{frame:08d}.png")
    write_image(tmp_path / "Angry" / ".S000_001_00000009.png")
    (tmp_path / "Angry" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "readme.txt").write_text("not a folder")
    frames = find_frames(tmp_path)
    assert len(frames) == 20
    assert {frame.subject: EXPRESSIONS[frame.label] for frame in frames} == {
        f"S{number:03d}": expression for number, expression in enumerate(folders.values())
    }
    assert {frame.sequence for frame in frames} == {f"S{number:03d}_001" for number in range(5)}


def test_of_the_original_tree_the_last_three_frames_of_labelled_sequences_count(tmp_path: Path) -> None:
    write_sequence(tmp_path, "S005_001", 11, "   3.0000000e+00\n")
    write_sequence(tmp_path, "S005_002", 4, None)
    write_sequence(tmp_path, "S010_006", 3, "   7.0000000e+00\n")
    (tmp_path / "cohn-kanade-images" / "S005" / "001" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "Emotion" / ".DS_Store").write_bytes(b"x")
    frames = find_frames(tmp_path)
    assert [(frame.file.name, frame.subject, EXPRESSIONS[frame.label]) for frame in frames] == [
        ("S005_001_00000009.png", "S005", "disgust"),
        ("S005_001_00000010.png", "S005", "disgust"),
        ("S005_001_00000011.png", "S005", "disgust"),
        ("S010_006_00000001.png", "S010", "surprise"),
        ("S010_006_00000002.png", "S010", "surprise"),
        ("S010_006_00000003.png", "S010", "surprise"),
    ]
    assert counts(frames) == {"subjects": 2, "sequences": 2, "images": 6, "surprise": 3, "disgust": 3}


def test_the_label_numbers_are_those_of_the_data_set_s_own_readme(tmp_path: Path) -> None:
    names = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
    for number in range(8):
        write_sequence(tmp_path, f"S{number:03d}_001", 1, f"   {number}.0000000e+00")
    assert tuple(EXPRESSIONS[frame.label] for frame in find_frames(tmp_path)) == names


def published_set() -> list[CkFrame]:
    """As many images, sequences and subjects as published; who shows what is made up."""
    names = [name for name, images in PUBLISHED_IMAGES.items() for _ in range(images // 3)]
    frames = []
    for number, name in enumerate(names):
        subject, sequence = f"S{number % 118:03d}", f"S{number % 118:03d}_{number // 118:03d}"
        frames += [
            CkFrame(Path(f"{sequence}_{frame:08d}.png"), subject, sequence, EXPRESSIONS.index(name))
            for frame in range(3)
        ]
    return frames


def test_the_published_set_differs_nowhere_and_another_is_told_by_its_counts() -> None:
    frames = published_set()
    assert counts(frames)["images"] == 981
    assert differences(frames) == []
    neutral = CkFrame(Path("S999_001_00000001.png"), "S999", "S999_001", EXPRESSIONS.index("neutral"))
    assert differences([*frames[1:], neutral]) == [
        "119 subjects (published: 118)",
        "328 sequences (published: 327)",
        "134 anger (published: 135)",
        "1 neutral (published: 0)",
    ]


def test_what_is_a_crop_already_is_only_resized(tmp_path: Path) -> None:
    exact = write_image(tmp_path / "anger" / "S001_001_00000001.png")
    larger = write_image(tmp_path / "fear" / "S002_001_00000001.png", (96, 96))
    faces = load_ckplus(tmp_path)
    assert np.array_equal(faces.images[0], cv2.imread(str(exact), cv2.IMREAD_GRAYSCALE))
    grey = cv2.imread(str(larger), cv2.IMREAD_GRAYSCALE).astype(float)
    assert np.abs(faces.images[1] - grey.reshape(48, 2, 48, 2).mean(axis=(1, 3))).max() <= 0.5  # rounding
    assert [EXPRESSIONS[label] for label in faces.labels] == ["anger", "fear"]
    assert faces.subjects == ("S001", "S002")
    assert faces.without_face == ()


@needs_detector
def test_a_face_is_cut_out_as_the_daemon_does_and_an_image_without_one_is_left_out(tmp_path: Path) -> None:
    clip = cv2.VideoCapture(str(SAMPLE_CLIP))
    _, bgr = clip.read()
    face = tmp_path / "data" / "happy" / "S001_001_00000001.png"
    face.parent.mkdir(parents=True)
    cv2.imwrite(str(face), bgr)
    write_image(tmp_path / "data" / "sad" / "S002_001_00000001.png", (490, 640))
    write_image(tmp_path / "data" / "sad" / "S002_001_00000002.png")
    faces = load_ckplus(tmp_path / "data")
    assert [frame.file.name for frame in faces.without_face] == ["S002_001_00000001.png"]
    assert [frame.file.name for frame in faces.frames] == ["S001_001_00000001.png", "S002_001_00000002.png"]
    code = (
        "import sys, cv2, numpy as np; from edge_fer.detect import FaceDetector; from edge_fer.align import crop_face\n"
        "bgr = cv2.imread(sys.argv[1]); np.save(sys.argv[2], crop_face(bgr, FaceDetector().detect(bgr)[0]))"
    )
    # Apart: this process may hold TensorFlow, which breaks the detector's interpreter.
    subprocess.run([sys.executable, "-c", code, str(face), str(tmp_path / "crop.npy")], check=True, cwd=CHECKOUT)
    assert np.array_equal(faces.images[0], np.load(tmp_path / "crop.npy"))


@needs_detector
def test_no_face_at_all_is_an_error(tmp_path: Path) -> None:
    write_image(tmp_path / "sad" / "S002_001_00000001.png", (300, 200))
    with pytest.raises(UnavailableError, match="no face was found on any of its 1 images"):
        load_ckplus(tmp_path)


def test_paths_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "data" / "fear" / "S002_001_00000001.png")
    monkeypatch.chdir(tmp_path)
    assert len(load_ckplus(Path("data")).images) == 1


@pytest.mark.parametrize("damage", ["empty", "cut", "text"])
def test_a_damaged_image_is_named(tmp_path: Path, damage: str) -> None:
    write_image(tmp_path / "fear" / "S001_001_00000001.png")
    file = write_image(tmp_path / "fear" / "S002_001_00000001.png")
    whole = file.read_bytes()
    file.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "text": b"<html>not found</html>"}[damage])
    with pytest.raises(UnavailableError, match=re.escape(f"{file}: not a readable png image (1 of 2 are not)")):
        load_ckplus(tmp_path)


def test_a_missing_or_empty_folder_is_told_with_what_must_be_in_it(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"none: no such folder; --data must hold CK\+: folders anger, "):
        find_frames(tmp_path / "none")
    with pytest.raises(UnavailableError, match="no labelled image in it"):
        find_frames(tmp_path)
    (tmp_path / "anger").mkdir()
    with pytest.raises(UnavailableError, match="no labelled image in it"):
        find_frames(tmp_path)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("joy/S001_001_00000001.png", "joy: not the name of a class"),
        ("anger/face1.png", r"face1\.png: must be named as Sxxx_yyy_nnnnnnnn\.png; without its subject"),
        ("anger/S001_001_00000001.jpg", "must be named as"),
        ("angry/S002_001_00000001.png", "is there already as .*anger.S002_001_00000001.png"),
    ],
)
def test_what_a_class_folder_must_not_hold_is_named(tmp_path: Path, file: str, message: str) -> None:
    write_image(tmp_path / "anger" / "S002_001_00000001.png")
    write_image(tmp_path / file)
    with pytest.raises(UnavailableError, match=message):
        find_frames(tmp_path)


@pytest.mark.parametrize("text", ["8.0000000e+00", "-1", "2.5", "", "happy", "nan", "1 2"])
def test_a_label_out_of_range_is_named(tmp_path: Path, text: str) -> None:
    write_sequence(tmp_path, "S001_001", 3, text)
    with pytest.raises(UnavailableError, match=r"_emotion\.txt: holds .*, but a label is a whole number from 0 to 7"):
        find_frames(tmp_path)


def test_an_incomplete_original_tree_is_named(tmp_path: Path) -> None:
    label = write_label(tmp_path, "S001_001", "1.0")
    with pytest.raises(UnavailableError, match="cohn-kanade-images: no such folder"):
        find_frames(tmp_path)
    write_image(tmp_path / "cohn-kanade-images" / "S002" / "001" / "S002_001_00000001.png")
    with pytest.raises(UnavailableError, match=r"001: no png image, but .* labels this sequence"):
        find_frames(tmp_path)
    write_image(tmp_path / "cohn-kanade-images" / "S001" / "001" / "S001_001_00000001.png")
    assert len(find_frames(tmp_path)) == 1
    label.with_name("S001_001_00000009_emotion.txt").write_text("2.0")
    with pytest.raises(UnavailableError, match="2 label files, but a sequence has at most one"):
        find_frames(tmp_path)
    label.with_name("S001_001_00000009_emotion.txt").unlink()
    label.write_bytes(b"\xff\xfe")
    with pytest.raises(UnavailableError, match="not a readable label file"):
        find_frames(tmp_path)


def test_labels_are_not_guessed_where_their_folder_is_missing(tmp_path: Path) -> None:
    write_image(tmp_path / "cohn-kanade-images" / "S002" / "001" / "S002_001_00000001.png")
    with pytest.raises(UnavailableError, match="Emotion: no such folder"):
        find_frames(tmp_path)


@given(
    images=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 7)), min_size=1, max_size=150),
    folds=st.integers(2, 10),
    seed=st.integers(0, 3),
)
def test_no_subject_is_in_two_folds_and_every_image_is_in_one(
    images: list[tuple[int, int]], folds: int, seed: int
) -> None:
    subjects = [f"S{number:03d}" for number, _ in images]
    labels = np.array([label for _, label in images])
    people = len(set(subjects))
    if people < folds:
        with pytest.raises(UsageError, match=f"{people} subjects cannot be put into {folds} folds"):
            assign_folds(subjects, labels, folds, seed)
        return
    assigned = assign_folds(subjects, labels, folds, seed)
    assert assigned.shape == (len(images),)
    assert set(assigned) == set(range(folds))  # none is empty, no other number
    assert len(set(zip(subjects, assigned, strict=True))) == people
    assert np.array_equal(assigned, assign_folds(subjects, labels, folds, seed))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_folds_of_the_published_size_are_alike_in_images_and_expressions(seed: int) -> None:
    frames = published_set()
    labels = np.array([frame.label for frame in frames])
    assigned = assign_folds([frame.subject for frame in frames], labels, 10, seed)
    sizes = np.bincount(assigned)
    # A subject has 6 or 9 images: no fold can be nearer to 98.1 than half of that, and a greedy one need not be.
    assert np.abs(sizes - 98.1).max() <= 9
    for name in LABEL_NAMES[1:]:
        share = np.bincount(assigned[labels == EXPRESSIONS.index(name)], minlength=10)
        assert share.min() >= 3, name  # every expression is in every fold
        assert np.ptp(share) <= 12, name  # four sequences


def test_another_seed_gives_other_folds() -> None:
    frames = published_set()
    labels, subjects = np.array([frame.label for frame in frames]), [frame.subject for frame in frames]
    assert not np.array_equal(assign_folds(subjects, labels, 10, 0), assign_folds(subjects, labels, 10, 1))


def test_reading_the_data_needs_no_tensorflow() -> None:
    code = "import sys, converter.ckplus.data; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=CHECKOUT).returncode == os.EX_OK

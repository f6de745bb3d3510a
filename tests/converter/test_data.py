from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from converter.data import load_labelled, load_training, log_prior
from edge_fer.errors import UnavailableError
from edge_fer.labels import EXPRESSIONS

#         neutral happy surprise sad anger disgust fear contempt unknown no-face
VOTES = [
    *([8, 1, 0, 0, 1, 0, 0, 0, 0, 0],),  # two single votes are dropped: all neutral
    *([4, 0, 0, 6, 0, 0, 0, 0, 0, 0],),  # 0.4 neutral, 0.6 sadness
    *([2, 2, 0, 0, 0, 0, 0, 0, 6, 0],),  # majority unknown: dropped
    *([0, 0, 0, 0, 0, 0, 0, 0, 1, 9],),  # no face: dropped
    *([1, 1, 1, 1, 1, 1, 1, 1, 1, 1],),  # only single votes: dropped from training
    *([0, 5, 5, 0, 0, 0, 0, 0, 0, 0],),  # two expressions with five each: not a majority
]
FER2013 = [6, 4, 3, 255, 0, 5]  # neutral, sad, happy, unknown, angry, surprise


def write(path: Path, **arrays: npt.ArrayLike) -> Path:
    np.savez(path, **{name: np.asarray(array) for name, array in arrays.items()})
    return path


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    images = np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((6, 48, 48), np.uint8)
    return write(
        tmp_path / "faces.npz",
        images=images,
        votes=np.array(VOTES, np.uint8),
        fer2013_label=np.array(FER2013, np.uint8),
    )


def test_votes_become_soft_labels(faces: Path) -> None:
    training = load_training(faces)
    assert training.images[:, 0, 0].tolist() == [0, 1, 5]
    assert training.targets.tolist() == pytest.approx(
        np.array([[1, 0, 0, 0, 0, 0, 0, 0], [0.4, 0, 0, 0.6, 0, 0, 0, 0], [0, 0.5, 0.5, 0, 0, 0, 0, 0]])
    )
    assert training.prior.tolist() == pytest.approx([1.4 / 3, 0.5 / 3, 0.5 / 3, 0.6 / 3, 0, 0, 0, 0])


def test_the_original_label_counts_where_an_annotator_agreed(faces: Path) -> None:
    training = load_training(faces, fer2013_votes=2)
    # Image 4 had only single votes; anger, its FER2013 label, has one of them and now two more. Its majority by
    # argmax is the first of the ties, neutral, so it stays.
    assert training.images[:, 0, 0].tolist() == [0, 1, 4, 5]
    assert training.targets[1].tolist() == pytest.approx([4 / 12, 0, 0, 8 / 12, 0, 0, 0, 0])
    assert training.targets[2].tolist() == [0, 0, 0, 0, 1, 0, 0, 0]
    assert training.targets[3].tolist() == pytest.approx([0, 5 / 12, 7 / 12, 0, 0, 0, 0, 0])


def test_an_expression_that_never_occurs_is_refused(faces: Path) -> None:
    with pytest.raises(UnavailableError, match=r"faces\.npz: no image shows 'anger'"):
        log_prior(load_training(faces), str(faces))


def test_labelled_set_of_votes(faces: Path) -> None:
    labelled = load_labelled(faces)
    assert labelled.images[:, 0, 0].tolist() == [0, 1, 4, 5]
    assert labelled.labels.tolist() == [0, 3, 0, 1]
    assert labelled.majority.tolist() == [True, True, False, False]


def test_labelled_set_of_names(tmp_path: Path) -> None:
    images = np.zeros((3, 64, 64), np.uint8)
    labelled = load_labelled(write(tmp_path / "named.npz", images=images, labels=["contempt", "neutral", "fear"]))
    assert labelled.labels.tolist() == [7, 0, 6]
    assert labelled.majority.all()


def damage(path: Path, kind: str) -> None:
    content = path.read_bytes()
    if kind == "missing":
        path.unlink()
    elif kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "flipped":
        middle = len(content) // 2
        path.write_bytes(
            content[:middle] + bytes(byte ^ 0xFF for byte in content[middle : middle + 64]) + content[middle + 64 :]
        )
    elif kind == "text":
        path.write_text("images,votes\n1,2\n")
    elif kind == "bare array":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif kind == "folder":
        path.unlink()
        path.mkdir()


@pytest.mark.parametrize("kind", ["missing", "truncated", "flipped", "text", "bare array", "folder"])
@pytest.mark.parametrize("load", [load_training, load_labelled])
def test_a_damaged_file_is_named(faces: Path, kind: str, load: object) -> None:
    rng = np.random.default_rng(0)
    np.savez_compressed(faces, images=rng.integers(0, 256, (6, 48, 48), np.uint8), votes=np.array(VOTES, np.uint8))
    damage(faces, kind)
    with pytest.raises(UnavailableError, match=r"faces\.npz: (no such file|not a readable npz file)"):
        load(faces)  # type: ignore[operator]


IMAGES = np.zeros((2, 48, 48), np.uint8)
TWO_VOTES = np.array(VOTES[:2], np.uint8)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"votes": TWO_VOTES}, "but no 'images'"),
        ({"images": IMAGES.astype(np.float32), "votes": TWO_VOTES}, "images are float32"),
        ({"images": IMAGES[0], "votes": TWO_VOTES}, r"images are uint8 \(48, 48\)"),
        ({"images": IMAGES, "votes": TWO_VOTES[:1]}, "2 images, but 1 votes"),
        ({"images": IMAGES, "votes": TWO_VOTES[:, :8]}, r"votes are uint8 \(2, 8\)"),
        ({"images": IMAGES, "votes": TWO_VOTES / 10}, "votes are float64"),
        ({"images": IMAGES, "labels": ["neutral"]}, "2 images, but 1 labels"),
        ({"images": IMAGES, "labels": ["neutral", "joy"]}, "label 'joy' is not one of neutral, happiness"),
        ({"images": IMAGES, "labels": 3}, r"labels have the shape \(\), but must have 1 axes"),
        ({"images": IMAGES, "labels": np.eye(2, 8, dtype=int)}, r"labels have the shape \(2, 8\)"),
        ({"images": IMAGES, "labels": [0, 8]}, "labels are 0 to 8, but must be 0 to 7"),
        ({"images": IMAGES}, "neither 'votes' nor 'labels'"),
    ],
)
def test_wrong_arrays_are_named(tmp_path: Path, arrays: dict[str, npt.ArrayLike], message: str) -> None:
    with pytest.raises(UnavailableError, match=rf"wrong\.npz.*{message}"):
        load_labelled(write(tmp_path / "wrong.npz", **arrays))


def test_the_order_of_expressions_is_that_of_the_votes() -> None:
    assert EXPRESSIONS == ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")


def test_training_needs_images_of_the_size_of_the_input(tmp_path: Path) -> None:
    small = write(tmp_path / "small.npz", images=np.zeros((2, 40, 40), np.uint8), votes=TWO_VOTES)
    with pytest.raises(UnavailableError, match=r"small\.npz: images are \(40, 40\), but training needs 48 x 48"):
        load_training(small)


def test_labels_may_be_names_or_places(tmp_path: Path) -> None:
    by_name = load_labelled(write(tmp_path / "names.npz", images=IMAGES, labels=["fear", "neutral"]))
    by_place = load_labelled(write(tmp_path / "places.npz", images=IMAGES, labels=np.array([6, 0])))
    assert by_name.labels.tolist() == by_place.labels.tolist() == [6, 0]
    assert by_name.majority.all()
    own = load_labelled(write(tmp_path / "own.npz", images=IMAGES, labels=["loud", "calm"]), ("calm", "loud"))
    assert own.labels.tolist() == [1, 0]


def test_votes_are_for_expressions_only(faces: Path) -> None:
    with pytest.raises(UnavailableError, match="no 'labels' out of calm, loud"):
        load_labelled(faces, ("calm", "loud"))

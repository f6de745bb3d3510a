import json
import math
import os
import statistics
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from drawn_shapes import draw

from converter.augment import Augmentation
from converter.ckplus.crossval import (
    Learner,
    Plan,
    Reading,
    cross_validate,
    learning_rate_share,
    run_folds,
    starting_point,
)
from converter.ckplus.data import CkFrame, CkPlus, assign_folds
from converter.ckplus.folds import FoldResult, figures, write_json
from converter.commands.crossval import _sum_lines, crossval
from converter.network import NETWORKS, build
from edge_fer.align import normalise
from edge_fer.errors import EdgeFerError, ModelError, UnavailableError, UsageError
from edge_fer.labels import EXPRESSIONS

SHAPES = {"anger": 2, "happiness": 6, "surprise": 1}
"""A disc, checks and a bar: none of them is another when it is mirrored or turned a little."""

EPOCHS = 20
"""Sixty steps a fold: the running means of the normalisations need them."""

GENTLE = Augmentation(
    rotation_rad=0.05, scale=1.05, shift_px=1, gamma=1.1, contrast=0.1, blur_probability=0, erase_probability=0
)


def ck_faces(images: list[np.ndarray], subjects: list[int], names: list[str]) -> CkPlus:
    """A set of images with the given people and expressions, each image a sequence of its own."""
    frames = tuple(
        CkFrame(
            Path(f"S{who:03d}_{row:03d}_00000001.png"), f"S{who:03d}", f"S{who:03d}_{row:03d}", EXPRESSIONS.index(n)
        )
        for row, (who, n) in enumerate(zip(subjects, names, strict=True))
    )
    return CkPlus(np.stack(images), frames, ())


def shape_faces(people: int = 8, each: int = 2) -> CkPlus:
    """Everybody shows all three expressions, which are drawn shapes."""
    rng = np.random.default_rng(3)
    rows = [(who, name) for who in range(people) for name in SHAPES for _ in range(each)]
    return ck_faces([draw(SHAPES[name], rng) for _, name in rows], [who for who, _ in rows], [name for _, name in rows])


def plan(**changed: Any) -> Plan:
    settings = {"network": "nano_b", "folds": 2, "batch_size": 6, "augment": GENTLE}
    start = starting_point("nano_b", None, EPOCHS, from_scratch=False) | {"learning_rate": 2e-3}
    return Plan(**settings | start | changed)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[CkPlus, Path, dict[str, Any]]:
    """Two folds, never interrupted, with their record."""
    out, faces = tmp_path_factory.mktemp("record") / "run", shape_faces(people=6)
    return faces, out, cross_validate(faces, plan(), out)


def test_shapes_that_anybody_can_tell_apart_are_learnt(finished: tuple[CkPlus, Path, dict[str, Any]]) -> None:
    _, _, result = finished
    # The shipped weights have seen faces only: what they read in shapes is nothing to build on.
    assert result["before"]["pooled"]["accuracy"] < 0.8
    assert result["result"]["pooled"]["accuracy"] > 0.95
    assert result["result"]["pooled"]["mean_recall"] > 0.95
    assert result["result"]["pooled"]["n"] == 36


class NearestNeighbour:
    """Reads as the most similar image of those it may learn from: it knows a person's mark again at once."""

    def __init__(self, faces: CkPlus) -> None:
        self.faces = faces
        self.vectors = faces.images[:, ::4, ::4].reshape(len(faces.images), -1).astype(float)

    def __call__(self, _fold: int, train: np.ndarray, held_out: np.ndarray) -> Reading:
        distances = ((self.vectors[held_out, None] - self.vectors[None, train]) ** 2).sum(axis=2)
        return Reading(self.faces.labels[train[distances.argmin(axis=1)]], None, 0.0)


def pooled_accuracy(results: list[FoldResult]) -> float:
    shown = [name for result in results for name in result.shown]
    read = [name for result in results for name in result.read]
    return float(figures(shown, read)["accuracy"])


def test_who_only_recognises_people_is_not_better_than_chance() -> None:
    # Each person has one expression, drawn by lot, and a mark (noise) that is on all of the person's images.
    rng = np.random.default_rng(5)
    people, each = 70, 6
    names = rng.choice(EXPRESSIONS[1:], people)
    marks = rng.integers(0, 256, (people, 48, 48))
    owners = np.repeat(np.arange(people), each)
    images = [np.clip(marks[who] + rng.normal(0, 20, (48, 48)), 0, 255).astype(np.uint8) for who in owners]
    faces = ck_faces(images, owners.tolist(), [str(names[who]) for who in owners])
    learn = NearestNeighbour(faces)
    apart = assign_folds(faces.subjects, faces.labels, 10, seed=0)
    # Chance is 1/7; the images of one person stand or fall together, so it is 70 draws: 1/7 + 3 standard deviations.
    chance = 1 / 7
    assert pooled_accuracy(run_folds(faces, apart, learn, [], lambda _: None)) < chance + 3 * math.sqrt(
        chance * (1 - chance) / people
    )
    # The same classifier on folds of single images, which is the mistake.
    leaky = rng.permutation(np.arange(len(images)) % 10)
    assert pooled_accuracy(run_folds(faces, leaky, learn, [], lambda _: None)) == 1


def test_the_start_reads_the_expressions_that_occur_as_the_whole_network_does(tmp_path: Path) -> None:
    import keras

    keras.utils.set_random_seed(11)
    whole = build(NETWORKS["nano_b"], len(EXPRESSIONS))
    whole.save(tmp_path / "whole.keras")
    faces = shape_faces(people=2)
    learner = Learner(faces, plan(weights=tmp_path / "whole.keras"))
    inputs = normalise(faces.images)[..., None]
    columns = [EXPRESSIONS.index(name) for name in ("happiness", "surprise", "anger")]
    right = whole.predict_on_batch(inputs)[:, columns]
    assert learner._reader.predict_on_batch(inputs) == pytest.approx(right, abs=1e-5)
    assert learner._before is not None
    assert learner._before.tolist() == [columns[best] for best in right.argmax(axis=1)]


def test_the_report_holds_everything_about_the_run(finished: tuple[CkPlus, Path, dict[str, Any]]) -> None:
    faces, _, result = finished
    assert json.loads(json.dumps(result)) == result
    assert result["settings"].keys() >= {"seed", "epochs", "weights_sha256", "data_sha256", "dtype", "versions"}
    assert len(result["settings"]["weights_sha256"]) == 64
    assert result["settings"]["versions"].keys() >= {"edge_fer", "keras", "tensorflow", "numpy"}
    assert result["data"]["found"]["subjects"] == 6
    assert "6 subjects (published: 118)" in result["data"]["differences"]
    assert sorted(who for fold in result["folds"] for who in fold["subjects"]) == sorted(set(faces.subjects))
    assert sorted(name for fold in result["folds"] for name in fold["images"]) == [f.file.name for f in faces.frames]
    accuracies = [fold["accuracy"] for fold in result["result"]["folds"]]
    assert result["result"]["accuracy_mean"] == pytest.approx(statistics.mean(accuracies))
    assert result["result"]["accuracy_std"] == pytest.approx(statistics.stdev(accuracies))
    right = sum(row[name] for name, row in result["result"]["pooled"]["confusion"].items())
    assert result["result"]["pooled"]["accuracy"] == right / len(faces.images)
    assert result["before"]["pooled"]["n"] == len(faces.images)


def test_an_interrupted_run_goes_on_after_its_last_whole_fold(
    finished: tuple[CkPlus, Path, dict[str, Any]], tmp_path: Path
) -> None:
    faces, out, whole = finished
    record = json.loads((out / "folds.json").read_text())
    kept = record["folds"].pop()
    record["folds"][0]["seconds"] = 12345.0  # so that a fold that is trained again would be seen
    write_json(tmp_path / "folds.json", record)
    resumed = cross_validate(faces, plan(), tmp_path)
    assert resumed["folds"][0]["seconds"] == 12345
    again = resumed["folds"][1]
    assert (again["subjects"], again["images"]) == (kept["subjects"], kept["images"])
    # Trained first in its process here and second there: each fold starts anew. The order of sums varies with threads,
    # which some hundred steps blow up to a percent of the loss; a fold that went on from the other had a fortieth.
    assert again["loss"] == pytest.approx(kept["loss"], rel=0.1)
    assert resumed["result"]["accuracy_mean"] == pytest.approx(whole["result"]["accuracy_mean"], abs=0.05)
    assert [path.name for path in tmp_path.iterdir()] == ["folds.json"]
    assert cross_validate(faces, plan(), tmp_path) == resumed  # nothing is left to do


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epochs": 2}, "holds folds of epochs 20, not 2; choose another --out or remove it"),
        ({"seed": 1}, "holds folds of seed 0, not 1"),
        ({"weights": None}, "holds folds of weights_sha256 .*, not None"),
    ],
)
def test_folds_of_other_settings_are_never_mixed(
    finished: tuple[CkPlus, Path, dict[str, Any]], changed: dict[str, Any], message: str
) -> None:
    faces, out, _ = finished
    with pytest.raises(UsageError, match=message):
        cross_validate(faces, plan(**changed), out)


def test_folds_of_other_data_are_never_mixed(finished: tuple[CkPlus, Path, dict[str, Any]]) -> None:
    faces, out, _ = finished
    with pytest.raises(UsageError, match="holds folds of data_sha256"):
        cross_validate(CkPlus(255 - faces.images, faces.frames, ()), plan(), out)


def test_folds_of_other_subjects_are_never_mixed(finished: tuple[CkPlus, Path, dict[str, Any]], tmp_path: Path) -> None:
    faces, out, _ = finished
    record = json.loads((out / "folds.json").read_text())
    write_json(tmp_path / "folds.json", record | {"folds": record["folds"][::-1]})
    with pytest.raises(UsageError, match="holds folds of other subjects"):
        cross_validate(faces, plan(), tmp_path)


@pytest.mark.parametrize("content", ["", "{", '{"settings": {}}', '{"settings": {}, "folds": [{"fold": 0}]}', "[]"])
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "folds.json").write_text(content)
    with pytest.raises(UnavailableError, match=r"folds\.json: not readable \(not what a cross-validation writes\)"):
        cross_validate(shape_faces(people=2), plan(), tmp_path)


def test_what_cannot_be_cross_validated_is_told(tmp_path: Path) -> None:
    faces = shape_faces(people=3)
    with pytest.raises(UsageError, match="3 subjects cannot be put into 10 folds; --folds may be 3 at most"):
        cross_validate(faces, plan(folds=10))
    with pytest.raises(UnavailableError, match="every image shows 'fear'; at least two expressions needed"):
        cross_validate(ck_faces([*faces.images[:4]], [0, 1, 2, 3], ["fear"] * 4), plan())
    with pytest.raises(UnavailableError, match=r"none\.keras: cannot read the weights to start from"):
        cross_validate(faces, plan(weights=tmp_path / "none.keras"))
    (tmp_path / "damaged.keras").write_bytes(b"x")
    with pytest.raises(UnavailableError, match=r"damaged\.keras: not a readable \.keras file"):
        cross_validate(faces, plan(weights=tmp_path / "damaged.keras"))
    with pytest.raises(ModelError, match="nano_b"):  # Nano-A is wider
        cross_validate(faces, plan(weights=Path("converter/weights/nano_a.keras").absolute()))
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="not readable"):
        cross_validate(faces, plan(), tmp_path / "file")


def test_figures_by_hand() -> None:
    # anger: 2 of 3; fear: 0 of 1; contempt is read once, but never shown.
    shown, read = ["anger", "anger", "anger", "fear"], ["anger", "anger", "contempt", "anger"]
    assert figures(shown, read) == {
        "accuracy": 0.5,
        "mean_recall": pytest.approx(1 / 3),
        "recall": {"anger": pytest.approx(2 / 3), "fear": 0},
        "n": 4,
        "confusion": {
            "anger": {"anger": 2, "fear": 0, "contempt": 1},
            "fear": {"anger": 1, "fear": 0, "contempt": 0},
            "contempt": {"anger": 0, "fear": 0, "contempt": 0},
        },
    }


def test_the_learning_rate_grows_and_falls_to_zero() -> None:
    shares = [learning_rate_share(step, 100, 10) for step in range(100)]
    assert shares[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert shares[9] == shares[10] == 1
    assert shares[55] == pytest.approx(0.5)  # half of the way down
    assert shares[99] == pytest.approx(0, abs=1e-3)
    assert learning_rate_share(0, 1, 1) == 1


def test_the_start_is_shipped_given_or_random() -> None:
    shipped = starting_point("nano_a", None, None, from_scratch=False)
    assert shipped["weights"].name == "nano_a.keras"
    assert shipped["weights"].is_file()
    assert shipped["epochs"] == 25
    assert starting_point("nano_b", Path("own.keras"), 3, from_scratch=False)["weights"] == Path("own.keras")
    random = starting_point("nano_b", None, None, from_scratch=True)
    assert (random["weights"], random["epochs"]) == (None, 100)
    with pytest.raises(UsageError, match=r"--from-scratch .* --weights from own\.keras; give one of them"):
        starting_point("nano_b", Path("own.keras"), None, from_scratch=True)


def write_tree(folder: Path) -> None:
    """Shapes as the original tree has them; the number of each label is that of the data set's own readme."""
    rng = np.random.default_rng(4)
    for who in range(4):
        for sequence, (number, name) in enumerate([(1, "anger"), (5, "happiness"), (7, "surprise")], 1):
            place, stem = Path(f"S{who:03d}", f"{sequence:03d}"), f"S{who:03d}_{sequence:03d}"
            for part in ("cohn-kanade-images", "Emotion"):
                (folder / part / place).mkdir(parents=True)
            for frame in range(1, 5):
                file = folder / "cohn-kanade-images" / place / f"{stem}_{frame:08d}.png"
                cv2.imwrite(str(file), draw(SHAPES[name], rng))
            (folder / "Emotion" / place / f"{stem}_00000004_emotion.txt").write_text(f"   {number}.0000000e+00\n")


def test_the_command_prints_what_it_found_and_how_well_it_was_read(tmp_path: Path) -> None:
    write_tree(tmp_path / "ck")
    data = ["--data", tmp_path / "ck", "--variant", "b", "--folds", 2, "--epochs", 1, "--json", tmp_path / "r.json"]
    arguments = [*data, "--from-scratch", "--dtype", "mixed_bfloat16"]
    done = CliRunner().invoke(crossval, [str(argument) for argument in arguments], catch_exceptions=False)
    lines = done.stdout.splitlines()
    assert done.exit_code == os.EX_OK
    assert lines[0] == "found: 4 subjects, 12 sequences, 36 images, 12 happiness, 12 surprise, 12 anger"
    assert lines[1].split() == ["fold", "subjects", "images", "accuracy", "mean", "recall"]
    assert [line.split()[:3] for line in lines[2:4]] == [["1", "2", "18"], ["2", "2", "18"]]
    assert "warning: not the published CK+ protocol: 4 subjects (published: 118), 12 sequences" in done.stderr
    result = json.loads((tmp_path / "r.json").read_text())
    pooled = result["result"]["pooled"]
    assert lines[5].startswith(f"after 1 epochs: accuracy {result['result']['accuracy_mean']:.4f} +- ")
    assert lines[5].endswith(f"; {pooled['accuracy']:.4f} of all 36 images, mean recall {pooled['mean_recall']:.4f}")
    assert lines[6] == ""  # random weights have nothing to read before
    anger = next(line.split() for line in lines if line.startswith("anger"))
    assert [int(count) for count in anger[1:-1]] == list(pooled["confusion"]["anger"].values())
    assert (result["settings"]["network"], result["settings"]["weights_sha256"]) == ("nano_b", None)
    assert (result["before"], [fold["read_before"] for fold in result["folds"]]) == (None, [None, None])
    import keras

    assert keras.config.dtype_policy().name == "float32"


def test_what_was_read_before_fine_tuning_is_printed(finished: tuple[CkPlus, Path, dict[str, Any]]) -> None:
    _, _, result = finished
    after, before = _sum_lines(result)
    assert after.startswith(f"after 20 epochs: accuracy {result['result']['accuracy_mean']:.4f} +- ")
    assert before.startswith(f"before fine-tuning: accuracy {result['before']['accuracy_mean']:.4f} +- ")
    assert f"{result['before']['pooled']['accuracy']:.4f} of all 36 images" in before


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--data", "none"], UnavailableError, "none: no such folder; --data must hold CK"),
        (["--data", ".", "--json", "none/r.json"], UnavailableError, "none: no such folder to write r.json to"),
        (["--data", ".", "--weights", "w.keras", "--from-scratch"], UsageError, "give one of them"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], error: type[EdgeFerError], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        CliRunner().invoke(crossval, arguments, catch_exceptions=False)

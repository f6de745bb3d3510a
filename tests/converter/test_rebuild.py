import csv
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from converter.commands.data import data
from converter.data import load_labelled, load_training
from converter.rebuild import PUBLISHED_SHA256, arrays_sha256, rebuild
from edge_fer.errors import UnavailableError, UsageError

VOTES = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF"]
FER2013_HEADER = ["emotion", "pixels", "Usage"]
FERPLUS_HEADER = ["Usage", "Image name", *VOTES]
NO_VOTES = [0] * 9 + [10]
CHECKOUT = Path(__file__).parents[2]
EDGE_FER_DATA = os.environ.get("EDGE_FER_DATA", "")

Pair = tuple[list[list[str]], list[list[str]]]


def face(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (48, 48), dtype=np.uint8)


def votes(first: int) -> list[int]:
    return [first, 10 - first] + [0] * 8


def pair_of(*rows: tuple[str, int, int, int | None, Sequence[int]]) -> Pair:
    """Lines of both files for rows (usage, emotion, seed of the face, number in the image name or None, votes)."""
    pair: Pair = ([FER2013_HEADER], [FERPLUS_HEADER])
    for usage, emotion, seed, number, voted in rows:
        pair[0].append([str(emotion), " ".join(map(str, face(seed).ravel())), usage])
        pair[1].append([usage, "" if number is None else f"fer{number:07d}.png", *map(str, voted)])
    return pair


# As published, the numbers in the image names skip some of the rows without an image (17 below) and not others (18):
# a row's number is not its place in the file.
SMALL = (
    ("Training", 0, 1, 16, votes(9)),
    ("Training", 6, 2, None, NO_VOTES),
    ("Training", 1, 3, 18, votes(8)),
    ("Training", 2, 4, None, NO_VOTES),
    ("Training", 3, 1, 19, votes(7)),  # the same image within the split stays
    ("Training", 4, 11, 20, votes(6)),  # is in the validation split
    ("Training", 5, 21, 21, votes(5)),  # is in the test split
    ("Training", 5, 13, 22, votes(3)),  # is in the validation split, but FER+ has no such image
    ("PublicTest", 5, 11, 23, votes(4)),
    ("PublicTest", 6, 22, 24, votes(3)),  # is in the test split
    ("PublicTest", 6, 13, None, NO_VOTES),
    ("PublicTest", 6, 12, 25, votes(2)),
    ("PublicTest", 0, 12, 26, votes(1)),
    ("PrivateTest", 3, 21, 27, votes(9)),
    ("PrivateTest", 3, 22, 28, votes(9)),
    ("PrivateTest", 3, 23, 29, votes(9)),
)


def write(folder: Path, pair: Pair) -> tuple[Path, Path]:
    paths = folder / "fer2013.csv", folder / "fer2013new.csv"
    for path, lines in zip(paths, pair, strict=True):
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(lines)
    return paths


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def test_what_is_kept_and_what_is_dropped(tmp_path: Path) -> None:
    train, valid = rebuild(*write(tmp_path, pair_of(*SMALL)), tmp_path / "out")
    assert (train.kept, train.duplicates, train.without_image, train.as_published) == (4, 2, 2, False)
    assert (valid.kept, valid.duplicates, valid.without_image, valid.as_published) == (3, 1, 1, False)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"ferplus_train.npz", "ferplus_valid.npz"}
    arrays = arrays_of(tmp_path / "out" / "ferplus_train.npz")
    assert list(arrays) == ["images", "votes", "fer2013_label", "fer2013_row"]
    assert np.array_equal(arrays["images"], np.stack([face(1), face(3), face(1), face(13)]))
    assert arrays["votes"].tolist() == [votes(9), votes(8), votes(7), votes(3)]
    assert arrays["fer2013_label"].tolist() == [0, 1, 3, 5]
    assert arrays["fer2013_row"].tolist() == [16, 18, 19, 22]
    assert [array.dtype.str for array in arrays.values()] == ["|u1", "|u1", "|u1", "<i4"]
    arrays = arrays_of(tmp_path / "out" / "ferplus_valid.npz")
    assert np.array_equal(arrays["images"], np.stack([face(11), face(12), face(12)]))
    assert arrays["votes"].tolist() == [votes(4), votes(2), votes(1)]
    assert arrays["fer2013_label"].tolist() == [5, 6, 0]
    assert arrays["fer2013_row"].tolist() == [23, 25, 26]


def test_the_files_are_what_the_training_reads(tmp_path: Path) -> None:
    train, valid = rebuild(*write(tmp_path, pair_of(*SMALL)), tmp_path)
    assert len(load_training(train.path, fer2013_votes=2).images) == 4
    assert load_labelled(valid.path).majority.tolist() == [True, True, True]


def test_the_other_published_form_gives_the_same(tmp_path: Path) -> None:
    """icml_face_data.csv has spaces before its names and another order; spreadsheets add a mark at the start."""
    pair = pair_of(*SMALL)
    plain = rebuild(*write(tmp_path, pair), tmp_path / "plain")
    swapped = [["emotion", " Usage", " pixels"], *([row[0], row[2], f" {row[1]}"] for row in pair[0][1:])]
    fer2013, ferplus = write(tmp_path, (swapped, pair[1]))
    fer2013.write_text("\ufeff" + fer2013.read_text())
    other = rebuild(fer2013, ferplus, tmp_path / "other")
    assert [rebuilt.sha256 for rebuilt in other] == [rebuilt.sha256 for rebuilt in plain]


def change(file: int, line: int, column: int, value: str) -> Callable[[Pair], None]:
    def apply(pair: Pair) -> None:
        pair[file][line][column] = value

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change(0, 0, 1, "image"), r"fer2013\.csv: the columns are emotion, image, Usage; 'pixels' is missing"),
        (change(1, 0, 11, "nf"), r"fer2013new\.csv: the columns are .*; 'NF' is missing"),
        (lambda pair: pair[0].clear(), r"fer2013\.csv: the columns are none; 'Usage' is missing"),
        (change(0, 3, 1, "0 " * 2303), r"fer2013\.csv: line 4: 2303 pixels, but must be 2304"),
        (change(0, 3, 1, "0 " * 2303 + "256"), r"fer2013\.csv: line 4: pixels must be integers from 0 to 255"),
        (change(0, 3, 1, "0 " * 2303 + "1.5"), r"fer2013\.csv: line 4: pixels must be .*'1\.5'"),
        (change(0, 1, 0, "7"), r"fer2013\.csv: line 2: emotion is '7', but must be an integer from 0 to 6"),
        (change(1, 4, 0, "PublicTest"), r"fer2013\.csv: line 5 is of 'Training', but .*new\.csv: line 5 of 'PublicTes"),
        (change(1, 1, 2, "9.5"), r"fer2013new\.csv: line 2: neutral is '9\.5', but must be an integer from 0 to 10"),
        (change(1, 1, 11, "11"), r"fer2013new\.csv: line 2: NF is '11'"),
        (change(1, 1, 5, ""), r"fer2013new\.csv: line 2: sadness is ''"),
        (change(1, 3, 1, "0000018.png"), r"fer2013new\.csv: line 4: Image name is '0000018\.png'"),
        (lambda pair: pair[0][2].pop(), r"fer2013\.csv: line 3: 2 columns, but the header has 3"),
        (lambda pair: pair[0].pop(), r"fer2013\.csv has 15 rows, but .*fer2013new\.csv has 16; both"),
        (lambda pair: pair[1].__delitem__(slice(-3, None)), r"fer2013\.csv has 16 rows, but .*new\.csv has 13; both"),
        (lambda pair: [lines.__delitem__(slice(-3, None)) for lines in pair], r"fer2013\.csv: no image of PrivateTest"),
    ],
)  # fmt: skip
def test_bad_input_is_named_and_nothing_is_written(
    tmp_path: Path, damage: Callable[[Pair], object], message: str
) -> None:
    pair = pair_of(*SMALL)
    pair = ([list(line) for line in pair[0]], [list(line) for line in pair[1]])
    damage(pair)
    with pytest.raises(UnavailableError, match=message):
        rebuild(*write(tmp_path, pair), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_split_is_named(tmp_path: Path) -> None:
    pair = pair_of(("Test", 0, 1, 0, votes(9)))
    with pytest.raises(UnavailableError, match="line 2: Usage is 'Test', but must be one of Training, PublicTest, Pri"):
        rebuild(*write(tmp_path, pair), tmp_path / "out")


@pytest.mark.parametrize(("content", "message"), [(None, "no such file"), (b"\xff\xd8\xff", "not a readable csv file")])
def test_a_file_that_is_no_csv_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    fer2013, ferplus = write(tmp_path, pair_of(*SMALL))
    fer2013.unlink()
    if content is not None:
        fer2013.write_bytes(content)
    with pytest.raises(UnavailableError, match=rf"fer2013\.csv: {message}"):
        rebuild(fer2013, ferplus, tmp_path / "out")


def test_only_force_replaces_what_is_there(tmp_path: Path) -> None:
    paths = write(tmp_path, pair_of(*SMALL))
    valid = tmp_path / "ferplus_valid.npz"
    valid.write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"ferplus_valid\.npz: is there already; --force replaces it"):
        rebuild(*paths, tmp_path)
    assert valid.read_bytes() == b"mine"
    assert not (tmp_path / "ferplus_train.npz").exists()
    rebuild(*paths, tmp_path, force=True)
    assert len(arrays_of(valid)["images"]) == 3


def test_a_full_disk_leaves_the_old_files(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the same OSError from the same write."""
    fer2013, ferplus = write(tmp_path, pair_of(*SMALL))
    out = tmp_path / "out"
    out.mkdir()
    (out / "ferplus_train.npz").write_bytes(b"old")
    run = (
        "import resource, sys\n"
        "from converter.commands.data import data\n"
        "from edge_fer.errors import EdgeFerError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        "try:\n    data.main(sys.argv[1:], standalone_mode=False)\n"
        "except EdgeFerError as err:\n    sys.exit(str(err))\n"
    )
    arguments = ("--fer2013", fer2013, "--ferplus", ferplus, "--out", out, "--force")
    child = subprocess.run(
        [sys.executable, "-c", run, *map(str, arguments)], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert (child.returncode, child.stderr) == (1, f"{out}/ferplus_train.npz: cannot be written (File too large)\n")
    assert [(path.name, path.read_bytes()) for path in out.iterdir()] == [("ferplus_train.npz", b"old")]


def test_the_command_prints_the_counts(tmp_path: Path) -> None:
    fer2013, ferplus = write(tmp_path, pair_of(*SMALL))
    arguments = ["--fer2013", str(fer2013), "--ferplus", str(ferplus), "--out", str(tmp_path)]
    done = CliRunner().invoke(data, arguments)
    assert done.exit_code == 0, done.output
    train, valid = done.output.splitlines()
    assert train.startswith(f"{tmp_path}/ferplus_train.npz: 4 images, NOT those that the shipped networks were trained")
    assert train.endswith("dropped: 2 identical to an image that is judged on, 2 without an image in FER+")
    assert valid.endswith("dropped: 1 identical to an image that is judged on, 1 without an image in FER+")


def published_rows(train: dict[str, np.ndarray], valid: dict[str, np.ndarray]) -> Iterator[tuple[list[str], list[str]]]:
    """Lines of both files as published, as far as the arrays tell: what they lack is filled in.

    FER+ numbers 28,638 training images (0...), 3,582 validation images and 3,582 or so test images. Of the training
    numbers that are not in the arrays, 692 are duplicates and 80 have no image; of the validation's 46 and 3.
    71 and 7 more rows have neither number nor image: 28,709 and 3,589 rows in all.
    """
    rng = np.random.default_rng(1)
    test = rng.integers(0, 256, (3573, 48, 48), dtype=np.uint8)
    splits = (
        ("Training", train, range(28638), 692, 71, (*valid["images"][:400], *test)),
        ("PublicTest", valid, range(28638, 32220), 46, 7, test),
    )
    for usage, arrays, numbers, duplicates, unnumbered, twins in splits:
        places = {int(number): place for place, number in enumerate(arrays["fer2013_row"])}
        gaps = [number for number in numbers if number not in places]
        twin_of = dict(zip(rng.permutation(gaps)[:duplicates].tolist(), twins, strict=False))
        for number in numbers:
            name = f"fer{number:07d}.png"
            if number in places:
                place = places[number]
                yield line(usage, arrays["images"][place], name, arrays["fer2013_label"][place], arrays["votes"][place])
            elif number in twin_of:
                yield line(usage, twin_of[number], name, 6, votes(7))
            else:
                yield line(usage, np.zeros((48, 48), np.uint8), "", 0, NO_VOTES)
            if number < numbers[0] + unnumbered:
                yield line(usage, np.zeros((48, 48), np.uint8), "", 0, NO_VOTES)
    for number, image in enumerate(test, start=32220):
        yield line("PrivateTest", image, f"fer{number:07d}.png", 3, votes(2))
    for _ in range(16):
        yield line("PrivateTest", np.zeros((48, 48), np.uint8), "", 0, NO_VOTES)


def line(usage: str, image: np.ndarray, name: str, label: int, voted: Sequence[int]) -> tuple[list[str], list[str]]:
    return [str(label), " ".join(map(str, image.ravel().tolist())), usage], [usage, name, *map(str, voted)]


@pytest.mark.skipif(
    not (Path(EDGE_FER_DATA) / "ferplus_train.npz").is_file() or not EDGE_FER_DATA,
    reason="EDGE_FER_DATA names no folder with ferplus_train.npz and ferplus_valid.npz",
)
def test_the_published_arrays_come_back_bit_for_bit(tmp_path: Path) -> None:
    published = {name: arrays_of(Path(EDGE_FER_DATA) / f"ferplus_{name}.npz") for name in ("train", "valid")}
    assert {name: arrays_sha256(arrays) for name, arrays in published.items()} == PUBLISHED_SHA256
    paths = tmp_path / "fer2013.csv", tmp_path / "fer2013new.csv"
    with paths[0].open("w", newline="") as original, paths[1].open("w", newline="") as rated:
        writers = csv.writer(original), csv.writer(rated)
        writers[0].writerow(FER2013_HEADER)
        writers[1].writerow(FERPLUS_HEADER)
        count = 0
        for lines in published_rows(published["train"], published["valid"]):
            count += 1
            for writer, values in zip(writers, lines, strict=True):
                writer.writerow(values)
    assert count == 35887
    train, valid = rebuild(*paths, tmp_path)
    assert (train.kept, train.duplicates, train.without_image, train.as_published) == (27866, 692, 151, True)
    assert (valid.kept, valid.duplicates, valid.without_image, valid.as_published) == (3533, 46, 10, True)
    for rebuilt, arrays in ((train, published["train"]), (valid, published["valid"])):
        again = arrays_of(rebuilt.path)
        assert list(again) == list(arrays)
        assert all(array.dtype == again[name].dtype for name, array in arrays.items())
        assert all(np.array_equal(array, again[name]) for name, array in arrays.items())

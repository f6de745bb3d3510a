"""The training and validation sets, rebuilt from the two files that FER2013 and FER+ publish."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt

from converter.data import FER2013_TO_EXPRESSION
from converter.files import write_whole
from converter.network import INPUT_PX
from edge_fer.errors import UnavailableError, UsageError
from edge_fer.labels import EXPRESSIONS

Arrays = dict[str, npt.NDArray[np.generic]]

Row = tuple[str, list[str]]
"""Place ("file: line n") and stripped values in the order of the columns asked for."""

SPLITS = {"Training": "train", "PublicTest": "valid", "PrivateTest": "test"}
"""`Usage` in both files -> our name of the split."""

FER2013_COLUMNS = ("Usage", "emotion", "pixels")
FERPLUS_COLUMNS = ("Usage", "Image name", *EXPRESSIONS, "unknown", "NF")

ANNOTATORS = 10
"""No image has more votes for one column."""

MESSAGE_CHARACTERS = 200
"""Of a header that is quoted: a file without one has 2,304 numbers there."""

IMAGE_NAME = re.compile(r"fer(\d{7})\.png")

PUBLISHED_SHA256 = {
    "train": "7ab8e3f23db1f7f78a8fa55103b8031bbdb5955d9ae0c666b6e2eb7295b13d31",
    "valid": "1aaac3e3db37f33a3119303abd07fdc98c87ce535dc05670f4e493f83119640e",
}
"""Of the arrays' bytes, in their order in the file: the sets that the shipped networks were trained and judged on."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """One file that was written, and what was left out of it."""

    path: Path
    kept: int
    duplicates: int  # pixel-identical to an image of a split that is judged on
    without_image: int  # rows whose image FER+ dropped
    sha256: str  # of the arrays' bytes
    as_published: bool  # the very arrays behind the shipped networks


@dataclass(slots=True)
class _Split:
    """The rows of one split that FER+ gives an image name, in the order of the files."""

    pixels: bytearray = field(default_factory=bytearray)
    votes: bytearray = field(default_factory=bytearray)
    labels: bytearray = field(default_factory=bytearray)
    numbers: list[int] = field(default_factory=list)
    without_image: int = 0

    @property
    def images(self) -> npt.NDArray[np.uint8]:
        return np.frombuffer(self.pixels, np.uint8).reshape(-1, INPUT_PX, INPUT_PX)


def rebuild(fer2013: Path, ferplus: Path, out: Path, *, force: bool = False) -> list[Rebuilt]:
    """Write `ferplus_train.npz` and `ferplus_valid.npz` to the folder `out` and say what they hold.

    `fer2013` is fer2013.csv (or icml_face_data.csv: the same with other column order and spaces), `ferplus` is
    fer2013new.csv; row i of one belongs to row i of the other. Kept, in this order: the rows with an image name, less
    training images that are pixel-identical to a validation or test image, less validation images identical to a test
    image. Equal images within a split stay. `fer2013_row` is the number in the image name. The test split serves only
    to find these duplicates.

    UsageError where a file is there already and `force` is not given. UnavailableError names the line of a row that is
    not as published, and what cannot be read or written. Nothing is written unless both files are right to the end.
    """
    targets = {name: out / f"ferplus_{name}.npz" for name in ("train", "valid")}
    if not force and (there := [path for path in targets.values() if path.exists()]):
        raise UsageError(f"{there[0]}: is there already; --force replaces it")
    splits = _read_splits(fer2013, ferplus)
    test = {image.tobytes() for image in splits["test"].images}
    judged_on = {"valid": test, "train": test | {image.tobytes() for image in splits["valid"].images}}
    kept = {name: _without_duplicates(splits[name], judged_on[name]) for name in targets}
    write_whole({path: _packed(kept[name]) for name, path in targets.items()})
    return [_describe(name, targets[name], splits[name], kept[name]) for name in targets]


def arrays_sha256(arrays: Arrays) -> str:
    """Hash of all arrays' bytes, one after the other."""
    digest = hashlib.sha256()
    for array in arrays.values():
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _read_splits(fer2013: Path, ferplus: Path) -> dict[str, _Split]:
    """Both files side by side, a row at a time."""
    splits = {name: _Split() for name in SPLITS.values()}
    for (where, (usage, label, pixels)), (rated_where, (rated_usage, name, *votes)) in _pairs(fer2013, ferplus):
        if usage != rated_usage:
            raise UnavailableError(
                f"{where} is of {usage!r}, but {rated_where} of {rated_usage!r}; "
                "both files must list the same images in the same order"
            )
        if usage not in SPLITS:
            raise UnavailableError(f"{where}: Usage is {usage!r}, but must be one of {', '.join(SPLITS)}")
        split, image = splits[SPLITS[usage]], _pixels(pixels, where)
        if not name:
            split.without_image += 1
            continue
        split.pixels += image
        split.votes += _votes(votes, rated_where)
        split.labels.append(_integer(label, len(FER2013_TO_EXPRESSION) - 1, f"{where}: emotion"))
        split.numbers.append(_number(name, rated_where))
    # Without the test split its duplicates would stay in the training set.
    if empty := [usage for usage, name in SPLITS.items() if not splits[name].numbers]:
        raise UnavailableError(f"{fer2013}: no image of {empty[0]}; all of {', '.join(SPLITS)} are needed")
    return splits


def _pairs(fer2013: Path, ferplus: Path) -> Iterator[tuple[Row, Row]]:
    originals, ratings = _rows(fer2013, FER2013_COLUMNS), _rows(ferplus, FERPLUS_COLUMNS)
    for count, (original, rating) in enumerate(zip_longest(originals, ratings)):
        if original is None or rating is None:
            longer = count + 1 + sum(1 for _ in chain(originals, ratings))
            found = (count, longer) if original is None else (longer, count)
            raise UnavailableError(
                f"{fer2013} has {found[0]} rows, but {ferplus} has {found[1]}; both must list the same images"
            )
        yield original, rating


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _parse(file, path, columns)
    except UnavailableError:
        raise
    except FileNotFoundError as err:
        raise UnavailableError(f"{path}: no such file") from err
    except (OSError, UnicodeDecodeError, csv.Error) as err:
        raise UnavailableError(f"{path}: not a readable csv file ({err})") from err


def _parse(file: TextIO, path: Path, columns: tuple[str, ...]) -> Iterator[Row]:
    reader = csv.reader(file)
    header = [name.strip() for name in next(reader, [])]
    if missing := [name for name in columns if name not in header]:
        found = ", ".join(header)[:MESSAGE_CHARACTERS] or "none"
        raise UnavailableError(f"{path}: the columns are {found}; {missing[0]!r} is missing")
    places = [header.index(name) for name in columns]
    for row in reader:
        where = f"{path}: line {reader.line_num}"
        if len(row) != len(header):
            raise UnavailableError(f"{where}: {len(row)} columns, but the header has {len(header)}")
        yield where, [row[place].strip() for place in places]


def _pixels(text: str, where: str) -> bytes:
    values = text.split()
    if len(values) != INPUT_PX**2:
        raise UnavailableError(f"{where}: {len(values)} pixels, but must be {INPUT_PX**2} ({INPUT_PX} x {INPUT_PX})")
    try:
        return bytes(map(int, values))
    except ValueError as err:
        raise UnavailableError(f"{where}: pixels must be integers from 0 to 255 ({err})") from err


def _votes(values: list[str], where: str) -> bytes:
    columns = FERPLUS_COLUMNS[-len(values) :]
    return bytes(_integer(text, ANNOTATORS, f"{where}: {name}") for text, name in zip(values, columns, strict=True))


def _integer(text: str, highest: int, what: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= highest):
        raise UnavailableError(f"{what} is {text!r}, but must be an integer from 0 to {highest}")
    return int(text)


def _number(name: str, where: str) -> int:
    if not (match := IMAGE_NAME.fullmatch(name)):
        raise UnavailableError(f"{where}: Image name is {name!r}, but must be empty or like 'fer0000000.png'")
    return int(match[1])


def _without_duplicates(split: _Split, judged_on: set[bytes]) -> Arrays:
    keep = np.array([image.tobytes() not in judged_on for image in split.images], np.bool_)
    return {
        "images": split.images[keep],
        "votes": np.frombuffer(split.votes, np.uint8).reshape(len(keep), -1)[keep],
        "fer2013_label": np.frombuffer(split.labels, np.uint8)[keep],
        "fer2013_row": np.array(split.numbers, "<i4")[keep],
    }


def _packed(arrays: Arrays) -> bytes:
    """As npz, in memory: where the disk is full, a half-written zip complains once more when it is collected."""
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    return packed.getvalue()


def _describe(name: str, path: Path, split: _Split, arrays: Arrays) -> Rebuilt:
    kept, sha256 = len(arrays["images"]), arrays_sha256(arrays)
    duplicates = len(split.numbers) - kept
    return Rebuilt(path, kept, duplicates, split.without_image, sha256, sha256 == PUBLISHED_SHA256[name])

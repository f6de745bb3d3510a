"""`tuned.json`: whole or not there, and never trusted."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from tunings import tuned

from edge_fer.errors import UnavailableError
from edge_fer.memory.state_folder import LARGEST_FILE
from edge_fer.tune.tuned import TUNED_FILE, Tuned, prepare_folder, read_tuned, write_tuned

WHOLE = tuned().model_dump_json(indent=1)


def changed(**keys: Any) -> str:
    return json.dumps(json.loads(WHOLE) | keys)


def without(key: str) -> str:
    return json.dumps({name: value for name, value in json.loads(WHOLE).items() if name != key})


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = write_tuned(tmp_path, tuned())
    assert path == tmp_path / TUNED_FILE
    assert read_tuned(tmp_path) == tuned()
    assert [one.name for one in tmp_path.iterdir()] == [TUNED_FILE]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644  # written by root, perhaps; read by the daemon's user


def test_a_board_that_was_never_tuned_has_none(tmp_path: Path) -> None:
    assert read_tuned(tmp_path) is None
    assert read_tuned(tmp_path / "missing") is None
    (tmp_path / "file").write_text("in the way")
    assert read_tuned(tmp_path / "file") is None


@pytest.mark.parametrize(
    ("story", "content", "told"),
    [
        ("empty", "", "damaged, or of another version"),
        ("half", WHOLE[: len(WHOLE) // 2], "damaged, or of another version"),
        ("binary", "\0\1\2", "damaged, or of another version"),
        ("deep", "[" * 100_000, "damaged, or of another version"),
        ("of another program", '{"hello": "world"}', "damaged, or of another version (version: Field required)"),
        ("no table", "[]", "damaged, or of another version"),
        ("unknown key", changed(colour="red"), "(colour: Extra inputs are not permitted)"),
        ("of a later version", changed(format=2), "(format: Input should be 1)"),
        ("a key is missing", without("basis"), "(basis: Field required)"),
        ("text for a number", WHOLE.replace('"threads": 2', '"threads": "2"'), "threads: Input should be a valid int"),
        ("no time at all", WHOLE.replace('"ms": 0.6', '"ms": 0.0'), "ms: Input should be greater than 0"),
        ("not a number", WHOLE.replace('"ms": 0.6', '"ms": NaN'), "ms: Input should be"),
        ("a thousand threads", WHOLE.replace('"threads": 2', '"threads": 1000'), "less than or equal to 64"),
        ("an unknown runtime", WHOLE.replace("tflite-runtime", "onnx"), "runtime: Input should be"),
        ("energy without joules", changed(goal="energy"), "joules are missing"),
        ("too large", WHOLE + " " * LARGEST_FILE, "not a tuning (no plain file, or larger than"),
    ],
)
def test_what_is_not_a_whole_tuning_is_named(tmp_path: Path, story: str, content: str, told: str) -> None:
    del story
    (tmp_path / TUNED_FILE).write_text(content)
    with pytest.raises(UnavailableError) as error:
        read_tuned(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / TUNED_FILE}: ")
    assert told in str(error.value)
    assert str(error.value).endswith("edge-fer tune")


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / TUNED_FILE).write_bytes(b"\xff\xfe" + WHOLE.encode())
    with pytest.raises(UnavailableError, match="damaged"):
        read_tuned(tmp_path)


def test_what_is_no_file_is_named_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / TUNED_FILE)
    with pytest.raises(UnavailableError, match="no plain file"):
        read_tuned(tmp_path)
    (tmp_path / TUNED_FILE).unlink()
    (tmp_path / TUNED_FILE).mkdir()
    with pytest.raises(UnavailableError, match=TUNED_FILE):
        read_tuned(tmp_path)


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnavailableError, match=r"file/lab: cannot be written \(Not a directory\).*--dry-run"):
        prepare_folder(tmp_path / "file" / "lab")
    prepare_folder(tmp_path / "a" / "lab")
    assert list((tmp_path / "a" / "lab").iterdir()) == []
    assert stat.S_IMODE((tmp_path / "a" / "lab").stat().st_mode) == 0o700


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / TUNED_FILE).mkdir()  # nothing can be renamed over it, by root neither
    with pytest.raises(UnavailableError, match=r"tuned\.json: cannot be written \(Is a directory\)"):
        write_tuned(tmp_path, tuned())
    assert [one.name for one in tmp_path.iterdir()] == [TUNED_FILE]


def test_the_json_is_what_scripts_find() -> None:
    """Renaming a key makes every tuning in the field foreign: raise `format` then."""
    assert list(json.loads(WHOLE)) == list(Tuned.model_fields)
    assert json.loads(WHOLE)["network"]["winner"] == {"runtime": "litert", "precision": "int8", "threads": 2}

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from converter.files import write_whole
from edge_fer.errors import UnavailableError


def test_all_files_and_nothing_beside_them(tmp_path: Path) -> None:
    first, second = tmp_path / "folder" / "a.bin", tmp_path / "b.txt"
    second.write_text("old")
    write_whole({first: b"one", second: lambda path: path.write_text("two")})
    assert (first.read_bytes(), second.read_text()) == (b"one", "two")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.bin", "b.txt", "folder"]


ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from converter.files import write_whole
from edge_fer.errors import UnavailableError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_whole({Path(sys.argv[1]): b"new", Path(sys.argv[2]): bytes(2000)})
except UnavailableError as err:
    sys.exit(str(err))
"""
"""No file may grow beyond 1000 bytes: an OSError in the same call as on a full disk. In a process of its own, because
the limit holds for whatever it writes."""


def test_where_one_does_not_fit_the_old_ones_stay(tmp_path: Path) -> None:
    small, large = tmp_path / "card.json", tmp_path / "model.tflite"
    small.write_text("old")
    command = [sys.executable, "-c", ON_A_FULL_DISK, str(small), str(large)]
    child = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert child.returncode == 1
    assert child.stderr.strip() == f"{large}: cannot be written (File too large)"
    assert small.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["card.json"]


def test_a_place_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match=r"b\.bin: cannot be written \((Not a directory|File exists)\)"):
        write_whole({tmp_path / "file" / "b.bin": b""})


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def half(path: Path) -> None:
        path.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole({tmp_path / "a.txt": half})
    assert not list(tmp_path.iterdir())

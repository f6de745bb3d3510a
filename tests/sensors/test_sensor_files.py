"""Missing is None, broken is an error that names file, reason and cure."""

from __future__ import annotations

from pathlib import Path

import pytest
from odd_files import as_a_user, invalid, no_such_device, would_block

from edge_fer.errors import SensorError
from edge_fer.sensors.files import BusyError, need_int, read_int, read_text


def test_a_number_is_read_without_what_is_around_it(tmp_path: Path) -> None:
    (tmp_path / "temp").write_text("  -256000\n")
    assert read_int(tmp_path / "temp") == -256000


def test_text_of_the_firmware_ends_with_a_zero(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"Jetson-AGX\0")
    assert read_text(tmp_path / "model") == "Jetson-AGX"


def test_missing_is_none_never_0(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("1")
    assert read_int(tmp_path / "nothing") is None
    assert read_text(tmp_path / "file" / "below") is None


def test_what_was_there_and_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SensorError, match=r"nothing: is gone$"):
        need_int(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"12 mA", "holds '12 mA', not a number"),
        (b"\xff\xfe", "not a number"),
        (b"9" * 400, "9', not a number"),  # more than a float can hold
        (b"1_000", "holds '1_000', not a number"),
        ("\u0661\u0665".encode(), "not a number"),
    ],
)
def test_garbage_is_an_error(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "curr1_input").write_bytes(content)
    with pytest.raises(SensorError, match=f"curr1_input: .*{told}"):
        read_int(tmp_path / "curr1_input")


def test_a_driver_that_is_busy(tmp_path: Path) -> None:
    with would_block(tmp_path / "temp"), pytest.raises(BusyError, match=r"temp: cannot be read \(Resource temp"):
        read_int(tmp_path / "temp")


def test_a_driver_that_refuses(tmp_path: Path) -> None:
    invalid(tmp_path / "temp")
    with pytest.raises(BusyError, match=r"temp: cannot be read \(Invalid argument"):
        read_int(tmp_path / "temp")


def test_a_driver_that_is_gone(tmp_path: Path) -> None:
    no_such_device(tmp_path / "temp")
    with pytest.raises(SensorError, match=r"temp: is gone \(No such device"):
        read_int(tmp_path / "temp")


def test_a_pipe_without_a_writer_holds_nobody_up(tmp_path: Path) -> None:
    with would_block(tmp_path / "temp"):
        pass
    with pytest.raises(SensorError, match="is empty"):
        read_int(tmp_path / "temp")


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "temp").mkdir()
    with pytest.raises(SensorError, match="Is a directory"):
        read_int(tmp_path / "temp")


def test_what_only_root_may_read_comes_with_its_cure(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "energy_uj").write_text("1")
    (tmp_path / "energy_uj").chmod(0o400 if tmp_path.owner() == "root" else 0o000)

    def tell(root: Path) -> str:
        try:
            return str(read_int(root / "energy_uj"))
        except SensorError as err:
            return str(err)

    told = as_a_user(tmp_path, tell)
    assert "energy_uj: cannot be read (Permission denied)" in told
    assert "0444` in /etc/tmpfiles.d/edge-fer.conf" in told

"""The boards of tests/boards: what they are, and what they tell."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fixture import BOARD_KEYS, BOARDS, TOTAL_W, board_tree
from odd_files import as_a_user

from edge_fer.sensors.board import read_board
from edge_fer.sensors.machine import Machine
from edge_fer.sensors.sensors import Sensors

NAMES = {
    "jetson-nano": ("NVIDIA Jetson Nano Developer Kit", "tegra210"),
    "jetson-agx-xavier": ("Jetson-AGX", "tegra194"),
    "jetson-xavier-nx": ("NVIDIA Jetson Xavier NX Developer Kit", "tegra194"),
    "jetson-orin-nano": ("NVIDIA Jetson Orin Nano Developer Kit", "tegra234"),
    "jetson-orin-nx": ("NVIDIA Jetson Orin NX Engineering Reference Developer Kit", "tegra234"),
    "jetson-agx-orin": ("NVIDIA Jetson AGX Orin Developer Kit", "tegra234"),
    "raspberry-pi-4": ("Raspberry Pi 4 Model B Rev 1.5", "bcm2711"),
    "raspberry-pi-5": ("Raspberry Pi 5 Model B Rev 1.0", "bcm2712"),
}


@pytest.mark.parametrize("key", NAMES)
def test_a_board_is_known_by_its_device_tree(key: str) -> None:
    board = read_board(Machine(root=BOARDS / key))
    assert (board.key, board.name, board.soc) == (key, *NAMES[key])
    assert (board.jetson, board.raspberry_pi) == ("jetson" in key, "raspberry" in key)


def test_a_pc_is_known_by_its_processor(tmp_path: Path) -> None:
    pc, bare = (read_board(Machine(root=BOARDS / key)) for key in ("pc-rapl", "bare"))
    assert (pc.key, pc.name, pc.soc) == ("generic-amd64", "Intel(R) Client Systems NUC11PAHi5", None)
    assert (bare.key, bare.name) == ("generic-amd64", "Intel(R) Xeon(R) Processor")
    assert read_board(Machine(root=tmp_path)).key == "unknown"


def test_a_carrier_board_of_another_maker(tmp_path: Path) -> None:
    tree = tmp_path / "proc" / "device-tree"
    tree.mkdir(parents=True)
    (tree / "compatible").write_bytes(b"connecttech,boson+p3767-0001\0nvidia,tegra234\0")
    assert read_board(Machine(root=tmp_path)).key == "jetson-orin-nx"
    (tree / "compatible").write_bytes(b"somebody,board\0nvidia,tegra234\0")
    (tree / "model").write_bytes(b"Somebody's Jetson Orin Nano\0")
    assert read_board(Machine(root=tmp_path)).key == "jetson-orin-nano"
    (tree / "model").write_bytes(b"Somebody's board\0")
    board = read_board(Machine(root=tmp_path))
    assert (board.key, board.name, board.soc) == ("generic-arm64", "Somebody's board", "tegra234")


def test_the_device_tree_of_a_copy_is_that_of_the_copy(tmp_path: Path) -> None:
    """/proc/device-tree is an absolute symlink, which in a copy leads to this machine's own."""
    real = tmp_path / "sys" / "firmware" / "devicetree" / "base"
    real.mkdir(parents=True)
    (real / "compatible").write_bytes(b"raspberrypi,5-model-b\0brcm,bcm2712\0")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "device-tree").symlink_to("/sys/firmware/devicetree/base")
    assert read_board(Machine(root=tmp_path)).key == "raspberry-pi-5"


@pytest.mark.parametrize("folder", ["sys", "proc", "sys/class/hwmon", "sys/bus/i2c/devices", "sys/devices"])
def test_folders_that_may_not_be_entered(folder: str, tmp_path: Path) -> None:
    machine = board_tree("jetson-orin-nano", tmp_path)
    (machine.root / folder).chmod(0o700 if (machine.root / folder).owner() == "root" else 0o000)

    def tell(root: Path) -> str:
        reading = Sensors(Machine(root=root, path="")).read()
        return f"{reading.power.source} {reading.power.total_w}"

    told = as_a_user(machine.root, tell)
    (machine.root / folder).chmod(0o755)
    assert told in ("unavailable None", f"measured {TOTAL_W['jetson-orin-nano']}")


@pytest.mark.parametrize("key", TOTAL_W)
def test_the_total_is_that_of_the_board(key: str, tmp_path: Path) -> None:
    reading = Sensors(board_tree(key, tmp_path)).read()
    assert reading.power.total_w == pytest.approx(TOTAL_W[key])
    assert reading.power.source == ("estimated" if key == "raspberry-pi-5" else "measured")
    assert reading.problems == ()


@pytest.mark.parametrize("key", BOARD_KEYS)
def test_no_rail_of_a_board_is_a_sum_or_unconnected(key: str, tmp_path: Path) -> None:
    names = [rail.name for rail in Sensors(board_tree(key, tmp_path)).read().power.rails]
    assert not {"NC", "sum of shunt voltages"} & set(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("key", ["raspberry-pi-4", "bare"])
def test_a_board_without_a_sensor_says_so_plainly(key: str, tmp_path: Path) -> None:
    reading = Sensors(board_tree(key, tmp_path)).read()
    assert (reading.power.source, reading.power.total_w, reading.power.rails) == ("unavailable", None, ())
    assert "power sensor" in reading.power.reason
    assert reading.problems == ()


@pytest.mark.parametrize(
    ("key", "hottest", "limit_c"),
    [
        ("jetson-nano", ("AO-therm", 41.5), 97.0),
        ("jetson-agx-xavier", ("CPU-therm", 34.5), 86.0),
        ("jetson-orin-nano", ("cpu-thermal", 47.5), 99.0),
        ("raspberry-pi-4", ("cpu-thermal", 52.585), 80.0),
        ("pc-rapl", ("x86_pkg_temp", 46.0), 95.0),
        ("bare", None, None),
    ],
)
def test_heat(key: str, hottest: tuple[str, float] | None, limit_c: float | None, tmp_path: Path) -> None:
    sensors = Sensors(board_tree(key, tmp_path))
    assert sensors.read().hottest == hottest
    assert sensors.throttle_point_c == limit_c


@pytest.mark.parametrize(
    ("key", "online", "cores", "mhz"),
    [
        ("jetson-nano", 4, 4, 1479.0),
        ("jetson-agx-xavier", 4, 8, 1190.4),
        ("jetson-xavier-nx", 4, 6, 1420.8),
        ("jetson-orin-nano", 6, 6, 1510.4),
        ("jetson-agx-orin", 8, 12, 1728.0),
        ("raspberry-pi-5", 4, 4, 2400.0),
        ("bare", 2, 2, None),
    ],
)
def test_cores_and_clocks(key: str, online: int, cores: int, mhz: float | None, tmp_path: Path) -> None:
    found = Sensors(board_tree(key, tmp_path)).read().cores
    assert (sum(core.online for core in found), len(found), found[0].mhz) == (online, cores, mhz)
    assert all(core.mhz is core.max_mhz is None for core in found if not core.online)


def test_who_tells_of_throttling(tmp_path: Path) -> None:
    tells = {key: Sensors(board_tree(key, tmp_path)).read().throttling is not None for key in BOARD_KEYS}
    assert [key for key, told in tells.items() if not told] == ["jetson-nano", "bare"]


def test_no_link_of_a_tree_leads_out_of_it() -> None:
    links = [Path(folder, name) for folder, folders, files in os.walk(BOARDS) for name in folders + files]
    links = [link for link in links if link.is_symlink()]
    assert len(links) > 100
    for link in links:
        key = link.relative_to(BOARDS).parts[0]
        assert link.resolve(strict=True).is_relative_to(BOARDS / key), link

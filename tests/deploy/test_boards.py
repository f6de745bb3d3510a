from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
from fixture import BOARD_KEYS, board_tree
from fixture import BOARDS as TREES

from deploy.board import BOARDS, Board, all_boards, boards_table, load_board
from deploy.wheelset import WHEELS
from edge_fer.capture.uri import parse_camera_uri
from edge_fer.errors import ConfigError, UsageError
from edge_fer.power_modes.nvpmodel import parse_conf
from edge_fer.sensors import board as sensed

KEYS = [board.key for board in all_boards()]
NAMED = [key for key in KEYS if not key.startswith("generic")]
EVERY_SYSTEM = [(board.key, system.key) for board in all_boards() for system in board.systems]


def test_the_boards_that_edge_fer_is_for() -> None:
    assert set(KEYS) == {
        "jetson-nano",
        "jetson-agx-xavier",
        "jetson-xavier-nx",
        "jetson-orin-nano",
        "jetson-orin-nx",
        "jetson-agx-orin",
        "raspberry-pi-4",
        "raspberry-pi-5",
        "generic-arm64",
        "generic-amd64",
    }
    assert KEYS[-2:] == ["generic-amd64", "generic-arm64"]


@pytest.mark.parametrize("key", BOARD_KEYS)
def test_a_device_tree_fits_the_board_that_the_daemon_calls_it_and_no_other(key: str, tmp_path: Path) -> None:
    found = sensed.read_board(board_tree(key, tmp_path))
    fitting = [name for name in NAMED if found.compatible and _fits(name, found)]
    assert fitting == ([found.key] if found.compatible else [])
    assert (found.key == key) is (key in NAMED)


def test_every_machine_fits_a_generic_board() -> None:
    for key in ("generic-arm64", "generic-amd64"):
        assert load_board(key).fits("", "")
        assert load_board(key).fits("nvidia,p3448-0000", "NVIDIA Jetson Nano Developer Kit")


def test_parts_of_device_trees_are_those_that_the_daemon_knows() -> None:
    modules, models = defaultdict(set), defaultdict(set)
    for part, key in sensed._MODULES.items():
        modules[key].add(part)
    for part, key in sensed._MODELS.items():
        models[key].add(part)
    # The daemon tries the two of the Orin NX first, then takes what is left of this module for an Orin Nano.
    modules["jetson-orin-nano"] = {"p3767-0003", "p3767-0004", "p3767-0005"}
    for key in NAMED:
        board = load_board(key)
        assert set(board.compatible) == modules[key], key
        assert set(board.models) == models[key], key


@pytest.mark.parametrize("key", [key for key in NAMED if key.startswith("jetson")])
def test_the_power_mode_is_the_default_of_the_boards_own_table(key: str) -> None:
    conf = parse_conf((TREES / key / "etc" / "nvpmodel.conf").read_text(encoding="utf-8"))
    assert conf.default is not None
    assert load_board(key).power_mode == conf.modes[conf.default].name


def test_boards_without_nvpmodel_have_no_mode() -> None:
    assert [load_board(key).power_mode for key in KEYS if not key.startswith("jetson")] == [""] * 4


@pytest.mark.parametrize("key", KEYS)
def test_cameras_are_addresses_that_the_daemon_takes(key: str) -> None:
    parse_camera_uri(load_board(key).camera)


@pytest.mark.parametrize(("key", "system"), EVERY_SYSTEM)
def test_drop_ins_are_there(key: str, system: str) -> None:
    folder = BOARDS.parents[1] / "systemd" / "drop-ins"
    for name in load_board(key).system(system).drop_ins:
        assert (folder / f"{name}.conf").is_file(), name


def test_drop_ins_go_by_what_the_systems_systemd_knows() -> None:
    for board in all_boards():
        for system in board.systems:
            assert ("old-systemd" in system.drop_ins) is (system.systemd < 239), (board.key, system.key)
            assert ("restart-steps" in system.drop_ins) is (system.systemd >= 254), (board.key, system.key)
            assert ("jetson-csi" in system.drop_ins) is board.camera.startswith("csi:"), (board.key, system.key)
            assert ("pi-camera" in system.drop_ins) is board.camera.startswith("rpicam:"), (board.key, system.key)


def test_each_lock_is_of_a_system_and_each_system_has_one() -> None:
    used = {system.wheels for board in all_boards() for system in board.systems}
    assert used == {path.stem for path in WHEELS.glob("*.txt")}


def test_one_system_is_the_same_on_every_board() -> None:
    facts = defaultdict(set)
    for board in all_boards():
        for system in board.systems:
            facts[system.key, board.machine].add((system.name, system.glibc, system.systemd, system.python, system.os))
    assert all(len(found) == 1 for found in facts.values())


def test_a_board_runs_its_first_system_unless_another_is_named() -> None:
    board = load_board("raspberry-pi-5")
    assert board.system().key == "pi-os-12"
    assert board.system("pi-os-13").python == "3.13"
    with pytest.raises(UsageError, match=r"^raspberry-pi-5: no system 'jetpack-4'; it runs pi-os-12, pi-os-13$"):
        board.system("jetpack-4")


@pytest.mark.parametrize("key", ["jetson-tx2", "", "../boards/jetson-nano"])
def test_an_unknown_board_lists_all(key: str) -> None:
    with pytest.raises(UsageError, match="unknown board") as caught:
        load_board(key)
    assert all(known in str(caught.value) for known in KEYS)


@pytest.mark.parametrize(
    ("found", "changed", "said"),
    [
        ('machine = "aarch64"', 'machine = "armv7l"', "machine: found 'armv7l'"),
        ('qemu_cpu = "cortex-a57"\n', "", "qemu_cpu: missing"),
        ('qemu_cpu = "cortex-a57"', "qemu_cpu = 57", "qemu_cpu: found 57"),
        ('power_mode = "MAXN"', 'power_mode = "MAXN"\ncolour = "green"', "colour: unknown key"),
        ('power = "ina3221"', 'power = "ina219"', "sensors.power: found 'ina219'"),
        ("rails_need_rule = true", 'rails_need_rule = "yes"', "sensors.rails_need_rule: found 'yes'"),
        ("systemd = 237", 'systemd = "237"', "system.0.systemd: found '237'"),
        ("systemd = 237", "systemd = 230", "system.0.systemd: found 230"),
        ("systemd = 237\n", "", "system.0.systemd: missing"),
        ("systemd = 237", "systemd = 237\nkernel = 4", "system.0.kernel: unknown key"),
        ('glibc = "2.27"', 'glibc = "2.27.1"', "system.0.glibc: found '2.27.1'"),
        ('glibc = "2.27"', 'glibc = "2.17"', "this system has Python 3.10 on aarch64 with glibc 2.17"),
        ("cp310-aarch64", "cp311-aarch64", "system.jetpack-4.wheels: 'cp311-aarch64-glibc2.27' is for Python 3.11"),
        ("cp310-aarch64", "cp310-x86_64", "is for Python 3.10 on x86_64"),
        ("cp310-aarch64-glibc2.27", "newest", "one is named like cp310-aarch64-glibc2.27"),
        ('drop_ins = ["jetson-csi"', 'drop_ins = ["../../etc"', "system.0.drop_ins.0: found '../../etc'"),
        ("[[system]]", "[system]", "system: found {"),
        ('name = "NVIDIA Jetson Nano"', "name = ", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_its_key(found: str, changed: str, said: str, tmp_path: Path) -> None:
    text = (BOARDS / "jetson-nano.toml").read_text(encoding="utf-8")
    assert found in text
    path = tmp_path / "jetson-nano.toml"
    path.write_text(text.replace(found, changed, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_board("jetson-nano", tmp_path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)


def test_two_systems_of_one_name_are_refused(tmp_path: Path) -> None:
    text = (BOARDS / "jetson-nano.toml").read_text(encoding="utf-8")
    (tmp_path / "nano.toml").write_text(text + text[text.index("[[system]]") :], encoding="utf-8")
    with pytest.raises(ConfigError, match="two of them have the key 'jetpack-4'"):
        load_board("nano", tmp_path)


def test_the_table_has_a_line_for_each_system() -> None:
    lines = boards_table(all_boards()).splitlines()
    assert len(lines) == 1 + len(EVERY_SYSTEM)
    assert max(len(line) for line in lines) <= 130
    (nano,) = (line for line in lines if line.startswith("jetson-nano "))
    for word in ("jetpack-4", "2.27", "3.10 bundled", "tflite-runtime 2.13.0", "csi:0", "ina3221", "MAXN"):
        assert word in nano
    assert "LiteRT" not in nano
    assert sum("ubuntu-24.04" in line for line in lines) == 2


def _fits(name: str, found: sensed.Board) -> bool:
    board: Board = load_board(name)
    return board.fits(" ".join(found.compatible), found.name)

"""Sensors, throttling, power mode and governor on copies of real boards' files."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from fixture import TOTAL_W, add_energy, board_tree

from edge_fer.doctor.board import check_governor, check_power_mode, check_sensors, check_throttling
from edge_fer.doctor.finding import Finding
from edge_fer.doctor.patient import Patient
from edge_fer.sensors.machine import Machine

Made = Callable[..., Patient]
NOBODY = 65534


@pytest.fixture
def on(make_patient: Made, open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Patient]:
    """A board, and perhaps a configuration."""

    def make(board: str, text: str | None = None) -> Patient:
        machine = board_tree(board, open_folder)
        monkeypatch.setenv("EDGE_FER_FAKE_BOARD", str(machine.root))
        return make_patient(text, machine=machine)

    return make


def one(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


@pytest.mark.parametrize("board", TOTAL_W)
def test_the_watts_of_a_board_are_told(on: Callable[..., Patient], board: str) -> None:
    found = one(check_sensors(on(board)))
    source = "estimated" if board == "raspberry-pi-5" else "measured"
    assert f": {TOTAL_W[board]:.1f} W, {source}; " in found.found
    assert found.result == "ok"


@pytest.mark.parametrize("board", ["raspberry-pi-4", "bare"])
def test_a_board_without_a_sensor_is_no_fault(on: Callable[..., Patient], board: str) -> None:
    found = one(check_sensors(on(board)))
    assert (found.result, "no power sensor" in found.found) == ("ok", True)
    assert " 0.0 W" not in found.found


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything; others are anybody already."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_rails_that_only_root_may_read_are_told_with_what_opens_them(on: Callable[..., Patient]) -> None:
    patient = on("jetson-orin-nano")
    check_sensors(on("bare"))  # so that nothing is imported as somebody who may not
    patient.place.machine.root.chmod(0o755)
    for rail in patient.place.machine.sys.rglob("hwmon/hwmon*/*_input"):
        rail.chmod(0o000)
    with as_nobody():
        findings = check_sensors(patient)
    assert "no watts" in findings[0].found
    assert {finding.result for finding in findings[1:]} == {"warning"}
    assert "Permission denied" in findings[1].found
    assert "tmpfiles" in findings[1].cure
    assert "0444" in findings[1].cure


def test_a_counter_of_energy_tells_watts_too(on: Callable[..., Patient]) -> None:
    patient = on("pc-rapl")
    done = threading.Event()

    def draw() -> None:
        while not done.wait(0.02):
            add_energy(patient.place.machine, 0.2)

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        found = one(check_sensors(patient))
    finally:
        done.set()
        thread.join()
    assert " W, measured; " in found.found


def test_a_board_that_is_well_is_not_held_back(on: Callable[..., Patient]) -> None:
    assert one(check_throttling(on("raspberry-pi-5"))).result == "ok"
    assert one(check_throttling(on("bare"))).result == "skipped"


@pytest.mark.parametrize(
    ("bits", "wanted"),
    [
        (0x50005, [("failed", "under-voltage now"), ("warning", "throttled now")]),
        (0x50000, [("warning", "under-voltage since"), ("warning", "throttled since")]),
        (0x80008, [("warning", "soft-temperature-limit now")]),
        (0x00000, [("ok", "neither now")]),
    ],
)
def test_what_the_firmware_held_back_for(on: Callable[..., Patient], bits: int, wanted: list[tuple[str, str]]) -> None:
    patient = on("raspberry-pi-4")
    (patient.place.machine.root / "firmware" / "get_throttled").write_text(f"throttled={bits:#x}\n")
    found = check_throttling(patient)
    assert [(finding.result, finding.found[: len(told)]) for finding, (_, told) in zip(found, wanted, strict=True)] == [
        *wanted
    ]
    assert all(finding.cure for finding in found if finding.result != "ok")


def test_heat_near_the_throttling_point_is_a_warning(on: Callable[..., Patient]) -> None:
    patient = on("raspberry-pi-4")
    (patient.place.machine.sys / "class/thermal/thermal_zone0/temp").write_text("78000\n")
    found = check_throttling(patient)[0]
    assert found.result == "warning"
    assert "has 78 degC, the kernel throttles at 80" in found.found
    assert "fan" in found.cure


def test_the_power_mode_is_named_with_its_number(on: Callable[..., Patient]) -> None:
    found = one(check_power_mode(on("jetson-agx-xavier")))
    assert (found.result, found.found) == ("ok", "power mode 7 MODE_15W_DESKTOP, one of 8")


def test_a_board_without_modes_has_caps_or_nothing(on: Callable[..., Patient]) -> None:
    assert one(check_power_mode(on("raspberry-pi-4"))).found.startswith("frequency cap 1800MHz, one of ")
    assert one(check_power_mode(on("bare"))).result == "skipped"


def test_a_list_of_modes_that_makes_no_sense_is_a_warning(on: Callable[..., Patient]) -> None:
    patient = on("jetson-nano")
    (patient.place.machine.etc / "nvpmodel.conf").write_text("< nonsense")
    assert one(check_power_mode(patient)).result == "warning"


@pytest.mark.parametrize(("state", "result"), [("loaded", "ok"), ("not-found", "warning")])
def test_the_helper_of_set_power_mode_is_looked_for_where_that_is_allowed(
    on: Callable[..., Patient], state: str, result: str
) -> None:
    patient = on("jetson-agx-xavier", '[commands]\nallow = ["set-power-mode"]\n')
    systemctl = Path(str(patient.place.machine.path)) / "systemctl"
    systemctl.unlink(missing_ok=True)
    systemctl.write_text(f'#!/bin/sh\ncase "$2" in edge-fer-power-mode@*.service) echo LoadState={state};; esac\n')
    systemctl.chmod(0o755)
    helper = check_power_mode(patient)[1]
    assert (helper.about, helper.result) == ("helper", result)


def test_a_socket_of_the_helper_must_be_open_for_the_daemon(on: Callable[..., Patient]) -> None:
    patient = on("jetson-agx-xavier", '[commands]\nallow = ["set-power-mode"]\n')
    socket = patient.place.machine.root / "run" / "edge-fer-power-mode.sock"
    socket.parent.mkdir()
    socket.touch()
    assert check_power_mode(patient)[1].result == "ok"
    patient.place = replace(patient.place, access=lambda path, _: path != socket)
    refused = check_power_mode(patient)[1]
    assert (refused.result, "group edge-fer" in refused.cure) == ("warning", True)


@pytest.mark.parametrize(
    ("board", "text", "result", "told"),
    [
        ("raspberry-pi-4", "", "ok", "looks less often from 75 degC on (the kernel throttles at 80)"),
        ("raspberry-pi-4", "[governor]\nenabled = false", "ok", "governor.enabled = false, so nothing is kept"),
        ("raspberry-pi-4", "[governor]\nenabled = false\nmax_temperature_c = 60.0", "warning", "are not kept"),
        (
            "jetson-orin-nano",
            "[governor]\nmax_temperature_c = 60.0\nmax_power_w = 7.0",
            "ok",
            "from 60 degC on, or 7 W",
        ),
        ("raspberry-pi-4", "[governor]\nmax_power_w = 5.0", "warning", "max_power_w = 5 is not kept"),
        ("raspberry-pi-4", "[governor]\nmax_temperature_c = 90.0", "warning", "throttles at 80 already"),
        ("bare", "[governor]\nmax_temperature_c = 60.0", "warning", "no temperature can be read"),
        ("bare", "", "ok", "no temperature to go by"),
        ("bare", "[governor]\nmax_power_w = 5.0\n[power]\nenabled = false", "warning", "power.enabled = false"),
        ("bare", "[power]\nenabled = false", "ok", "nothing is kept"),
    ],
)
def test_the_governor_can_keep_what_is_asked_of_it(
    on: Callable[..., Patient], board: str, text: str, result: str, told: str
) -> None:
    found = one(check_governor(on(board, text)))
    assert found.result == result
    assert told in found.found


def test_sensors_are_read_once_for_all_checks(make_patient: Made, tmp_path: Path) -> None:
    patient = make_patient(None, machine=Machine(tmp_path, ""))
    assert patient.sensed() is patient.sensed()

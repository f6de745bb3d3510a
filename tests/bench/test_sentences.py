"""What a diagnosis says in words."""

from __future__ import annotations

import re
from dataclasses import replace

from diagnoses import diagnosis, mode, row, speed

from edge_fer.bench.columns import WIDTH, number, scaled
from edge_fer.bench.picture import headline, notes
from edge_fer.bench.summary import disturbances, in_short
from edge_fer.bench.table import render

FAST = row("nano_b", "int8", "litert", 1, speed(0.25, watts=14.0), 15.0)
SLOW = row("nano_b", "float32", "litert", 1, speed(1.0, watts=12.0), 15.0)


def test_faces_per_second_and_watts_come_first() -> None:
    """4,000 a second at 14 W: 3.5 mJ a face."""
    told = in_short(diagnosis(mode((FAST, SLOW), "2 MODE_15W", 15.0)))
    assert told[0].startswith("4,000 faces per second at 14.0 W, 8.0 W above the idle floor: 3.50 mJ a face")


def test_estimated_watts_are_about() -> None:
    energy = FAST.speed.energy
    assert energy is not None
    estimated = replace(FAST, speed=replace(FAST.speed, energy=replace(energy, source="estimated")))
    assert "at about 14.0 W" in in_short(diagnosis(mode((estimated,))))[0]


def test_watts_of_the_idle_floor_have_no_minus() -> None:
    energy = FAST.speed.energy
    assert energy is not None
    still = replace(FAST, speed=replace(FAST.speed, energy=replace(energy, idle_w=energy.total_w + 1e-9)))
    assert "14.0 W, 0.0 W above the idle floor" in in_short(diagnosis(mode((still,))))[0]


def test_watts_that_nobody_measured_are_not_known() -> None:
    told = in_short(diagnosis(mode((row("nano_b", "int8", "litert", 1, speed(0.25)),))))
    assert told[0] == "4,000 faces per second at watts that are not known (nano_b int8 on litert, 1 thread)."


def test_the_peak_is_of_as_many_cores_as_threads() -> None:
    """44.2 MMAC * 4000 / s = 176.8 GMAC/s; two cores of 100 GMAC/s each: 88 %."""
    two = row("nano_b", "int8", "litert", 2, speed(0.25))
    told = in_short(diagnosis(mode((two,)), peak_gmacs_int8=100.0))
    assert "176.8 GMAC/s, 88% of the 200 GMAC/s that 2 cores" in "\n".join(told)


def test_a_slower_row_that_needs_fewer_joules_is_named() -> None:
    thrifty = row("nano_b", "int8", "litert", 1, speed(0.5, watts=6.5), 15.0)
    told = "\n".join(in_short(diagnosis(mode((FAST, thrifty), "2 MODE_15W", 15.0))))
    assert "fewest joules: 3.25 mJ a face at 2,000 per second" in told  # 6.5 W / 2000


def test_nothing_measured_is_said_so() -> None:
    assert in_short(diagnosis()) == ["Nothing was measured."]


def test_a_pipeline_alone_is_something() -> None:
    """As where a power mode leaves fewer cores online than threads were asked for."""
    told = in_short(diagnosis(mode(())))
    assert told == ["The whole pipeline, from the camera to the event: 164 frames per second."]


def test_speeds_beside_the_files_of_another_board_are_not_said_to_be_its_own() -> None:
    found = diagnosis(mode((FAST,), "2 MODE_15W", 15.0), files_below="/boards/xavier")
    told = "\n".join(in_short(found))
    assert "on this board" not in told
    assert "Speeds and watts are of two machines" in told
    assert headline(found) == "4,000 faces read per second by another machine than NVIDIA Jetson AGX Xavier"
    assert "the speeds are of the machine that this ran on" in notes(found)[0]


def test_disturbances_that_differ_in_figures_only_are_told_once() -> None:
    speeds = [speed(1.0, disturbed=f"other programs used {cores} cores") for cores in ("0.4", "1.3", "0.9")]
    told = disturbances([*speeds, speed(1.0, disturbed="the board was held back: throttled"), speed(1.0)])
    assert told == [
        "3 of 5 rows: other programs used 0.4 to 1.3 cores",
        "1 of 5 rows: the board was held back: throttled",
    ]


def test_a_disturbed_row_is_marked() -> None:
    rows = (FAST, replace(SLOW, speed=replace(SLOW.speed, disturbed="other programs used 0.4 cores")))
    lines = render(diagnosis(mode(rows, "2 MODE_15W", 15.0))).splitlines()
    marked = [re.sub(r"\x1b\[[\d;]*m", "", line)[:9] for line in lines if " litert " in line and "XNN" not in line]
    assert marked[:2] == ["  nano_b ", "! nano_b "]


def test_what_was_not_measured_is_a_dash_and_nothing_is_minus_nothing() -> None:
    assert (number(None), scaled(None), number(-0.001, 2), scaled(-0.0)) == ("-", "-", "0.00", "0.00")
    assert [scaled(value) for value in (1.234, 123.45, 1234.5)] == ["1.23", "123.5", "1234"]


def test_a_first_event_that_came_too_late_is_not_called_none() -> None:
    (clip,) = mode((FAST,)).pipeline
    for changes, told in (
        ({"events": 0}, "no event; "),
        ({"events": 3}, "no event soon after the start; "),
        ({"events": 3, "first_event_s": 1.26}, "first event 1.3 s after the start; "),
    ):
        assert told in render(diagnosis(mode((FAST,), pipeline=(replace(clip, **changes),))))


def test_no_line_is_wider_than_a_page() -> None:
    text = re.sub(r"\x1b\[[\d;]*m", "", render(diagnosis(mode((FAST, SLOW), "2 MODE_15W", 15.0))))
    assert max(len(line) for line in text.splitlines()) == WIDTH

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from story import BERLIN, rule

from edge_fer.config import explain_error
from edge_fer.rules.hours import QuietHours, parse_window
from edge_fer.rules.settings import ExpressionRule, check_cameras
from edge_fer.scores.replay import ReplayRules

SAD = {"kind": "expression", "expressions": ["sadness"]}
BERLIN_NAME = "Europe/Berlin"
ROOT = Path(__file__).parents[2]


def complaints(**tables: Any) -> list[str]:
    with pytest.raises(ValidationError) as error:
        ReplayRules.model_validate({"rule": tables, "decide": {}})
    return [explain_error(found) for found in error.value.errors()]


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (
            {"kind": "expression", "expressions": ["sadnes"]},
            "rule.cry.expressions: 'sadnes' is no expression; did you mean 'sadness'?",
        ),
        (
            {"kind": "expression", "expressions": ["boredom"]},
            (
                "rule.cry.expressions: 'boredom' is no expression; known here: neutral, happiness, surprise, sadness, "
                "anger, disgust, fear, contempt"
            ),
        ),
        ({**SAD, "expressions": ["sadness", "sadness"]}, "rule.cry.expressions: an expression is named twice"),
        ({**SAD, "window_s": 0}, "rule.cry.window_s: found 0; input should be greater than or equal to 1"),
        ({**SAD, "window_s": 90_000}, "rule.cry.window_s: found 90000; input should be less than or equal to 86400"),
        ({**SAD, "share": 1.2}, "rule.cry.share: found 1.2; input should be less than or equal to 1"),
        ({**SAD, "share": 0}, "rule.cry.share: found 0; input should be greater than 0"),
        ({**SAD, "clear_share": 0.7}, "rule.cry: clear_share 0.7 must be below share 0.6"),
        ({"kind": "expression"}, "rule.cry.expressions: missing"),
        (
            {"kind": "faces", "max_faces": -1},
            "rule.cry.max_faces: found -1; input should be greater than or equal to 0",
        ),
        ({"kind": "nobody"}, "rule.cry.for_s: missing"),
        (
            {"kind": "nobody", "for_s": 86_401},
            "rule.cry.for_s: found 86401; input should be less than or equal to 86400",
        ),
        ({"kind": "nobdy", "for_s": 5}, "rule.cry.kind: found 'nobdy'; did you mean 'nobody'?"),
        ({"for_s": 5}, "rule.cry.kind: missing; give one of expression, nobody, faces, camera"),
        ({**SAD, "windows_s": 5}, "rule.cry.windows_s: unknown key; did you mean 'window_s'?"),
        ({**SAD, "quiet": ["22:00-07:00"]}, "rule.cry: quiet hours need a time_zone, such as 'Europe/Berlin'"),
        (
            {**SAD, "time_zone": "Europe/Berlinn"},
            "rule.cry.time_zone: 'Europe/Berlinn' is no time zone; did you mean 'Europe/Berlin'?",
        ),
        (
            {**SAD, "quiet": ["22-7"], "time_zone": BERLIN_NAME},
            (
                "rule.cry.quiet: '22-7' is no time of the day or week; "
                "write '22:00-07:00', 'sat,sun 00:00-24:00' or 'mon-fri 12:00-14:00'"
            ),
        ),
        (
            {**SAD, "quiet": ["25:00-07:00"], "time_zone": BERLIN_NAME},
            "rule.cry.quiet: '25:00-07:00': there is no 25:00; times are 00:00 to 24:00",
        ),
        (
            {**SAD, "quiet": ["07:00-07:00"], "time_zone": BERLIN_NAME},
            "rule.cry.quiet: '07:00-07:00' has no length; a whole day is 00:00-24:00",
        ),
        (
            {**SAD, "quiet": ["sam 07:00-08:00"], "time_zone": BERLIN_NAME},
            "rule.cry.quiet: 'sam 07:00-08:00': 'sam' is no day; days are mon, tue, wed, thu, fri, sat, sun",
        ),
        (
            {**SAD, "cameras": []},
            "rule.cry.cameras: found []; list should have at least 1 item after validation, not 0",
        ),
    ],
)
def test_what_is_wrong_in_a_rule_is_told_with_rule_and_key(table: dict[str, Any], told: str) -> None:
    assert complaints(cry=table) == [told]


def test_all_rules_are_checked_at_once() -> None:
    told = complaints(cry={**SAD, "share": 2}, empty={"kind": "nobody"}, broken={"kind": "camera", "for_s": -1})
    assert [line.partition(": ")[0] for line in told] == ["rule.cry.share", "rule.empty.for_s", "rule.broken.for_s"]


def test_a_rule_about_an_unknown_camera_is_an_error() -> None:
    rules = {"cry": rule(**SAD, cameras=["front"]), "empty": rule(kind="nobody", for_s=5, cameras=["hal"])}
    with pytest.raises(ValueError, match=r"^rule\.empty\.cameras: there is no camera 'hal'; did you mean 'hall'\?$"):
        check_cameras(rules, ["front", "hall"])
    check_cameras(rules, ["front", "hal"])


def test_half_of_the_share_clears_by_default() -> None:
    default, own = rule(**SAD, share=0.8), rule(**SAD, share=0.8, clear_share=0.7)
    assert isinstance(default, ExpressionRule)
    assert isinstance(own, ExpressionRule)
    assert (default.cleared_below, own.cleared_below) == (0.4, 0.7)


WITHOUT_ZONES = """
import sys
sys.modules["tzdata"] = None  # nor the Python package of them
from edge_fer.rules.hours import find_zone
try:
    find_zone("Europe/Berlin")
except ValueError as err:
    print(err)
"""


def test_a_system_without_time_zones_names_the_package(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONTZPATH": str(tmp_path)}
    command = [sys.executable, "-c", WITHOUT_ZONES]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert said == "this system has no time zones: install the package tzdata (apt-get install tzdata)\n"


@pytest.mark.parametrize("name", ["../etc/passwd", "/etc/passwd", "Europe", ""])
def test_a_zone_is_no_path(name: str) -> None:
    with pytest.raises(ValidationError, match="is no time zone"):
        rule(**SAD, time_zone=name)


def quiet(*windows: str, zone: str = BERLIN_NAME) -> QuietHours:
    return QuietHours(windows, zone)


def unix_ns(*local: int, fold: int = 0) -> int:
    return round(datetime(*local, tzinfo=BERLIN, fold=fold).timestamp() * 1e9)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("clock", "is_quiet"), [((21, 59), False), ((22, 0), True), ((0, 0), True), ((6, 59), True), ((7, 0), False)]
)
def test_a_night_goes_over_midnight(clock: tuple[int, int], is_quiet: bool) -> None:  # noqa: FBT001
    assert quiet("22:00-07:00").quiet_at(unix_ns(2026, 3, 4, *clock)) is is_quiet


def test_days_are_those_on_which_a_window_begins() -> None:
    hours = quiet("sat,sun 00:00-24:00", "fri 22:00-07:00")
    saturday = datetime(2026, 3, 7, tzinfo=BERLIN)
    told = {
        "friday noon": (-12, False),
        "friday 23:00": (-1, True),
        "saturday": (12, True),
        "sunday 23:00": (47, True),
        "monday 0:00": (48, False),
    }
    for name, (hour, expected) in told.items():
        at_ns = round((saturday + timedelta(hours=hour)).timestamp() * 1e9)
        assert hours.quiet_at(at_ns) is expected, name


def test_a_range_of_days_may_go_over_the_weekend() -> None:
    assert parse_window("fri-mon 10:00-11:00").days == {4, 5, 6, 0}
    assert parse_window("Mon-Fri  9:00 - 17:30") == (frozenset(range(5)), 540, 1050)


def test_an_hour_that_comes_twice_is_quiet_twice_and_one_that_is_left_out_never() -> None:
    hours = quiet("02:15-02:45")
    assert [hours.quiet_at(unix_ns(2026, 10, 25, 2, 30, fold=fold)) for fold in (0, 1)] == [True, True]
    night_ns = unix_ns(2026, 3, 29, 1, 0)  # the clock goes from 2:00 to 3:00
    assert not any(hours.quiet_at(night_ns + minute * 60_000_000_000) for minute in range(180))


@given(st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)))  # noqa: DTZ001 - local, given its zone below
def test_a_week_of_quiet_is_always_quiet_and_no_window_is_never(moment: datetime) -> None:
    at_ns = round(moment.replace(tzinfo=BERLIN).timestamp() * 1e9)
    assert quiet("mon-sun 00:00-24:00").quiet_at(at_ns)
    assert quiet("12:00-00:00", "00:00-12:00").quiet_at(at_ns)
    assert not quiet().quiet_at(at_ns)

"""Nobody there: few frames are looked at, all of them wholly, until somebody comes; and no rule notices."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from pydantic import TypeAdapter
from room import Rooms, Script

from edge_fer.governor.levels import LEVELS
from edge_fer.governor.settings import GovernorSettings
from edge_fer.rules.settings import Rule, RuleTable
from edge_fer.tracking.search import DetectorSettings

ALWAYS = GovernorSettings(idle=False)
PERIOD_S = 0.04
"""At 25 frames a second."""


def nobody(_second: float) -> None:
    """An empty room."""


def between(*visits: tuple[float, float], label: str = "neutral") -> Script:
    """Somebody is there in these times."""
    return lambda second: label if any(begin <= second < end for begin, end in visits) else None


def rule(**keys: Any) -> Rule:
    checked: Rule = TypeAdapter(RuleTable).validate_python(keys)
    return checked


def test_an_empty_room_is_looked_at_less_often_after_a_while() -> None:
    rooms = Rooms({"hall": nobody}).passes(60)
    seen = rooms.looked_at["hall"]
    assert len([second for second in seen if second < 20]) == 20 * 25
    idle = [second for second in seen if second > 20.5]
    assert len(idle) == pytest.approx(39.5 * 5, abs=2)
    assert all(after - before == pytest.approx(0.2, abs=0.05) for before, after in pairwise(idle))
    assert rooms.pacing.idle_cameras == ["hall"]


def test_each_frame_that_is_left_is_searched_wholly() -> None:
    rooms = Rooms({"hall": nobody}).passes(60)
    idle = [second for second in rooms.looked_at["hall"] if second > 20.5]
    assert [second for second in rooms.eyes["hall"].whole_at if second > 20.5] == idle


def test_withheld_frames_are_counted_as_such_and_nothing_is_dropped() -> None:
    rooms = Rooms({"hall": nobody}).passes(60)
    counts = rooms.inbox.counts()["hall"]
    assert counts.captured == 60 * 25
    assert (counts.dropped, counts.waiting) == (0, 0)
    assert counts.withheld == 60 * 25 - len(rooms.looked_at["hall"])


def test_somebody_who_comes_ends_it_with_the_very_frame() -> None:
    rooms = Rooms({"hall": between((40, 50))}).passes(60)
    seen = rooms.looked_at["hall"]
    first = next(second for second in rooms.eyes["hall"].whole_at if second >= 40)
    assert first - 40 <= 0.2 + PERIOD_S
    after = [second for second in seen if first <= second <= 50]
    assert all(later - before == pytest.approx(PERIOD_S) for before, later in pairwise(after))


@pytest.mark.parametrize("late_frames", range(6))
def test_who_turns_to_the_camera_for_a_moment_is_not_missed_by_default(late_frames: int) -> None:
    """0.28 s: seven frames, of which two looks make a face that is believed, whenever they begin."""
    begin = 40 + late_frames * PERIOD_S
    rooms = Rooms({"hall": between((begin, begin + 0.28))}).passes(42)
    eyes = rooms.eyes["hall"]
    seen = [second for second in (*eyes.whole_at, *eyes.near_at) if begin <= second < begin + 0.28]
    assert len(set(seen)) >= 2


def test_somebody_who_leaves_is_waited_for_at_full_rate() -> None:
    """From the last frame in which the face was followed: it is lost a second after it was last seen."""
    rooms = Rooms({"hall": between((0, 30))}).passes(49)
    assert rooms.pacing.idle_cameras == []
    rooms.passes(4)
    assert rooms.pacing.idle_cameras == ["hall"]


def test_a_shadow_that_is_found_once_wakes_it_up_only_until_it_proves_to_be_none() -> None:
    shadows: list[float] = []
    rooms = Rooms({"hall": lambda second: "neutral" if round(second, 2) in shadows else None}).passes(40)
    shadows.append(round(rooms.looked_at["hall"][-1] + 5 * PERIOD_S, 2))
    rooms.passes(1.2)
    assert shadows[0] in [round(second, 2) for second in rooms.looked_at["hall"]]
    assert round(shadows[0] + PERIOD_S, 2) in [round(second, 2) for second in rooms.looked_at["hall"]]
    assert rooms.pacing.idle_cameras == ["hall"], "it was not somebody for whom to wait 20 s"
    assert rooms.told("/events") == []


def test_one_room_with_people_does_not_wake_up_the_others() -> None:
    rooms = Rooms({"hall": nobody, "front": between((0, 60))}).passes(60)
    assert rooms.pacing.idle_cameras == ["hall"]
    assert len(rooms.looked_at["front"]) == 60 * 25


def test_a_room_with_people_is_never_idle() -> None:
    always = Rooms({"hall": between((0, 60))}, ALWAYS).passes(60)
    idling = Rooms({"hall": between((0, 60))}).passes(60)
    assert idling.told("/events") == always.told("/events")
    assert idling.eyes["hall"].whole_at == always.eyes["hall"].whole_at


def test_switched_off_all_frames_are_looked_at() -> None:
    assert len(Rooms({"hall": nobody}, ALWAYS).passes(60).looked_at["hall"]) == 60 * 25


def test_switched_off_by_a_reload_it_ends_at_once() -> None:
    rooms = Rooms({"hall": nobody}).passes(30)
    rooms.pacing.use(ALWAYS)
    before = len(rooms.looked_at["hall"])
    rooms.passes(10)
    assert len(rooms.looked_at["hall"]) - before == 10 * 25


def test_a_clip_is_never_slowed_and_tells_the_same() -> None:
    """Not by heat either."""
    script = between((2, 6), (70, 75), label="happiness")
    always = Rooms({"clip": script}, ALWAYS, clip=True).passes(90)
    idling = Rooms({"clip": script}, clip=True)
    idling.pacing.keep_to(LEVELS[-1])
    idling.passes(90)
    assert len(idling.looked_at["clip"]) == 90 * 25
    assert idling.eyes["clip"].whole_at == always.eyes["clip"].whole_at
    assert idling.told("/events") == always.told("/events") != []
    assert idling.pacing.idle_cameras == []


def test_detect_now_looks_at_the_next_frame_although_nobody_is_there() -> None:
    rooms = Rooms({"hall": nobody}, GovernorSettings(idle_fps=0.5)).passes(40)
    rooms.passes(0.5)
    now = rooms.second
    assert now - rooms.looked_at["hall"][-1] > 2 * PERIOD_S, "the next one would be withheld"
    rooms.pipeline.detect_now(["hall"])
    rooms.passes(PERIOD_S)
    assert rooms.looked_at["hall"][-1] == now
    assert rooms.eyes["hall"].whole_at[-1] == now
    rooms.passes(1.5)
    assert rooms.looked_at["hall"][-1] == now, "and then it is idle again"


def test_a_camera_that_was_dark_is_looked_at_in_full_first() -> None:
    rooms = Rooms({"hall": nobody}).passes(30)
    rooms.news("hall", "dark")
    assert rooms.pacing.idle_cameras == []
    rooms.passes(5)
    rooms.news("hall", "online")
    begin = len(rooms.looked_at["hall"])
    rooms.passes(19)
    assert len(rooms.looked_at["hall"]) - begin == 19 * 25


def test_a_search_of_many_tiles_is_not_made_more_often_than_with_somebody_there() -> None:
    tiles = DetectorSettings(min_face_px=16)
    rooms = Rooms({"hall": nobody}, GovernorSettings(idle_fps=10), detector=tiles, size=(1920, 1080)).passes(40)
    awake, idle = ([at for at in rooms.eyes["hall"].whole_at if low <= at < high] for low, high in ((1, 19), (21, 39)))
    assert len(idle) <= len(awake)


RULES = {
    "nobody": rule(kind="nobody", for_s=45),
    "intruder": rule(kind="faces", max_faces=0, for_s=3, cameras=["hall"]),
    "distress": rule(kind="expression", expressions=["fear"], window_s=10, share=0.6),
    "outage": rule(kind="camera", for_s=10),
}


def alerts_of_a_day(table: GovernorSettings) -> list[tuple[str, str, float]]:
    rooms = Rooms({"hall": between((100, 130), label="fear"), "front": between((200, 230))}, table, rules=RULES, fps=10)
    rooms.passes(240)
    rooms.news("front", "stalled")
    rooms.passes(20)
    rooms.news("front", "online")
    return rooms.passes(60).alerts


@pytest.fixture(scope="module")
def always() -> list[tuple[str, str, float]]:
    """What is told when no frame is withheld."""
    return alerts_of_a_day(ALWAYS)


@pytest.mark.parametrize("idle_fps", [0.5, 5.0])
def test_alerts_are_the_same_with_frames_withheld(always: list[tuple[str, str, float]], idle_fps: float) -> None:
    """Presence, nobody, expressions and outages: each at most one idle look later."""
    idling = alerts_of_a_day(GovernorSettings(idle_fps=idle_fps))
    assert {name for name, _, _ in always} == set(RULES)
    assert [one[:2] for one in idling] == [one[:2] for one in always]
    # The smoothing of an expression and the end of a track may each add a look, in every third frame of 10 a second.
    late_s = 1 / idle_fps + 2 * 3 * 0.1
    assert all(abs(mine[2] - theirs[2]) <= late_s for mine, theirs in zip(idling, always, strict=True))


def test_at_a_slower_level_an_idle_room_is_no_faster() -> None:
    rooms = Rooms({"hall": nobody, "front": between((0, 90))})
    rooms.pacing.keep_to(LEVELS[-1])
    rooms.passes(60)
    assert len(rooms.looked_at["hall"]) == pytest.approx(120, abs=2)
    assert len(rooms.looked_at["front"]) == pytest.approx(120, abs=2)
    rooms.pacing.keep_to(LEVELS[0])
    before = {name: len(seen) for name, seen in rooms.looked_at.items()}
    rooms.passes(20)
    assert len(rooms.looked_at["hall"]) - before["hall"] == pytest.approx(20 * 5, abs=2)
    assert len(rooms.looked_at["front"]) - before["front"] == 20 * 25


@pytest.mark.parametrize("level", LEVELS[1:], ids=lambda level: f"{level.max_fps:g} fps")
def test_each_level_looks_for_faces_as_often_as_its_table_says(level: Any) -> None:
    rooms = Rooms({"hall": nobody}, ALWAYS)
    rooms.pacing.keep_to(level)
    rooms.passes(30)
    assert len(rooms.looked_at["hall"]) == pytest.approx(30 * level.max_fps, rel=0.05)
    wanted = 30 * level.max_fps / level.detect_every_frames
    assert len(rooms.eyes["hall"].whole_at) == pytest.approx(wanted, rel=0.1)


@pytest.mark.parametrize("level", LEVELS, ids=str)
def test_somebody_is_followed_as_one_at_every_level(level: Any) -> None:
    rooms = Rooms({"hall": between((5, 45), label="happiness")}, ALWAYS)
    rooms.pacing.keep_to(level)
    rooms.passes(60)
    assert [what for what, _ in rooms.told("/camera/hall/events")] == ["start", "end"]
    assert rooms.told("/camera/hall/events")[0][1] - 5 <= 3

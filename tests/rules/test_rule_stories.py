"""What a carer would tell of an evening, and the alerts that it should give."""

from __future__ import annotations

import itertools
import random
from datetime import datetime, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from story import BERLIN, SCENES, WAITS, Scene, Story, play, rule

from edge_fer.decide import DecideSettings
from edge_fer.labels import EXPRESSIONS
from edge_fer.look import Tick

UNHAPPY = ["sadness", "fear", "anger"]
CRYING = rule(kind="expression", expressions=UNHAPPY, window_s=20, share=0.6, text="Look after the child.")
NOBODY = rule(kind="nobody", for_s=3600)
CROWD = rule(kind="faces", max_faces=2, for_s=5)
BROKEN = rule(kind="camera", for_s=60)

# From a change of the face to its update: hold_ms, and what the smoothing needs to cross the hysteresis, under 0.4 s.
DECISION_S = 0.5 + 0.4


def test_a_child_who_cries_for_20_s_raises_one_alert_that_explains_itself() -> None:
    story = Story({"crying": CRYING}).shows(30, front={1: "neutral"}).shows(20, front={1: "sadness"})
    story.shows(40, front={1: "neutral"})
    (raised, (_, _, raised_s)), (cleared, (_, _, cleared_s)) = zip(story.alerts, story.told, strict=True)
    # 12 s of the 20 s window, counted from when the decision took it for sad; a look each 0.2 s.
    assert raised_s == pytest.approx(30 + DECISION_S + 12, abs=0.6)
    assert raised.state == "active"
    assert (
        raised.why
        == "face 1 on camera front showed sadness, fear or anger for 12 s of the last 20 s: 60 %, alert from 60 %"
    )
    assert (raised.value, raised.threshold, raised.unit) == (pytest.approx(0.6, abs=0.02), 0.6, "share")
    assert (raised.cameras, raised.track, raised.text) == (["front"], 1, "Look after the child.")
    assert raised.boot_id == "boot"
    # 20 s of it are in the window until it is half left, and 5 s more.
    assert cleared_s == pytest.approx(50 + DECISION_S + 14 + 5, abs=0.6)
    assert cleared.state == "cleared"
    assert "cleared below 30 %" in cleared.why
    assert cleared.value < 0.3


def test_the_samples_of_an_alert_are_those_that_count_evenly_chosen() -> None:
    (alert,) = Story({"crying": CRYING}).shows(30, front={1: "neutral"}).shows(15, front={1: "fear"}).alerts
    times = [datetime.fromisoformat(sample.occurred_at.replace("Z", "+00:00")).timestamp() for sample in alert.samples]
    assert len(times) == 20
    assert {(sample.camera, sample.track, sample.expression) for sample in alert.samples} == {("front", 1, "fear")}
    assert all(sample.confidence is not None and 0.4 < sample.confidence <= 0.9 for sample in alert.samples)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert max(gaps) - min(gaps) <= 0.2 + 1e-6  # one look
    assert times[-1] - times[0] == pytest.approx(12, abs=0.5)


def test_a_short_cry_is_no_alert() -> None:
    story = Story({"crying": CRYING}).shows(20, front={1: "neutral"}).shows(10, front={1: "sadness"})
    assert story.shows(60, front={1: "neutral"}).alerts == []


def test_anger_fear_and_sadness_by_turns_count_together() -> None:
    story = Story({"crying": CRYING})
    for number in range(6):
        story.shows(4, front={1: UNHAPPY[number % 3]})
    assert [state for _, state, _ in story.told] == ["active"]


def test_television_flicker_is_no_alert() -> None:
    chance = random.Random(7)  # noqa: S311 - no secret
    story = Story({"crying": CRYING})
    for _ in range(400):  # faces on a screen: another expression, another person, every 0.2 to 0.8 s
        face = {chance.randrange(1, 1000): chance.choice(EXPRESSIONS)}
        story.shows(chance.choice([0.2, 0.4, 0.8]), front=face)
    assert story.alerts == []


def test_two_readings_do_not_make_an_alert_however_short_the_window() -> None:
    short = rule(kind="expression", expressions=["sadness"], window_s=1, share=0.5)
    at_once = DecideSettings(settle_ms=0, smoothing_ms=0)
    story = Story({"sad": short}, fps=1, decide=at_once).shows(3, front={1: "sadness"})
    assert story.alerts == []
    assert len(Story({"sad": short}, fps=10, decide=at_once).shows(3, front={1: "sadness"}).alerts) == 1


def test_a_face_that_was_hardly_read_raises_no_alert() -> None:
    often = rule(kind="expression", expressions=["sadness"], window_s=20, share=0.3)
    story = Story({"sad": often})
    for _ in range(10):  # readable for 40 % of the time, and sad in all of it
        story.shows(1.6, front={1: "sadness"}).shows(2.4, front={1: None})
    assert story.alerts == []


def test_a_turned_face_is_never_a_guess_and_its_time_does_not_count() -> None:
    story = Story({"crying": CRYING}).shows(5, front={1: "sadness"}).shows(60, front={1: None})
    assert story.alerts == []
    assert story.happened == [("start", "sadness"), ("update", "uncertain")]


def test_one_crying_child_among_others_is_the_one_that_is_named() -> None:
    story = Story({"crying": CRYING}).shows(25, front={1: "happiness", 2: "sadness", 3: "neutral"})
    assert [(alert.state, alert.track) for alert in story.alerts] == [("active", 2)]


def test_per_camera_counts_whoever_is_in_view_when_tracks_break() -> None:
    view = rule(kind="expression", expressions=UNHAPPY, window_s=20, share=0.6, per="camera")
    story = Story({"face": CRYING, "view": view})
    for track in range(1, 5):  # the tracker loses her every 6 s
        story.shows(6, front={track: "sadness"})
    assert {alert.rule for alert in story.alerts} == {"view"}
    assert story.alerts[0].track is None
    assert story.alerts[0].why.startswith("somebody on camera front showed sadness, fear or anger for 12 s")
    assert {sample.track for sample in story.alerts[0].samples} >= {1, 2}


def test_who_leaves_takes_the_alert_along() -> None:
    story = Story({"crying": CRYING}).shows(20, front={1: "sadness"}).shows(20, front={})
    assert [alert.state for alert in story.alerts] == ["active", "cleared"]
    assert story.alerts[1].why == "face 1 is no longer in view of camera front"


def test_a_camera_that_breaks_during_an_alert_clears_it_and_says_why() -> None:
    story = Story({"crying": CRYING}).shows(20, front={1: "sadness"}).news("offline", reason="unplugged").passes(10)
    assert [alert.state for alert in story.alerts] == ["active", "cleared"]
    assert story.alerts[1].why == "camera front is offline: nothing is seen any more"


def test_low_confidence_does_not_count_where_the_rule_asks_for_more() -> None:
    sure = rule(kind="expression", expressions=["sadness"], min_confidence=0.7)
    assert Story({"sad": sure}).shows(60, front={1: {"sadness": 0.65}}).alerts == []
    assert len(Story({"sad": sure}).shows(60, front={1: {"sadness": 0.75}}).alerts) == 1


def test_a_share_about_the_threshold_does_not_flicker() -> None:
    story = Story({"crying": CRYING})
    for _ in range(30):  # 60 % of each 10 s, give or take
        story.shows(6.2, front={1: "sadness"}).shows(3.8, front={1: "neutral"})
    assert [alert.state for alert in story.alerts] == ["active"]


def test_after_a_cooldown_what_still_holds_raises_the_alert_again() -> None:
    cooled = rule(kind="expression", expressions=["sadness"], window_s=4, share=0.5, clear_after_s=0, cooldown_s=60)
    story = Story({"sad": cooled}).shows(5, front={1: "sadness"}).shows(10, front={1: "neutral"})
    story.shows(60, front={1: "sadness"})
    (_, _, first_s), (_, cleared, _), (_, again, second_s) = story.told
    assert (cleared, again) == ("cleared", "active")
    assert second_s - first_s == pytest.approx(60, abs=0.2)


def test_a_slow_camera_counts_time_and_not_frames() -> None:
    for fps in (1, 2, 5, 15):
        story = Story({"crying": CRYING}, fps=fps).shows(30, front={1: "neutral"}).shows(20, front={1: "sadness"})
        assert story.told[0][2] == pytest.approx(30 + DECISION_S + 12, abs=2 / fps + 0.5)


def test_clips_are_judged_by_their_own_time() -> None:
    clip = Story({"crying": CRYING}, clip=True)
    clip.shows(30, front={1: "neutral"}).shows(20, front={1: "sadness"})
    live = Story({"crying": CRYING}).shows(30, front={1: "neutral"}).shows(20, front={1: "sadness"})
    assert clip.told == live.told


def by_turns(pace: float | None) -> Story:
    """A minute of a clip, sad for ten seconds of every twenty; the node's clock runs at another pace, or not at all."""
    short = rule(kind="expression", expressions=["sadness"], window_s=4, share=0.5, clear_after_s=2, cooldown_s=30)
    story = Story({"sad": short}, clip=True)
    for number in range(60):
        story.shows(1, front={1: "sadness" if number % 20 < 10 else "neutral"})
        if pace is not None:
            story.takes(Tick(round(story.time_ns * pace), story.unix_ns))
    return story


@pytest.mark.parametrize("pace", [0.1, 1, 10])
def test_a_clip_gives_the_same_alerts_on_a_machine_of_any_speed(pace: float) -> None:
    assert by_turns(pace).told == by_turns(None).told
    (_, first_s), (_, second_s) = (told[1:] for told in by_turns(pace).told if told[1] == "active")
    assert second_s - first_s == pytest.approx(30, abs=0.2)  # the cooldown, in the time of the clip


def test_nobody_for_an_hour() -> None:
    story = Story({"empty": NOBODY}, fps=0.5).shows(60, front={1: "neutral"}).shows(3700, front={})
    (alert,) = story.alerts
    # The track is lost 1 s after it was last seen, at the next look, 2 s each.
    assert story.told == [("empty", "active", pytest.approx(60 + 3600, abs=4))]
    assert alert.why == "nobody was seen in 1 h of watching by camera front, alert from 1 h"
    assert (alert.value, alert.threshold, alert.unit, alert.track) == (3600, 3600, "s", None)
    assert len(alert.samples) == 20
    assert {sample.faces for sample in alert.samples} == {0}
    story.shows(2, front={2: "neutral"}).shows(60, front={})
    assert len(story.alerts) == 1  # a glimpse
    story.shows(20, front={3: None})
    assert [alert.state for alert in story.alerts] == ["active", "cleared"]  # a refused face is somebody
    assert story.alerts[1].why == "face 3 was seen by camera front"


@pytest.mark.parametrize("state", ["dark", "frozen", "stalled", "offline", "disabled"])
def test_a_covered_camera_at_night_is_not_nobody(state: str) -> None:
    story = Story({"empty": NOBODY}, fps=0.5).shows(1800, front={})
    story.news(state).shows(7200, front={}).passes(7200)
    assert story.alerts == []
    story.news("online").shows(1700, front={})
    assert story.alerts == []  # what was watched before counts, what was not does not
    assert len(story.shows(200, front={}).alerts) == 1


def test_nobody_is_nobody_on_any_camera() -> None:
    two = ("hall", "front")
    story = Story({"empty": NOBODY}, two, fps=0.5).shows(3700, hall={}, front={})
    assert story.told == [("empty", "active", pytest.approx(3602, abs=2))]  # watched by two is watched once
    assert story.alerts[0].cameras == ["front", "hall"]
    assert Story({"empty": NOBODY}, two, fps=0.5).shows(3700, hall={}, front={1: "neutral"}).alerts == []
    relay = Story({"empty": NOBODY}, two, fps=0.5).shows(1800, hall={}).news("dark", "hall")
    assert len(relay.shows(1900, front={}).alerts) == 1  # one after the other


def test_a_rule_sees_only_its_cameras() -> None:
    hall = rule(kind="nobody", for_s=60, cameras=["hall"])
    story = Story({"empty": hall}, ("hall", "front")).shows(120, hall={}, front={1: "neutral"})
    assert story.alerts[0].cameras == ["hall"]
    assert Story({"empty": hall}, ("hall", "front")).shows(120, hall={1: "neutral"}, front={}).alerts == []


def test_too_many_faces_for_long_enough() -> None:
    story = Story({"crowd": CROWD}).shows(10, front={1: "neutral", 2: "neutral"})
    story.shows(3, front={1: "neutral", 2: "neutral", 3: "neutral"}).shows(10, front={1: "neutral", 2: "neutral"})
    assert story.alerts == []
    story.shows(8, front=dict.fromkeys(range(1, 5), "neutral")).shows(10, front={1: "neutral"})
    raised, cleared = story.alerts
    assert raised.why == "4 faces on camera front, more than 2 for 5 s, alert from 5 s"
    assert (raised.value, raised.threshold, raised.unit) == (4, 2, "faces")
    assert cleared.why == "1 face on camera front, not more than 2"


def test_where_nobody_should_be_one_face_is_too_many() -> None:
    kept_clear = rule(kind="faces", max_faces=0, for_s=0)
    assert len(Story({"machine": kept_clear}).shows(2, front={1: None}).alerts) == 1


def test_a_camera_that_is_not_usable() -> None:
    story = Story({"broken": BROKEN}).shows(5, front={}).news("stalled", reason="no frames for 10 s").passes(30)
    story.news("offline", reason="no route to host").passes(31)
    (alert,) = story.alerts
    assert alert.why == "camera front is offline (no route to host), not usable for 1 min, alert from 1 min"
    assert [sample.state for sample in alert.samples] == ["stalled", "offline"]
    story.news("online").passes(3).news("offline").passes(60)
    assert len(story.alerts) == 1  # back too shortly
    story.news("online").passes(6)
    assert [(alert.state, alert.why) for alert in story.alerts[1:]] == [("cleared", "camera front is online")]


def test_a_privacy_pause_is_no_fault() -> None:
    story = Story({"broken": BROKEN}).news("disabled", reason="privacy pause").passes(600)
    assert story.alerts == []


def test_a_camera_that_never_comes_up_is_found_without_any_picture() -> None:
    assert len(Story({"broken": BROKEN}).news("connecting").passes(61).alerts) == 1


NIGHT = {"quiet": ["22:00-07:00"], "time_zone": "Europe/Berlin"}


def test_in_quiet_hours_an_alert_waits_for_their_end() -> None:
    asleep = rule(kind="nobody", for_s=600, **NIGHT)
    story = Story({"empty": asleep}, fps=0.2, at=datetime(2026, 3, 4, 23, tzinfo=BERLIN))
    story.shows(8 * 3600 + 600, front={})
    assert story.told == [("empty", "active", pytest.approx(8 * 3600, abs=5))]
    assert story.alerts[0].quiet


def test_what_is_over_before_the_quiet_hours_end_is_never_told() -> None:
    asleep = rule(kind="nobody", for_s=600, **NIGHT)
    story = Story({"empty": asleep}, fps=0.2, at=datetime(2026, 3, 4, 23, tzinfo=BERLIN))
    story.shows(7 * 3600, front={}).shows(2 * 3600, front={1: "neutral"})
    assert story.alerts == []
    story.shows(700, front={})
    assert [(alert.state, alert.quiet) for alert in story.alerts] == [("active", False)]


def test_an_alert_of_the_evening_is_cleared_in_the_night() -> None:
    story = Story(
        {"crowd": rule(kind="faces", max_faces=0, for_s=5, **NIGHT)}, at=datetime(2026, 3, 4, 21, 59, tzinfo=BERLIN)
    )
    story.shows(120, front={1: "neutral"}).shows(60, front={})
    assert [alert.state for alert in story.alerts] == ["active", "cleared"]


@pytest.mark.parametrize(("day", "hours"), [((2026, 3, 28), 8), ((2026, 10, 24), 10), ((2026, 6, 1), 9)])
def test_a_night_in_which_the_clocks_change_ends_when_they_say_seven(day: tuple[int, int, int], hours: int) -> None:
    asleep = rule(kind="nobody", for_s=600, **NIGHT)
    story = Story({"empty": asleep}, fps=0.2, at=datetime(*day, 22, tzinfo=BERLIN))
    story.shows(11 * 3600, front={})
    assert story.told == [("empty", "active", pytest.approx(hours * 3600, abs=5))]
    assert story.alerts[0].since.startswith(
        datetime(day[0], day[1], day[2] + 1, 7, tzinfo=BERLIN).astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M")
    )


def test_a_broken_camera_is_told_at_night_too_unless_asked_otherwise() -> None:
    night = datetime(2026, 3, 4, 23, tzinfo=BERLIN)
    assert len(Story({"broken": BROKEN}, at=night).news("offline").passes(61).alerts) == 1
    asked = rule(kind="camera", for_s=60, **NIGHT)
    assert Story({"broken": asked}, at=night).news("offline").passes(61).alerts == []


def test_the_end_of_the_daemon_clears_what_is_active() -> None:
    story = Story({"crying": CRYING, "empty": NOBODY}).shows(20, front={1: "sadness"}).stops()
    assert [(alert.rule, alert.state, alert.why) for alert in story.alerts[1:]] == [
        ("crying", "cleared", "the daemon stopped")
    ]
    assert (story.alerts[1].cameras, story.alerts[1].track) == (["front"], 1)


def test_the_end_of_the_daemon_is_no_fault_of_its_cameras() -> None:
    at_once = rule(kind="camera", for_s=0)
    assert Story({"broken": at_once}).shows(5, front={}).news("offline", reason="stopped").stops().alerts == []
    assert len(Story({"broken": at_once}).news("offline", reason="unplugged").alerts) == 1


def test_every_rule_begins_as_cleared() -> None:
    story = Story({"crying": CRYING, "broken": BROKEN}, ("hall", "front"))
    alerts = story.judge.rules.initial(0)
    assert [(alert.rule, alert.state, alert.why, alert.cameras) for alert in alerts] == [
        ("crying", "cleared", "nothing found yet", ["front", "hall"]),
        ("broken", "cleared", "nothing found yet", ["front", "hall"]),
    ]


@settings(max_examples=40, deadline=None)
@given(scenes=SCENES, clear_after_s=st.floats(0, 10), cooldown_s=st.floats(0, 60))
def test_alerts_of_a_rule_are_active_and_cleared_by_turns_and_keep_their_distance(
    scenes: list[Scene], clear_after_s: float, cooldown_s: float
) -> None:
    common = {"clear_after_s": clear_after_s, "cooldown_s": cooldown_s}
    rules = {
        "sad": rule(kind="expression", expressions=UNHAPPY, window_s=5, share=0.4, **common),
        "view": rule(kind="expression", expressions=["happiness"], window_s=8, share=0.5, per="camera", **common),
        "empty": rule(kind="nobody", for_s=5, **common),
        "crowd": rule(kind="faces", max_faces=1, for_s=2, **common),
        "broken": rule(kind="camera", for_s=5, **common),
    }
    story = play(Story(rules), scenes)
    for name in rules:
        told = [(state, at_s) for rule_name, state, at_s in story.told if rule_name == name]
        assert [state for state, _ in told] == ["active", "cleared"] * (len(told) // 2) + ["active"] * (len(told) % 2)
        raised = [at_s for state, at_s in told if state == "active"]
        # Times are told in milliseconds.
        assert all(after - before >= cooldown_s - 0.002 for before, after in itertools.pairwise(raised))
    assert all(len(alert.samples) <= 20 and alert.why for alert in story.alerts)


@pytest.mark.parametrize("per", ["face", "camera"])
def test_faces_that_wait_for_their_turn_lose_nothing_by_it(per: str) -> None:
    crying = rule(kind="expression", expressions=UNHAPPY, window_s=20, share=0.6, per=per)
    alone = Story({"crying": crying}, fps=10)
    by_turns = Story({"crying": crying}, fps=10)
    for _ in range(100):
        alone.shows(0.2, front={1: "sadness"})
        by_turns.shows(0.1, front={1: "sadness", 2: WAITS}).shows(0.1, front={1: WAITS, 2: "neutral"})
    (told,), (told_by_turns,) = alone.told, by_turns.told
    assert told_by_turns[:2] == told[:2] == ("crying", "active")
    assert told_by_turns[2] == pytest.approx(told[2], abs=0.6)
    assert by_turns.alerts[0].value == pytest.approx(0.6, abs=0.02)
    assert by_turns.alerts[0].samples
